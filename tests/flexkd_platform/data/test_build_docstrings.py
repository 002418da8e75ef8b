"""The script that builds the docstrings, on a made-up package; and the file that it made."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data.builtin import FILES

SCRIPT = Path(__file__).parents[3] / "scripts/build_docstrings.py"

LONG = "It does so with great care, one step after the other, and tells its caller when it is done."

USEFUL = f'''
def turn(angle: float, *, axis="z") -> float:
    """Turn the :class:`~toy.Wheel` by an angle. It stops by itself.

    {LONG}

    Parameters
    ----------
    angle : float
        How far, in
        ``radians``.
    axis : str
        Which way.

    Examples
    --------
    >>> turn(3)
    """

class Wheel:
    """Carry a load from one place to another.

    {LONG.replace("It does", "The wheel rolls")}

    The following holds for each of them

    .. math:: a = b
    """

    def __init__(self, size: int = 3): ...

    def _hidden(self):
        """Hide the wheel from all that see.

        {LONG} {LONG[::-1]}
        """
'''

USELESS = f'''
def short():
    """Do it.

    {LONG}
    """

def nothing_more():
    """Do what there is nothing more to say of."""

def doctest_only():
    """Add two numbers and return their sum.

    >>> {" ".join(["1 + 1"] * 30)}
    """

def endless():
    """Talk without ever coming to an end.

    {" ".join(f"word{n}" for n in range(200))}
    """

def templated():
    """Return the {{klass}} of this.

    {LONG}
    """

def repeats():
    """Open the door to the garden.

    Open the door to the garden. And some more words that say nothing new about doors at all.
    """
'''


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("build_docstrings", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def package(script: ModuleType, folder: Path, **files: str) -> object:
    for name, content in files.items():
        file = folder / "toy" / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    licence = folder / "LICENSE.txt"
    licence.write_text("Do as you like.\n\n----\n\nThis binary also bundles much.\n")
    return script.Package("toy", folder / "toy", licence, "1.0")


def function(name: str, summary: str, number: int) -> str:
    words = " ".join(f"{name}{number}word{n}" for n in range(20))
    return f'def {name}():\n    """{summary}\n\n    {words}.\n    """\n'


def test_a_docstring_becomes_a_document_and_its_summary(script: ModuleType, tmp_path: Path) -> None:
    turn, wheel = script.pairs_of(package(script, tmp_path, wheels=USEFUL))
    assert turn.summary == "Turn the toy.Wheel by an angle."
    assert turn.document.split("\n") == [
        "def turn(angle, *, axis='z')",
        "It stops by itself.",
        LONG,
        "Parameters:",
        "angle : float How far, in radians.",
        "axis : str Which way.",
    ]
    assert (turn.package, turn.module, turn.name, turn.place) == (
        "toy",
        "toy.wheels",
        "turn",
        "toy.wheels",
    )
    assert wheel.name == "Wheel"
    assert wheel.document.startswith("class Wheel(size=3)\nThe wheel rolls so with great care")
    assert "math" not in wheel.document


def test_what_teaches_nothing_is_left_out(script: ModuleType, tmp_path: Path) -> None:
    assert list(script.pairs_of(package(script, tmp_path, wheels=USELESS))) == []


@pytest.mark.parametrize("name", ["tests__wheels", "externals__wheels", "sub__conftest"])
def test_tests_and_borrowed_code_are_passed_over(
    script: ModuleType, tmp_path: Path, name: str
) -> None:
    assert list(script.pairs_of(package(script, tmp_path, **{name: USEFUL}))) == []


def test_files_with_a_notice_of_their_own_are_passed_over(
    script: ModuleType, tmp_path: Path
) -> None:
    files = {"wheels": "# Copyright 1999 Somebody Else\n" + USEFUL, "broken": "def (:"}
    assert list(script.pairs_of(package(script, tmp_path, **files))) == []


def test_long_documents_end_with_a_paragraph(script: ModuleType) -> None:
    paragraphs = [" ".join(f"p{n}w{k}" for k in range(50)) + "." for n in range(4)]
    document, _ = script.pair_of("Say a lot of things.\n\n" + "\n\n".join(paragraphs), "def f()")
    assert document.split("\n") == ["def f()", *paragraphs[:2]]


def test_copies_and_near_copies_are_dropped(script: ModuleType) -> None:
    def pair(summary: str, document: str) -> object:
        return script.Pair(f"def f()\n{document}", summary, "toy", "toy.m", "f")

    first = pair("Turn the wheel around.", LONG)
    same_summary = pair("Turn around the wheel.", LONG[::-1])
    same_document = pair("Do something else altogether.", LONG.replace("done", "finished"))
    other = pair("Stop the wheel at once.", " ".join(reversed(LONG.split())))
    assert script.distinct([first, same_summary, same_document, other]) == [first, other]


def many(script: ModuleType, folder: Path) -> object:
    files = {
        f"part{part}__m{number}": function(
            f"f{part}{number}", f"Do part{part} {number} now.", number
        )
        for part in range(20)
        for number in range(3)
    }
    return package(script, folder, **files)


def test_no_module_is_in_two_splits(script: ModuleType, tmp_path: Path) -> None:
    table = script.docstrings([many(script, tmp_path)])
    found = defaultdict(set)
    for row in table.to_pylist():
        found[row["module"].rsplit(".", 1)[0]].add(row["split"])
    assert len(table) == 60
    assert all(len(splits) == 1 for splits in found.values())
    counts = {split: table["split"].to_pylist().count(split) for split in ("validation", "test")}
    assert counts == {"validation": 6, "test": 6}
    assert len(script.docstrings([many(script, tmp_path)], limit=10)) == 10


def test_the_same_sources_give_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for file in files:
        script.write(script.docstrings([many(script, tmp_path / file.stem)]), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_licences_leave_out_what_binaries_bundle(script: ModuleType, tmp_path: Path) -> None:
    text = script.licences([package(script, tmp_path, wheels=USEFUL)])
    assert "toy 1.0" in text
    assert text.endswith("Do as you like.\n")


def test_other_versions_are_refused(script: ModuleType, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("numpy==0.0.1\n")
    with pytest.raises(ValueError, match=r"constraints.txt says 0\.0\.1: pip install numpy"):
        script.installed(constraints)


# --- the committed file ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed() -> pa.Table:
    return pq.read_table(FILES["docstrings"])


def test_the_committed_file_keeps_the_rules(script: ModuleType, committed: pa.Table) -> None:
    assert FILES["docstrings"].stat().st_size < 1_500_000
    assert committed.schema == script.SCHEMA
    rows = committed.to_pylist()
    pairs = [script.Pair(*(row[name] for name in script.SCHEMA.names[:5])) for row in rows]
    assert len(pairs) == 6000
    for pair in pairs:
        signature, _, body = pair.document.partition("\n")
        assert signature.startswith(("def ", "class "))
        assert 3 <= len(pair.summary.split()) <= 25
        assert 15 <= len(body.split()) <= 120
        assert ">>>" not in body
    assert script.distinct(pairs) == pairs
    splits = script.splits_of(pairs)
    assert [splits[pair.place] for pair in pairs] == committed["split"].to_pylist()


def test_the_description_has_the_counts_of_the_file(committed: pa.Table) -> None:
    described = FILES["docstrings"].with_suffix(".md").read_text(encoding="utf-8")
    licences = FILES["docstrings"].with_name("docstrings_LICENSES.txt").read_text(encoding="utf-8")
    rows = list(zip(committed["package"].to_pylist(), committed["split"].to_pylist(), strict=True))
    packages = sorted({package for package, _ in rows})
    assert len(packages) == 7
    for package in packages:
        (line,) = [line for line in described.split("\n") if line.startswith(f"| {package} ")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        counts = [rows.count((package, split)) for split in ("train", "validation", "test")]
        assert cells[-3:] == [f"{count:,}" for count in counts]
        title = "Python (standard library)" if package == "python" else package
        assert f"{title} {cells[1]}\n" in licences
