"""Whole numbers that remember what the class around them calls them."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Self

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_LONGEST_EXPRESSION = 120
_LARGEST_VALUE = 2**53
_WORDS = re.compile(r"(?: *(?:[a-z][a-z0-9_]*+|[0-9]++(?![a-z_])|//|[-+*()]))+ *")


class Argument(int):
    """An int with the expression that yields it inside one scope.

    It counts, compares and hashes as the int it is. Sums, differences, products and floor
    divisions with other arguments of the same scope, or with plain ints, keep an expression;
    everything else falls back to a plain int, which generated source prints as a constant.

    Attributes:
        expression: Python source such as ``hidden_channels`` or ``kernel_size // 2``.
        scope: Path of the scope in which the expression is valid.
    """

    expression: str
    scope: str

    def __new__(cls, value: int, expression: str, scope: str) -> Self:
        """Name ``value``; see the class."""
        self = super().__new__(cls, value)
        self.expression = expression
        self.scope = scope
        return self

    def __getnewargs__(self) -> tuple[int, str, str]:  # type: ignore[override]
        """Let copies and pickles keep the name."""
        return int(self), self.expression, self.scope

    def __add__(self, other: int) -> int:
        return self._combine(other, "+", operator.add)

    def __radd__(self, other: int) -> int:
        return self + other

    def __sub__(self, other: int) -> int:
        return self._combine(other, "-", operator.sub)

    def __mul__(self, other: int) -> int:
        return self._combine(other, "*", operator.mul)

    def __rmul__(self, other: int) -> int:
        return self * other

    def __floordiv__(self, other: int) -> int:
        return self._combine(other, "//", operator.floordiv)

    def _combine(self, other: int, symbol: str, apply: Callable[[int, int], int]) -> int:
        value = apply(int(self), int(other) if isinstance(other, Argument) else other)
        if isinstance(other, Argument) and other.scope == self.scope:
            right = other.expression
        elif type(other) is int:
            right = str(other)
        else:
            return value
        left = self.expression
        if not (symbol == "+" and _is_sum(left)):
            left = _bracketed(left)
        expression = f"{left} {symbol} {_bracketed(right)}"
        if len(expression) > _LONGEST_EXPRESSION:
            return int(value)
        return Argument(value, expression, self.scope)


def parse(expression: str, names: Mapping[str, int], scope: str) -> int:
    """The number that ``expression`` stands for: names, whole numbers, ``+ - * //``, brackets.

    The names become arguments and are combined anew, so that the result carries an expression
    of our own making: for whatever ``Argument.expression`` holds, the very same one.

    Args:
        expression: What ``Argument.expression`` holds; may come from an untrusted file.
        names: Value of every name that may occur.
        scope: Path of the scope in which the names are valid.

    Raises:
        ValueError: If the text is anything else, too long, divides by zero, uses another name or
            yields a number beyond 2**53.
    """
    if len(expression) > _LONGEST_EXPRESSION:
        raise ValueError(f"expression must have at most {_LONGEST_EXPRESSION} characters")
    if not _WORDS.fullmatch(expression):
        raise ValueError(f"expression must be sums of names, got {expression!r}")
    try:
        value = _evaluate(ast.parse(expression, mode="eval").body, names, scope)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"expression must be sums of names, got {expression!r}") from None
    if abs(value) > _LARGEST_VALUE:
        raise ValueError(f"expression must yield at most 2**53, got {expression!r}")
    return value


def _evaluate(node: ast.expr, names: Mapping[str, int], scope: str) -> int:
    match node:
        case ast.Name(name) if name in names:
            return Argument(int(names[name]), name, scope)
        case ast.Constant(int(value)) if type(value) is int:
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int(value))) if type(value) is int:
            return -value
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = _evaluate(node.left, names, scope), _evaluate(node.right, names, scope)
            if isinstance(node.op, ast.FloorDiv) and right == 0:
                raise ValueError("expression must not divide by zero")
            return _OPERATORS[type(node.op)](left, right)
    known = ", ".join(names)[:200] if names else "none"
    raise ValueError(
        f"expression must use the scope's arguments ({known}), got {ast.unparse(node)!r}"
    )


def _is_sum(expression: str) -> bool:
    return not set(expression) & set("(-*/")


def _bracketed(expression: str) -> str:
    return expression if expression.isidentifier() or expression.isdigit() else f"({expression})"
