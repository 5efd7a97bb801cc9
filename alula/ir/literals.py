"""Literals of the graph text: numbers, strings, names, tuples and dimensions.  The text may be hostile.

A reader of our own rather than Python's: no escapes that warn, no endless numbers, no nesting that ends the process.
"""

from __future__ import annotations

import re
from typing import Any

from alula.core.dims import LARGEST_COEFFICIENT, Expr, symbol
from alula.core.dtype import DType
from alula.core.errors import GraphError

DEEPEST = 32
STRING = r'"(?:[^"\\\n]|\\.)*"'
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN = re.compile(
    rf" *(?:(?P<string>{STRING})|(?P<float>[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?|[0-9]+e[+-]?[0-9]+)|(?P<int>[0-9]+)"
    rf"|(?P<name>{NAME})|(?P<sign>//|[-+*(),=]))"
)
_ESCAPE = re.compile(r'\\(?:(["\\nrt])|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|.)')
_SHORT_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS: dict[str, Any] = {
    "True": True,
    "False": False,
    "inf": float("inf"),
    **{dtype.value: dtype for dtype in DType},
}


def is_size_name(name: str) -> bool:
    """True for what can name a size: an ASCII identifier that is no other literal."""
    return re.fullmatch(NAME, name) is not None and name not in _CONSTANTS


def parse_literal(text: str) -> Any:
    """The literal, tuple, dimension or dtype that `print_attribute` printed.

    Raises GraphError for anything else, and ShapeError for a dimension that is a polynomial without end.
    """
    reader = _Reader(text)
    value = reader.value(DEEPEST)
    reader.end()
    return value


def parse_keywords(text: str) -> dict[str, Any]:
    """`key=value, ...` as a dict.  Raises GraphError for anything else, and for a key given twice."""
    reader = _Reader(text)
    found: dict[str, Any] = {}
    while reader.more():
        if found:
            reader.expect(",")
        key = reader.take("name")
        reader.expect("=")
        if key in found:
            raise GraphError(f"expected {key} once")
        found[key] = reader.value(DEEPEST)
    return found


class _Reader:
    """Tokens, the next one first, and one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        place, text = 0, text.rstrip(" ")
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise GraphError(f"expected a literal, got {text[place : place + 40]!r}")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        self.tokens.reverse()

    def more(self) -> bool:
        return bool(self.tokens)

    def end(self) -> None:
        if self.tokens:
            raise GraphError(f"expected one literal, got {self.tokens[-1][1][:40]!r} after it")

    def next_is(self, *signs: str) -> bool:
        return bool(self.tokens) and self.tokens[-1][0] == "sign" and self.tokens[-1][1] in signs

    def take(self, kind: str) -> str:
        if not self.tokens or self.tokens[-1][0] != kind:
            raise GraphError(f"expected a {kind}, got {self.tokens[-1][1][:40] if self.tokens else 'the end'!r}")
        return self.tokens.pop()[1]

    def expect(self, sign: str) -> None:
        if not self.next_is(sign):
            raise GraphError(f"expected {sign!r}, got {self.tokens[-1][1][:40] if self.tokens else 'the end'!r}")
        self.tokens.pop()

    def value(self, depth: int) -> Any:
        """term + term + ..."""
        total = self.term(depth)
        while self.next_is("+"):
            self.tokens.pop()
            total = _dim(total) + _dim(self.term(depth))
        return total

    def term(self, depth: int) -> Any:
        """factor * factor // factor ..."""
        total = self.factor(depth)
        while self.next_is("*", "//"):
            sign, right = self.tokens.pop()[1], _dim(self.factor(depth))
            if sign == "*":
                total = _dim(total) * right
            elif isinstance(right, int) and right > 0:
                total = _dim(total) // right
            else:
                raise GraphError(f"expected a divisor of 1 or more, got {right}")
        return total

    def factor(self, depth: int) -> Any:
        """A number, string or name; or what parentheses hold."""
        negative = self.next_is("-")
        if negative:
            self.tokens.pop()
        if self.next_is("(") and not negative:
            return self.parenthesised(depth)
        kind, text = self.tokens.pop() if self.tokens else ("", "the end")
        if kind == "int" and len(text) <= 19 and int(text) <= LARGEST_COEFFICIENT:
            return -int(text) if negative else int(text)
        if kind == "float" or (kind, text) == ("name", "inf"):
            return -float(text) if negative else float(text)
        if kind == "name" and not negative:
            return _CONSTANTS[text] if text in _CONSTANTS else symbol(text)
        if kind == "string" and not negative:
            return unescaped(text[1:-1])
        raise GraphError(f"expected a literal, got {text[:40]!r}")

    def parenthesised(self, depth: int) -> Any:
        """`(value)` is the value; `()`, `(value,)` and `(value, value)` are tuples."""
        if depth == 0:
            raise GraphError(f"expected at most {DEEPEST} parentheses in each other")
        self.expect("(")
        items: list[Any] = []
        comma = False
        while not self.next_is(")"):
            if items:
                self.expect(",")
                comma = True
                if self.next_is(")"):
                    break
            items.append(self.value(depth - 1))
        self.expect(")")
        return items[0] if len(items) == 1 and not comma else tuple(items)


def _dim(value: Any) -> Any:
    if type(value) is not int and not isinstance(value, Expr):
        raise GraphError(f"expected dimensions, got {value!r}")
    return value


def unescaped(text: str) -> str:
    """What stands between the quotes of a printed string, as it was.  Raises GraphError for an unknown escape."""
    return _ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    short, *codes = escape.groups()
    if short is not None:
        return _SHORT_ESCAPES[short]
    code = next((int(code, 16) for code in codes if code is not None), -1)
    if not 0 <= code <= 0x10FFFF:
        raise GraphError(f"expected a known escape, got {escape[0]!r}")
    return chr(code)
