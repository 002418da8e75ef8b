"""Conditions on trials: `alpha>=0.1 and method in (flexkd, kd) and started>=2026-11-01`.

    condition = comparison {"and" comparison}
    comparison = name operator value | name ["not"] "in" "(" value {"," value} ")"
    operator = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" (contains)

A name is a field of a trial (`FIELDS`), a metric, a setting by its path or the end of it, or a tag
(`tags.team`). A value is a word, a number, a date, `true`, `false`, `null`, or a text in quotes. A
trial without the setting, metric or tag matches `= null`, `!=` and `not in`, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..spec import Problem, SpecError
from .where_values import Value, value_of

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<quoted>"[^"]*"|'[^']*')|(?P<mark>[(),])|(?P<operator><=|>=|!=|==|[=<>~])"""
    r"""|(?P<word>[^\s(),'"=<>~!]+)"""
)
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~", "in", "not in")


@dataclass(frozen=True)
class Comparison:
    """One comparison. text: the condition that it is part of. start: where its name begins.

    option: what the condition is called in problems.
    """

    name: str
    operator: str
    values: tuple[Value, ...]
    text: str
    start: int
    option: str

    def problem(self, message: str, remedy: str) -> Problem:
        """A problem of the name, shown at its place."""
        return _problem_at(self.text, self.start, self.option, message, remedy)


@dataclass(frozen=True)
class Token:
    """A part of a condition, with its place."""

    kind: str
    text: str
    start: int


def parse_where(texts: Sequence[str], option: str = "where") -> list[Comparison]:
    """Parse conditions; all must hold.

    option: what the conditions are called in problems.

    Raises:
        SpecError: the first error of every condition, with a caret at its place.
    """
    found: list[Comparison] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            found += _Parser(text, option).comparisons()
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return found


def _problem_at(text: str, start: int, option: str, message: str, remedy: str) -> Problem:
    """A problem that shows its place in a condition."""
    line = text.replace("\n", " ").replace("\t", " ")
    return Problem(option, f"{message}\n      {line}\n      {' ' * start}^", remedy)


class _Parser:
    def __init__(self, text: str, option: str) -> None:
        self._text, self._option = text, option
        self._tokens = list(self._split())
        self._place = 0

    def comparisons(self) -> Iterator[Comparison]:
        yield self._comparison()
        while (token := self._next()).kind != "end":
            if token.text.lower() == "or":
                remedy = "conditions are joined by `and`; for one of several values: name in (a, b)"
                raise self._error(token, "`or` is not supported", remedy)
            if token.text.lower() != "and":
                raise self._error(
                    token, f"`and` expected, given {token.text!r}", "put a text in quotes"
                )
            yield self._comparison()

    def _split(self) -> Iterator[Token]:
        start = 0
        while start < len(self._text):
            found = TOKEN.match(self._text, start)
            if found is None:
                token = Token("", self._text[start], start)
                remedy = "close the quotes" if token.text in "'\"" else "put a text in quotes"
                raise self._error(token, f"unexpected {token.text!r}", remedy)
            if found.lastgroup != "space":
                yield Token(str(found.lastgroup), found[0], start)
            start = found.end()

    def _next(self) -> Token:
        if self._place == len(self._tokens):
            return Token("end", "", len(self._text))
        self._place += 1
        return self._tokens[self._place - 1]

    def _comparison(self) -> Comparison:
        name = self._next()
        if name.kind not in {"word", "quoted"}:
            given = f", given {name.text!r}" if name.text else ""
            raise self._error(
                name, f"a name expected{given}", "write a comparison, such as alpha>=0.1"
            )
        token = self._next()
        operator = "=" if token.text == "==" else token.text.lower()
        if operator == "not":
            operator = f"not {self._next().text.lower()}"
        if operator not in OPERATORS or token.kind == "quoted":
            given = f"{token.text!r}" if token.text else "the end"
            remedy = f"allowed are {', '.join(OPERATORS)}"
            raise self._error(token, f"an operator expected, given {given}", remedy)
        several = operator.endswith("in")
        values = self._values() if several else (self._value(),)
        return Comparison(_unquoted(name), operator, values, self._text, name.start, self._option)

    def _values(self) -> tuple[Value, ...]:
        if (token := self._next()).text != "(":
            raise self._error(token, "`(` expected after `in`", "write: name in (a, b)")
        values = [self._value()]
        while (token := self._next()).text == ",":
            values.append(self._value())
        if token.text != ")":
            raise self._error(token, "`,` or `)` expected", "write: name in (a, b)")
        return tuple(values)

    def _value(self) -> Value:
        token = self._next()
        if token.kind not in {"word", "quoted"}:
            given = f"{token.text!r}" if token.text else "the end"
            remedy = "put a text in quotes" if token.text else "write a value, as in alpha>=0.1"
            raise self._error(token, f"a value expected, given {given}", remedy)
        return value_of(_unquoted(token), quoted=token.kind == "quoted")

    def _error(self, token: Token, message: str, remedy: str) -> SpecError:
        return SpecError([_problem_at(self._text, token.start, self._option, message, remedy)])


def _unquoted(token: Token) -> str:
    return token.text[1:-1] if token.kind == "quoted" else token.text
