"""One JSON value, one sequence of bytes: RFC 8785 (JSON Canonicalization Scheme), what signatures are made over.

UTF-8 without spaces; names sorted by their UTF-16 code units; strings with the shortest escapes; numbers as
ECMAScript writes an IEEE 754 double: the fewest digits that give the same double again, no exponent from 1e-6 up to
(not including) 1e21, whole values without a point, minus zero as 0. So a float of 0.91 is `0.91`, one of 1.0 is `1`,
and 1e-7 is `1e-7`. Whole numbers beyond 2**53 - 1, which not every reader holds exactly, NaN and infinities are
refused, and so are names that come twice.
"""

from __future__ import annotations

import json
from typing import Any

MAX_SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 64


class NotCanonical(ValueError):
    """The value, or the text, has no canonical form; the sentence says why."""


def dumps(value: Any) -> bytes:
    """Return the canonical bytes of a JSON-ready value. Raises NotCanonical."""
    parts: list[str] = []
    _write(value, parts, 0)
    try:
        return "".join(parts).encode()
    except UnicodeEncodeError:
        raise NotCanonical("a text holds half of a surrogate pair") from None


def loads(data: bytes) -> Any:
    """Return the value of JSON that has one reading only. Raises NotCanonical."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise NotCanonical("it is not UTF-8") from None
    except RecursionError:
        raise NotCanonical("it is nested too deeply") from None
    except NotCanonical:
        raise
    except ValueError:
        raise NotCanonical("it is not JSON") from None


def number(value: float) -> str:
    """Write a double as ECMAScript's Number.prototype.toString does (ECMA-262 §6.1.6.1.20)."""
    if value != value or value in (float("inf"), float("-inf")):
        raise NotCanonical("a number is not finite")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # Python's repr has the same digits, the shortest that read back the same; only their layout differs.
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    places = len(whole) + int(exponent or 0)
    figures = (whole + fraction).lstrip("0")
    places -= len(whole + fraction) - len(figures)
    figures = figures.rstrip("0")
    return sign + _laid_out(figures, places)


def _laid_out(figures: str, places: int) -> str:
    """figures: significant digits; places: how many of them stand before the point."""
    count = len(figures)
    if count <= places <= 21:
        return figures + "0" * (places - count)
    if 0 < places <= 21:
        return f"{figures[:places]}.{figures[places:]}"
    if -6 < places <= 0:
        return "0." + "0" * -places + figures
    power = places - 1
    head = figures if count == 1 else f"{figures[0]}.{figures[1:]}"
    return f"{head}e{'+' if power >= 0 else '-'}{abs(power)}"


def _write(value: Any, parts: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCanonical("it is nested too deeply")
    if value is None or isinstance(value, bool):
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        parts.append(json.dumps(value, ensure_ascii=False))
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise NotCanonical("a whole number is too large to be read exactly everywhere")
        parts.append(str(value))
    elif isinstance(value, float):
        parts.append(number(value))
    elif isinstance(value, dict):
        _write_object(value, parts, depth)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            parts.append("[" if index == 0 else ",")
            _write(item, parts, depth + 1)
        parts.append("]" if value else "[]")
    else:
        raise NotCanonical(f"{type(value).__name__} is no JSON value")


def _write_object(value: dict[Any, Any], parts: list[str], depth: int) -> None:
    if not all(isinstance(name, str) for name in value):
        raise NotCanonical("a name is not text")
    for index, name in enumerate(sorted(value, key=_utf16)):
        parts.append(("{" if index == 0 else ",") + json.dumps(name, ensure_ascii=False) + ":")
        _write(value[name], parts, depth + 1)
    parts.append("}" if value else "{}")


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCanonical("a name comes twice in it")
    return found


def _no_constant(name: str) -> Any:
    raise NotCanonical(f"{name} is no JSON number")
