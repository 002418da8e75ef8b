"""Build the docstring data set that is included in the platform, from installed Python packages.

    pip install -c constraints.txt numpy scipy pandas scikit-learn networkx sympy
    python scripts/build_docstrings.py

writes `docstrings.parquet` and `docstrings_LICENSES.txt` to
`platform/flexkd_platform/data/builtin/`. Source files are parsed, never imported. The same
versions of Python, the packages and pyarrow give the same bytes. `docstrings.md` describes which
docstrings are kept.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib.metadata
import re
import sysconfig
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "platform/flexkd_platform/data/builtin/docstrings.parquet"

SCHEMA = pa.schema(
    [(n, pa.string()) for n in ("document", "summary", "package", "module", "name", "split")]
)

PAIRS = 6_000
"""Maximum number of pairs."""

SUMMARY_WORDS = range(3, 26)
DOCUMENT_WORDS = range(15, 121)
"""Words of the text after the summary, without the signature."""

HELD_OUT = {"test": 0.1, "validation": 0.1}
"""Shares of each package's pairs, so that every split has pairs from every package."""

LARGEST_HELD_OUT = 0.15
"""Share of a package's pairs. A larger module is for training, so that held-out splits have pairs
from many modules."""

PASSED_OVER = {
    # Tests and tools.
    *("tests", "test", "testing", "_testing", "conftest.py", "distutils", "f2py", "site-packages"),
    *("idlelib", "lib2to3", "turtledemo", "ensurepip", "lib-dynload", "_pyinstaller"),
    "__pycache__",
    # Copied from other projects, under their own licences.
    *("externals", "_lib", "clipboard", "multipledispatch", "autolev", "latex", "xmlrpc"),
    *("asyncore.py", "asynchat.py", "trace.py", "uu.py", "turtle.py", "etree", "cookies.py"),
}
"""Names of folders and files to skip."""


@dataclass(frozen=True)
class Package:
    """One source of docstrings.

    distribution: name on PyPI; "" for the standard library.
    end: start of the licence file's section about bundled binaries, which is left out.
    """

    distribution: str
    folder: Path
    licence: Path
    version: str
    end: str = "\n----"


@dataclass(frozen=True)
class Pair:
    """A docstring's first sentence and the rest, and its location."""

    document: str
    summary: str
    package: str
    module: str
    name: str

    @property
    def place(self) -> str:
        """The module that decides the split: `asyncio`, `scipy.stats`."""
        return ".".join(self.module.split(".")[: 1 if self.package == "python" else 2])


# --- text --------------------------------------------------------------------------------------

_ROLE = re.compile(r":[a-z:]+:`~?([^`<]+?)(?: <[^`]*>)?`")
_LINK = re.compile(r"`([^`<]+?) <[^`]*>`_+")
_SIGNATURE = re.compile(r"[\w.]+\([^)]*\)|.*->")
_CITATION = re.compile(r"\[(\w+)\]_")
_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!vs)(?<!etc)\.\s+(?=[A-Z])")
_UNDERLINE = re.compile(r"\s*([-=~^])\1{2,}\s*")
_ENTRY = re.compile(r"[*\w][\w*, .]* ?:(\s|$)|[*\w]+$")
_TITLE = re.compile(r"[A-Z][\w ]*:")
_JUNK = re.compile(r"\b(todo|fixme|xxx|deprecated|docstring|see also|not implemented)\b", re.I)
_LISTS = (
    *("parameters", "other parameters", "arguments", "keyword arguments", "attributes"),
    *("returns", "yields", "raises", "warns", "methods"),
)
"""Sections with a list of entries; each entry starts on a line that is not indented."""
_DROPPED_SECTIONS = ("example", "reference", "see also", "doctest", "author")


def plain(text: str) -> str:
    """`text` on one line, without reStructuredText markup."""
    text = _LINK.sub(r"\1", _ROLE.sub(r"\1", text))
    text = _CITATION.sub(r"[\1]", text).replace("`", "").replace("\\", "")
    return " ".join(text.split())


def pair_of(docstring: str, signature: str) -> tuple[str, str] | None:
    """Document and summary of a docstring; None if it is too short or otherwise unsuitable.

    The summary is the first sentence of the first paragraph. The document is the signature and the
    text after the summary, up to the last paragraph that ends within `DOCUMENT_WORDS`.
    """
    head, _, rest = docstring.strip().partition("\n\n")
    sentence, *more = _SENTENCE_END.split(head.strip() + " ", maxsplit=1)
    summary = plain(sentence)
    if more:
        summary = summary.rstrip(".") + "."
    if not _is_summary(summary):
        return None
    paragraphs = ([plain(more[0])] if more and more[0].strip() else []) + _paragraphs(rest)
    kept: list[str] = []
    words = 0
    for paragraph in paragraphs:
        words += len(paragraph.split())
        if words > DOCUMENT_WORDS[-1]:
            break
        kept.append(paragraph)
    while kept and kept[-1].endswith(":"):
        kept.pop()
    body = "\n".join(kept)
    # If a document repeats its summary, a model would learn to copy instead of to summarise.
    if len(body.split()) not in DOCUMENT_WORDS or _bare(summary) in _bare(body):
        return None
    return f"{signature}\n{body}", summary


