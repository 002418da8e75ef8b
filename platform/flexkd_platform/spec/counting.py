"""Numbers of things in messages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`number` with its noun, as "1 trial" and "1,200 trials".

    plural: of the noun, if it does not end in s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def be(number: int) -> str:
    """The verb after a number of things: is or are."""
    return "is" if number == 1 else "are"
