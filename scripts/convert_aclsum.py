"""Convert ACLSum to files for a summarization spec.

250 papers on computational linguistics, each with three one-sentence summaries (Takeshita et al.
2024, MIT), included in the package aclsum:

    pip install --no-deps aclsum==0.1.2
    python scripts/convert_aclsum.py aclsum-outcome --aspect outcome

In the spec, set `data: {source: files, path: aclsum-outcome}`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ASPECTS = ("challenge", "approach", "outcome")
PARTS = ("abstract", "introduction", "conclusion")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""The package's name of each split → its name in a folder of files."""


def main() -> None:
    """Convert the installed package."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write train, validation and test into")
    parser.add_argument("--aspect", choices=ASPECTS, default="outcome", help="which summary")
    options = parser.parse_args()
    package = find_spec("aclsum")
    if package is None or package.origin is None:
        parser.error("aclsum is not installed: pip install --no-deps aclsum==0.1.2")
    counts = convert(Path(package.origin).parent / "dataset", options.out, options.aspect)
    print(", ".join(f"{split} {count}" for split, count in counts.items()), f"in {options.out}")


def convert(dataset: Path, out: Path, aspect: str) -> dict[str, int]:
    """Write the three splits; returns the number of papers of each."""
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for theirs, ours in SPLITS.items():
        rows = list(_rows(dataset / f"{theirs}.jsonl", aspect))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / f"{ours}.jsonl").write_text(text, encoding="utf-8")
        counts[ours] = len(rows)
    return counts


def _rows(file: Path, aspect: str) -> Iterator[dict[str, str]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        paper = json.loads(line)
        parts = [" ".join(paper["sentences"].get(part, ())) for part in PARTS]
        yield {
            "document": "\n\n".join(filter(None, parts)),
            "summary": paper["summary"][aspect],
        }


if __name__ == "__main__":
    main()