def _is_summary(text: str) -> bool:
    return (
        len(text.split()) in SUMMARY_WORDS
        and text[0].isupper()
        and text.endswith(".")
        and not text.endswith("..")
        and not _SIGNATURE.match(text)
        and not _JUNK.search(text)
        and not set("{}%$|<>=_^") & set(text)
    )


def _paragraphs(text: str) -> list[str]:
    """Paragraphs as lines of plain text; an entry of a parameter list is one paragraph.

    Left out: doctests, directives with their indented content, formulas, and the sections with
    examples, references and links.
    """
    paragraphs: list[str] = []
    dropped = entries = False
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.split("\n") if line.strip()]
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1]):
            title = plain(lines[0])
            dropped = title.lower().startswith(_DROPPED_SECTIONS)
            entries = title.lower() in _LISTS
            if not dropped:
                paragraphs.append(f"{title}:")
            lines = lines[2:]
        if dropped or not lines:
            continue
        if any(_is_markup(line) for line in lines):
            # A sentence that introduces a formula is meaningless without it.
            if paragraphs and not entries and not paragraphs[-1].endswith("."):
                paragraphs.pop()
            continue
        for at, line in enumerate(lines):
            if at == 0 or (entries and _ENTRY.match(line)):
                paragraphs.append(plain(line))
            else:
                paragraphs[-1] = f"{paragraphs[-1]} {plain(line)}"
    # A title followed by another title has lost its content.
    following = [*paragraphs[1:], ""]
    return [
        paragraph
        for paragraph, after in zip(paragraphs, following, strict=False)
        if not (_TITLE.fullmatch(paragraph) and (not after or _TITLE.fullmatch(after)))
    ]


def _is_markup(line: str) -> bool:
    line = line.strip()
    return (
        line.startswith((">>>", "...", "..", "|", "+-", "$", "In [", "Out["))
        or line.endswith("::")
        or ":math:" in line
        or bool(re.search(r"\$|%\(|\{\w+\}|\\[a-z]+\{|={3,}|-{3,}", line))
    )


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


# --- source files ------------------------------------------------------------------------------


def pairs_of(package: Package) -> Iterator[Pair]:
    """All usable docstrings of a package's public functions, methods and classes, in file order.

    Files with their own copyright notice are skipped: they may have a different licence.
    """
    name = package.distribution or "python"
    for file in sorted(package.folder.rglob("*.py")):
        parts = file.relative_to(package.folder).with_suffix("").parts
        if PASSED_OVER & {*file.relative_to(package.folder).parts}:
            continue
        source = file.read_text(encoding="utf-8", errors="replace")
        if re.search(r"copyright|©", source, re.IGNORECASE):
            continue
        if package.distribution:
            parts = (package.folder.name, *parts)
        module = ".".join(part for part in parts if part != "__init__")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.parse(source)
        except SyntaxError:
            continue  # a template, or for another Python version
        for qualified, node in _definitions(tree, ()):
            found = pair_of(ast.get_docstring(node) or "", signature_of(node))
            if found is not None:
                yield Pair(*found, name, module, qualified)


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(node: ast.AST, above: tuple[str, ...]) -> Iterator[tuple[str, Definition]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            if child.name.startswith("_"):
                continue
            yield ".".join((*above, child.name)), child
            if isinstance(child, ast.ClassDef):
                yield from _definitions(child, (*above, child.name))
        elif isinstance(child, ast.If | ast.Try):
            yield from _definitions(child, above)


def signature_of(node: Definition) -> str:
    """`def name(args)` or `class Name(args)`, without annotations; long ones without arguments."""
    kind, function = "def", node
    if isinstance(node, ast.ClassDef):
        kind = "class"
        made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not made:
            return f"class {node.name}"
        function = made[0]
    assert not isinstance(function, ast.ClassDef)
    arguments = copy.deepcopy(function.args)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    listed = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(arguments))
    return f"{kind} {node.name}({listed if len(listed) <= 120 else '...'})"


# --- the set -----------------------------------------------------------------------------------


