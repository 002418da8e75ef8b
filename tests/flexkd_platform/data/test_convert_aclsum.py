"""ACLSum as files: what a spec of summarization reads of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from flexkd_platform.data import load_splits
from flexkd_platform.spec import DocumentFiles, SummarizationTask

SCRIPT = Path(__file__).parents[3] / "scripts" / "convert_aclsum.py"


def test_papers_become_documents_with_one_summary(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("convert_aclsum", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for split in ("train", "val", "test"):
        paper = {
            "id": split,
            "summary": {"challenge": "hard", "approach": "new", "outcome": f"good {split}"},
            "sentences": {"abstract": ["We do .", "It works ."], "conclusion": [f"{split} ends ."]},
        }
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(paper) + "\n")
    counts = script.convert(tmp_path, tmp_path / "out", "outcome")
    assert counts == {"train": 1, "validation": 1, "test": 1}
    data = DocumentFiles(source="files", path=str(tmp_path / "out"))
    splits = load_splits(SummarizationTask(kind="summarization", data=data))
    (row,) = splits.validation.to_pylist()
    assert row["prompt"] == "We do . It works .\n\nval ends ."
    assert (row["response"], row["references"]) == ("good val", ["good val"])
