"""Arithmetic that a model writes, worked out without running it as code.

The expression is read as Python's syntax tree, of which only numbers, operators and a list of functions are known.
Sizes are looked at before anything is computed, so that `9**9**9` costs nothing.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from whetstone.errors import UsageError
from whetstone.tools.function_tool import FunctionTool

Number = int | float

_MOST_CHARACTERS = 500
_MOST_BITS = 10_000  # of a whole number: 3,010 digits
_MOST_FACTORIAL = 1_000
_DEEPEST = 60

_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "π": "pi", "\u00a0": " "})
_OPERATORS: Mapping[type[ast.AST], Callable[..., Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def calculate(expression: str) -> str:
    """Works out an arithmetic expression and gives the number.

    Known are + - * / // % ** (or ^), parentheses, pi, e, and the functions abs, ceil, cos, exp, factorial, floor, gcd,
    lcm, ln, log, log10, log2, max, min, root, round, sin, sqrt, sum, tan; angles are in radians.

    Args:
        expression: for example (19.99 * 3 + 4.5) / 2, or round(sqrt(2), 4). Numbers without thousands separators.
    """
    text = expression.strip().translate(_SIGNS)
    if not text:
        raise UsageError("there is no expression")
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"the expression has {len(text):,} characters; at most {_MOST_CHARACTERS} are read")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(f"{expression[:80]!r} is no arithmetic expression such as (3 + 4) * 5") from None
    try:
        return written(_value(tree.body, 0))
    except ZeroDivisionError:
        raise UsageError("that divides by zero") from None
    except OverflowError:
        raise UsageError("the result is too large to be worked out") from None
    except (ValueError, TypeError) as error:
        raise UsageError(f"that has no result: {error}") from None


def written(number: Number) -> str:
    """A number as text: whole ones in full, others with as many digits as a float holds for certain."""
    if isinstance(number, int):
        return str(number)
    if math.isnan(number) or math.isinf(number):
        raise UsageError("the result is too large to be worked out")
    return f"{number:.15g}"


def _value(node: ast.AST, depth: int) -> Number:
    if depth > _DEEPEST:
        raise UsageError("the expression is nested too deeply")
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _checked(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand, depth + 1))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, depth + 1), _value(node.right, depth + 1)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _OPERATORS:
            return _checked(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise UsageError(f"there is no function {node.func.id}; known: {', '.join(sorted(_FUNCTIONS))}")
        return _checked(_FUNCTIONS[node.func.id](*_arguments(node.args, depth)))
    raise UsageError(f"{ast.unparse(node)[:60]!r} is no arithmetic: write numbers, + - * / ** and parentheses")


def _arguments(nodes: list[ast.expr], depth: int) -> list[Number]:
    """Arguments of a function; one list or tuple stands for its parts, as in sum([1, 2, 3])."""
    if len(nodes) == 1 and isinstance(nodes[0], ast.List | ast.Tuple):
        nodes = nodes[0].elts
    return [_value(node, depth + 1) for node in nodes]


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if base.bit_length() * exponent > _MOST_BITS and base not in (-1, 0, 1):
            raise UsageError("the result is too large to be worked out")
        return int(base**exponent)
    result = float(base) ** float(exponent)
    if not isinstance(result, float):  # a complex one
        raise UsageError(f"{written(base)} to the power of {written(exponent)} is no real number")
    return result


def _checked(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > _MOST_BITS:
        raise UsageError("the result is too large to be worked out")
    return number


def _factorial(number: Number) -> Number:
    if number != int(number) or not 0 <= number <= _MOST_FACTORIAL:
        raise UsageError(f"factorial takes a whole number from 0 to {_MOST_FACTORIAL}")
    return math.factorial(int(number))


def _round(number: Number, digits: Number = 0) -> Number:
    places = int(digits)
    if abs(places) > 300:
        raise UsageError("round takes at most 300 digits")
    return round(number, places) if places else round(number)


def _root(number: Number, degree: Number = 2) -> Number:
    return math.cbrt(number) if degree == 3 else _power(number, 1 / degree)


def _sum(*numbers: Number) -> Number:
    return sum(numbers)


_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "factorial": _factorial,
    "floor": math.floor,
    "gcd": math.gcd,
    "lcm": math.lcm,
    "ln": math.log,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "root": _root,
    "round": _round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "sum": _sum,
    "tan": math.tan,
}


def calculator(argument: str) -> FunctionTool:
    """The tool `calculator`.

    Raises:
        UsageError: something stands behind its name.
    """
    if argument:
        raise UsageError(f"the tool calculator takes nothing behind its name, and has {argument!r}")
    return FunctionTool(calculate, name="calculator")
