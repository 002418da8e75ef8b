"""A table in LaTeX, with the rules of the booktabs package."""

from __future__ import annotations

from collections.abc import Sequence

COMMANDS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "–": "--",
    "…": r"\dots{}",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
"""What has another meaning in LaTeX, or is not in the fonts of pdfLaTeX."""


def escaped(text: str) -> str:
    """The text as LaTeX prints it."""
    return "".join(COMMANDS.get(letter, letter) for letter in text)


def latex_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int, note: str = ""
) -> str:
    """A `tabular` that needs `\\usepackage{booktabs}`.

    left: how many columns are aligned to the left; the others are aligned to the right.
    note: a comment above it.
    """
    columns = "l" * left + "r" * (len(header) - left)
    # "[" after "\\" would be read as an optional length.
    lines = [" & ".join(map(escaped, line)) for line in (header, *rows)]
    body = [f"{{}}{line}" if line.startswith("[") else line for line in lines]
    return "\n".join(
        [
            *([f"% {note}"] if note else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{body[0]} \\",
            r"\midrule",
            *(rf"{line} \\" for line in body[1:]),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )
