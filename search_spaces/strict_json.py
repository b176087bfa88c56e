"""JSON as a file format: strict to read, stable to write.

Everything that comes from a path a user names passes through here: duplicate keys, NaN, endless
nesting, huge numbers and huge files are refused with one line, before anything is built.
"""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

MAX_BYTES = 8 * 2**20
MAX_INT = 2**53

T = TypeVar("T")

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "str | None": (str, type(None)),
}
_TUPLES: Mapping[str, type] = {"tuple[int, ...]": int, "tuple[str, ...]": str}


class JsonError(ValueError):
    """A document that is not what it should be; the message says where."""


def loads(text: str | bytes) -> Any:
    """The document in ``text``.

    Raises:
        JsonError: If it is larger than ``MAX_BYTES``, not JSON, has a key twice, holds NaN or
            an infinity, a whole number beyond 2**53, or is nested too deeply.
    """
    if len(text) > MAX_BYTES:
        raise JsonError(f"document must have at most {MAX_BYTES} bytes, got {len(text)}")
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_small_int,
            parse_float=_finite,
        )
    except RecursionError:
        raise JsonError("document is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise JsonError(f"document is not UTF-8: {error.reason}") from None
    except json.JSONDecodeError as error:
        raise JsonError(
            f"document is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from None


def dumps(document: object, *, indent: int | None = None) -> str:
    """``document`` as JSON; NaN and infinities raise ``ValueError``."""
    separators = (",", ":") if indent is None else None
    return json.dumps(document, allow_nan=False, indent=indent, separators=separators)


def fields_of(value: Any, *, defaults: bool = True) -> dict[str, Any]:
    """The fields of a dataclass of plain values, by name.

    Args:
        value: The dataclass instance.
        defaults: Whether to list fields that hold a plain number equal to their default, too.
    """
    return {
        field.name: getattr(value, field.name)
        for field in dataclasses.fields(value)
        if defaults
        or type(getattr(value, field.name)) is not type(field.default)
        or getattr(value, field.name) != field.default
    }


def record(cls: Callable[..., T], document: Mapping[str, Any], where: str) -> T:
    """An instance of the dataclass ``cls`` from a JSON object with exactly its fields.

    A whole number in place of a float becomes one, so that equal values are the same value.

    Args:
        cls: A dataclass whose fields are int, float, bool, str, or one of these or None, or
            tuples of int or of str, which are lists in the document.
        document: Field values by name; those with a default may be left out.
        where: Place in the document, for messages.

    Raises:
        JsonError: If a field is missing, unknown, of another type or out of its range.
    """
    fields = {field.name: field for field in dataclasses.fields(cast("Any", cls))}
    check_keys(document, tuple(fields), where)
    values = dict(document)
    for name, field in fields.items():
        if name not in document:
            if field.default is dataclasses.MISSING:
                raise JsonError(f"{where}: field {name!r} is missing")
            continue
        value = document[name]
        expected = field.type.__name__ if isinstance(field.type, type) else str(field.type)
        if expected in _TUPLES:
            values[name] = _tuple(value, _TUPLES[expected], f"{where}.{name}")
            continue
        allowed = _TYPES[expected]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise JsonError(f"{where}.{name} must be {expected}, got {_short(value)}")
        if isinstance(value, int) and float in allowed:
            values[name] = float(value)
    try:
        return cls(**values)
    except ValueError as error:
        raise JsonError(f"{where}: {error}") from None


def member(document: Any, key: str, kind: type[T], where: str) -> T:
    """``document[key]``, which must be a ``kind``.

    Raises:
        JsonError: If ``document`` is no object, or the key is missing or of another type.
    """
    if not isinstance(document, dict):
        raise JsonError(f"{where} must be an object, got {_short(document)}")
    if key not in document:
        raise JsonError(f"{where}: field {key!r} is missing")
    value = document[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise JsonError(f"{where}.{key} must be {kind.__name__}, got {_short(value)}")
    return value


def check_keys(document: Any, known: Sequence[str], where: str) -> None:
    """Check that an object has no other keys than ``known``.

    Raises:
        JsonError: If ``document`` is no object, or has another key.
    """
    if not isinstance(document, dict):
        raise JsonError(f"{where} must be an object, got {_short(document)}")
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise JsonError(f"{where}: unknown field {unknown[0][:80]!r}; known are {', '.join(known)}")


def check_version(document: Any, version: int, where: str) -> None:
    """Check the schema version of a document.

    Raises:
        JsonError: If it is missing or another one.
    """
    found = member(document, "schema_version", int, where)
    if found != version:
        raise JsonError(f"{where}.schema_version must be {version}, got {found}")


def _tuple(value: Any, kind: type[T], where: str) -> tuple[T, ...]:
    if not isinstance(value, list | tuple) or any(type(part) is not kind for part in value):
        raise JsonError(f"{where} must be a list of {kind.__name__}, got {_short(value)}")
    return tuple(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise JsonError(f"key {twice[:80]!r} stands twice in one object")
    return document


def _no_constant(name: str) -> float:
    raise JsonError(f"document must not hold {name}")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise JsonError(f"document must not hold infinities, got {digits[:20]}")
    return value


def _small_int(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INT:
        raise JsonError(f"whole numbers must be at most 2**53, got {digits[:20]}...")
    return int(digits)


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, dict | list) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