def distinct(pairs: Iterable[Pair]) -> list[Pair]:
    """Remove duplicates and near-duplicates of earlier pairs.

    Dropped: a summary with the same words in any order, and a document that shares half or more of
    its six-word sequences with earlier documents.
    """
    summaries: set[str] = set()
    runs: set[tuple[str, ...]] = set()
    kept = []
    for pair in pairs:
        summary = " ".join(sorted(set(_bare(pair.summary).split())))
        words = _bare(pair.document.partition("\n")[2]).split()
        own = {tuple(words[at : at + 6]) for at in range(len(words) - 5)}
        if summary in summaries or len(own & runs) >= len(own) / 2:
            continue
        summaries.add(summary)
        runs |= own
        kept.append(pair)
    return kept


def splits_of(pairs: Iterable[Pair]) -> dict[str, str]:
    """The split of every place (see `Pair.place`), so that no module is in two splits."""
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        sizes[pair.package][pair.place] += 1
    splits: dict[str, str] = {}
    for counts in sizes.values():
        splits |= dict.fromkeys(counts, "train")
        total = sum(counts.values())
        small = [place for place, size in counts.items() if size <= LARGEST_HELD_OUT * total]
        lacking = {split: share * total for split, share in HELD_OUT.items()}
        for place in sorted(small, key=_draw):
            split = max(lacking, key=lambda name: lacking[name])
            if lacking[split] > 0:
                splits[place] = split
                lacking[split] -= counts[place]
    return splits


def docstrings(packages: Iterable[Package], limit: int = PAIRS) -> pa.Table:
    """The data set: at most `limit` pairs, sampled and ordered by a hash of their location."""
    found = [pair for package in packages for pair in pairs_of(package)]
    drawn = sorted(found, key=lambda pair: _draw(f"{pair.module}:{pair.name}"))
    pairs = distinct(drawn)[:limit]
    splits = splits_of(pairs)
    rows = [{**vars(pair), "split": splits[pair.place]} for pair in pairs]
    return pa.Table.from_pylist(rows, SCHEMA)


def _draw(text: str) -> bytes:
    return hashlib.blake2b(f"docstrings 0\0{text}".encode(), digest_size=8).digest()


def licences(packages: Iterable[Package]) -> str:
    """The licence texts of all packages."""
    parts = []
    for package in packages:
        title = f"{package.distribution or 'Python (standard library)'} {package.version}"
        text = package.licence.read_text(encoding="utf-8").partition(package.end)[0].strip()
        parts.append(f"{'=' * 80}\n{title}\n{'=' * 80}\n\n{text}\n")
    return "\n".join(parts)


def installed(constraints: Path) -> list[Package]:
    """The installed packages.

    Raises:
        ValueError: the version of a package differs from the one in `constraints`.
    """
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", constraints.read_text(), re.MULTILINE))
    stdlib = Path(sysconfig.get_path("stdlib"))
    version = sysconfig.get_config_var("py_version")
    packages = [Package("", stdlib, stdlib / "LICENSE.txt", version, "\0")]
    for name, folder, end in [
        ("numpy", "numpy", "\n----"),
        ("scipy", "scipy", "\n----"),
        ("pandas", "pandas", "\0"),
        ("scikit-learn", "sklearn", "\n----"),
        ("networkx", "networkx", "\0"),
        # Code from Diofant is not marked in sympy's sources, so its licence is included.
        ("sympy", "sympy", "\n-" + 79 * "-" + "\n\nSubmodules taken"),
    ]:
        found = importlib.metadata.distribution(name)
        if found.version != pinned[name]:
            message = f"{name} {found.version} is installed, but constraints.txt says"
            raise ValueError(f"{message} {pinned[name]}: pip install {name}=={pinned[name]}")
        texts = [file for file in found.files or [] if _is_licence(file.parts)]
        licence = Path(str(found.locate_file(min(texts, key=lambda file: len(file.parts)))))
        place = Path(str(found.locate_file(folder)))
        packages.append(Package(name, place, licence, found.version, end))
    return packages


def _is_licence(parts: tuple[str, ...]) -> bool:
    return ".dist-info" in parts[0] and parts[-1].partition(".")[0] in ("LICENSE", "COPYING")


def write(table: pa.Table, target: Path) -> None:
    """Write `table` as one row group, with reproducible bytes."""
    pq.write_table(
        table, target, compression="zstd", compression_level=19, row_group_size=max(len(table), 1)
    )


def main() -> None:
    """Build the data set from the installed packages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", type=Path, default=TARGET, help="the Parquet file to write")
    target = parser.parse_args().target
    packages = installed(ROOT / "constraints.txt")
    table = docstrings(packages)
    write(table, target)
    target.with_name(f"{target.stem}_LICENSES.txt").write_text(licences(packages), encoding="utf-8")
    for column in ("package", "split"):
        counts = sorted(Counter(table[column].to_pylist()).items())
        print(", ".join(f"{name} {count:,}" for name, count in counts))
    print(f"{len(table):,} pairs, {target.stat().st_size:,} bytes: {target}")


if __name__ == "__main__":
    main()
