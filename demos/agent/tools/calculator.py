"""Arithmetic: exact where arithmetic is exact, bounded in time and size, and never Python's `eval`.

Numbers are fractions, so 0.1 + 0.2 is 0.3 and 2**200 has all its digits; roots and the transcendental functions give floating
point, and the answer says so with ≈. As people write it: ×, ÷, ², √2, 5!, 15%, full-width characters; what may mean two things (1,000
and 5% - 3) is told, not guessed. Knows no variables, units or equations.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Context
from fractions import Fraction
from typing import Any

from demos.agent.tools.actions import Action, tool_api
from demos.agent.tools.workplace import ToolFailure

Number = Fraction | float
MOST_CHARACTERS, MOST_DEPTH, MOST_BITS, MOST_FACTORIAL = 1000, 60, 13_000, 1500
_FULL_WIDTH = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_WRITTEN = _FULL_WIDTH | str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "π": "pi", "^": "**"})
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_AS_PEOPLE_WRITE: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+"), lambda found: f"**{found[0].translate(_RAISED)}"),
    (re.compile(r"√\s*(\d+(?:\.\d+)?)"), lambda found: f"sqrt({found[1]})"),
    (re.compile(r"√\s*(?=\()"), lambda found: "sqrt"),
    (re.compile(r"(?<![\w.])(\d+)!(?!=)"), lambda found: f"factorial({found[1]})"),
    (re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*%(?=\s*(?:$|[)*/,]))"), lambda found: f"({found[1]}/100)"),  # no remainder of nothing
    (re.compile(r"\bmod\b"), lambda found: "%"),
)
_TWO_MEANINGS = re.compile(r"\d%\s*[-+]")
_CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}


class Calculator(Action):
    """Calculate the value of an arithmetic expression exactly. Use it for every calculation instead of calculating yourself."""

    @tool_api
    def run(self, expression: str) -> str:
        """Calculate the value of an arithmetic expression exactly. Use it for every calculation instead of calculating yourself.

        Args:
            expression (str): for example (17 + 4) * 3 / 7, 2**64, 15 % 4, sqrt(2), comb(49, 6), round(pi, 4), sin(radians(30))
        """
        return shown(value_of(expression))


def value_of(expression: str) -> Number:
    """Raises `ToolFailure` for anything that is not arithmetic, is not defined, or gets too big."""
    if len(expression) > MOST_CHARACTERS:
        raise ToolFailure(f"The expression has more than {MOST_CHARACTERS} characters.", "Calculate it in parts.")
    text = _rewritten(expression)
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ToolFailure(f"{expression[:200]!r} is no arithmetic expression.", "Write it like (17 + 4) * 3 / 7.") from error
    try:
        return _checked(_evaluate(tree.body, text, 0))
    except ZeroDivisionError as error:
        raise ToolFailure("Division by zero.", "There is no such number.") from error
    except OverflowError as error:
        raise _too_big() from error
    except (ValueError, TypeError) as error:
        raise ToolFailure(f"{expression[:200]!r} is not defined: {error}.", "Check the arguments of its functions.") from error


def _rewritten(expression: str) -> str:
    """As Python writes it. Raises `ToolFailure` for a percent sign that may be a remainder."""
    text = expression.translate(_WRITTEN).strip().rstrip("=").strip()
    found = _TWO_MEANINGS.search(text)
    if found:
        raise ToolFailure(f"{found[0]!r} may mean percent or a remainder.", "Write 5/100 for 5%, or 5 % (-3).")
    for pattern, instead in _AS_PEOPLE_WRITE:
        text = pattern.sub(instead, text)
    return text


def shown(value: Number) -> str:
    """All digits of a whole or finite decimal number, a fraction with its approximation, or ≈ and 15 digits."""
    if isinstance(value, float):
        return f"≈ {value:.15g}"
    if value.denominator == 1:
        return str(value.numerator)
    twos, fives, rest = _powers(value.denominator)
    places = max(twos, fives)
    if rest == 1 and places <= 60:
        digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    near = Context(prec=15).divide(value.numerator, value.denominator)  # a float ends at 1e308
    return f"{value.numerator}/{value.denominator} ≈ {near:.15g}"


def _evaluate(node: ast.expr, text: str, depth: int) -> Number:
    if depth > MOST_DEPTH:
        raise ToolFailure("The expression is nested too deeply.", "Calculate it in parts.")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _checked(_literal(value, ast.get_source_segment(text, node) or ""))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _evaluate(operand, text, depth + 1)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _checked(_OPERATORS[type(op)](_evaluate(left, text, depth + 1), _evaluate(right, text, depth + 1)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _checked(_FUNCTIONS[name](*(_evaluate(item, text, depth + 1) for item in arguments)))
        case ast.Tuple():
            raise ToolFailure("There is a comma between two numbers.", "Write 1000 for 1,000, and 3.5 for 3,5.")
    raise ToolFailure(
        f"{(ast.get_source_segment(text, node) or text)[:100]!r} is not known here.",
        f"There are + - * / // % **, numbers, pi, e, tau and {', '.join(sorted(_FUNCTIONS))}.",
    )


def _literal(value: int | float, written: str) -> Fraction:
    """The number as it was written, not as floating point rounds it."""
    _, _, exponent = written.lower().partition("e")
    if isinstance(value, int):
        return Fraction(value)
    if exponent and abs(int(exponent)) > MOST_BITS:
        raise _too_big()
    return Fraction(written.replace("_", ""))


def _checked(value: Any) -> Number:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _too_big()
        return value
    if isinstance(value, complex):
        raise ToolFailure("The result is no real number.", "There is no such real number.")
    fraction = Fraction(value)
    if max(fraction.numerator.bit_length(), fraction.denominator.bit_length()) > MOST_BITS:
        raise _too_big()
    return fraction


def _too_big() -> ToolFailure:
    return ToolFailure("The number gets too big (over 3,900 digits).", "Ask for its logarithm, or calculate it in parts.")


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length(), 1)
        if bits > 1 and bits * abs(exponent) > 2 * MOST_BITS:
            raise _too_big()
        return base ** int(exponent) if abs(base) != 1 else base ** (int(exponent) % 2)
    if exponent == Fraction(1, 2):
        return _root(base)
    return _float(base) ** _float(exponent)


def _root(value: Number) -> Number:
    """Exact for the squares of fractions."""
    if isinstance(value, Fraction) and value >= 0:
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
    return math.sqrt(_float(value))


def _float(value: Number) -> float:
    return float(value)


def _whole(value: Number) -> int:
    if value != int(value):
        raise ValueError("a whole number is needed")
    return int(value)


def _factorial(value: Number) -> Fraction:
    if _whole(value) > MOST_FACTORIAL:
        raise _too_big()
    return Fraction(math.factorial(_whole(value)))


def _counted(count: Callable[[int, int], int]) -> Callable[[Number, Number], Fraction]:
    def counted(n: Number, k: Number) -> Fraction:
        if _whole(n) > 10 * MOST_FACTORIAL or min(_whole(k), _whole(n) - _whole(k)) > MOST_FACTORIAL or _whole(k) > 2 * MOST_FACTORIAL:
            raise _too_big()
        return Fraction(count(_whole(n), _whole(k)))

    return counted


def _rounded(value: Number, digits: Number = Fraction(0)) -> Number:
    """Half away from zero, as in school; at most 50 places."""
    places = max(-50, min(50, _whole(digits)))
    scaled = abs(Fraction(value)) * Fraction(10) ** places
    return (1 if value >= 0 else -1) * Fraction(math.floor(scaled + Fraction(1, 2))) / Fraction(10) ** places


def _logarithm(value: Number, base: Number | None = None) -> float:
    return _logarithm_to(math.log)(value) if base is None else _logarithm_to(math.log)(value) / math.log(_float(base))


def _logarithm_to(logarithm: Callable[[float], float]) -> Callable[[Number], float]:
    """Of whole numbers of any size: one that is too big for floating point has a logarithm all the same."""
    return lambda value: logarithm(int(value) if isinstance(value, Fraction) and value.denominator == 1 else _float(value))


def _least(*values: Number) -> Number:
    return min(values)


def _greatest(*values: Number) -> Number:
    return max(values)


def _total(*values: Number) -> Number:
    return sum(values, Fraction(0))


def _powers(number: int) -> tuple[int, int, int]:
    """How often 2 and 5 divide `number`, and what is left."""
    counts = []
    for prime in (2, 5):
        count = 0
        while number % prime == 0:
            number, count = number // prime, count + 1
        counts.append(count)
    return counts[0], counts[1], number


def _approximate(function: Callable[[float], float]) -> Callable[[Number], float]:
    return lambda value: function(_float(value))


_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs, "round": _rounded, "floor": math.floor, "ceil": math.ceil, "min": _least, "max": _greatest, "sum": _total,
    "sqrt": _root, "pow": _power, "factorial": _factorial, "comb": _counted(math.comb), "perm": _counted(math.perm),
    "gcd": lambda *values: math.gcd(*map(_whole, values)), "lcm": lambda *values: math.lcm(*map(_whole, values)),
    "log": _logarithm, "ln": _logarithm, "log2": _logarithm_to(math.log2), "log10": _logarithm_to(math.log10),
    "exp": _approximate(math.exp),
    "sin": _approximate(math.sin), "cos": _approximate(math.cos), "tan": _approximate(math.tan), "asin": _approximate(math.asin),
    "acos": _approximate(math.acos), "atan": _approximate(math.atan), "sinh": _approximate(math.sinh), "cosh": _approximate(math.cosh),
    "tanh": _approximate(math.tanh), "degrees": _approximate(math.degrees), "radians": _approximate(math.radians),
}  # fmt: skip
