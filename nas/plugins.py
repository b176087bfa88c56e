"""Search spaces, strategies and estimators by name: built in, or from entry points."""

import difflib
import inspect
import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from estimators import DATASETS, ESTIMATORS
from nas.errors import usage_error
from search_spaces import SEARCH_SPACES
from strategies import STRATEGIES

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "search_spaces": SEARCH_SPACES,
    "strategies": STRATEGIES,
    "estimators": ESTIMATORS,
    "datasets": DATASETS,
}
# What ``--set`` calls the options of each kind.
PARTS: Mapping[str, str] = {
    "search_spaces": "space",
    "strategies": "strategy",
    "estimators": "estimator",
}
_SINGULAR = {
    "search_spaces": "search space",
    "strategies": "strategy",
    "estimators": "estimator",
    "datasets": "data set",
}


def names(kind: str) -> list[str]:
    """All names of one kind (a key of ``BUILT_IN``), built-in ones and those of plug-ins.

    Raises:
        NasError: If a plug-in takes a name that is taken.
    """
    return sorted(_table(kind))


def load(kind: str, name: str) -> Any:
    """The class or function of that name.

    Args:
        kind: A key of ``BUILT_IN``.
        name: One of ``names(kind)``.

    Raises:
        NasError: If the name is unknown, or its module cannot be imported.
    """
    table = _table(kind)
    if name not in table:
        raise usage_error(f"{_SINGULAR[kind]}: {unknown(name, table)}")
    module, _, attribute = table[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise usage_error(f"{_SINGULAR[kind]} {name}: cannot be imported: {error}") from error


def options(target: Any) -> dict[str, inspect.Parameter]:
    """The options of a class: its constructor's keyword-only parameters."""
    parameters = inspect.signature(target).parameters.values()
    return {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def description(name: str, target: Any) -> dict[str, Any]:
    """What there is to say of a plug-in: ``name``, ``text`` and ``options`` with defaults."""
    return {
        "name": name,
        "text": inspect.getdoc(target) or "",
        "options": [
            {"name": option.name, "default": json.dumps(option.default)}
            for option in options(target).values()
        ],
    }


def check_options(target: Any, given: Mapping[str, Any], where: str) -> None:
    """Check that every given option exists.

    Raises:
        NasError: If one does not; the message names the nearest.
    """
    known = options(target)
    for name in given:
        if name not in known:
            raise usage_error(f"{where}.{name}: {unknown(name, known)}")


def parse_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Options by part from ``--set part.option=value`` texts.

    Returns:
        For each of ``space``, ``strategy`` and ``estimator`` its options; values are JSON where
        they parse as JSON (numbers, true, null), else text.

    Raises:
        NasError: If a text has another form, or an option is set twice.
    """
    parsed: dict[str, dict[str, Any]] = {"space": {}, "strategy": {}, "estimator": {}}
    for setting in settings:
        target, equals, text = setting.partition("=")
        part, dot, option = target.partition(".")
        if not (equals and dot and option):
            raise usage_error(f"--set must be PART.OPTION=VALUE, got {setting!r}")
        if part not in parsed:
            raise usage_error(f"--set {setting}: {unknown(part, parsed)}")
        if option in parsed[part]:
            raise usage_error(f"--set {target}: is given twice")
        try:
            parsed[part][option] = json.loads(text)
        except json.JSONDecodeError:
            parsed[part][option] = text
    return parsed


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known: the nearest one, or all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known) or 'none'}"
    return f"there is no {name[:80]!r}; {hint}"


def _table(kind: str) -> dict[str, str]:
    table = dict(BUILT_IN[kind])
    for point in entry_points(group=f"nas.{kind}"):
        if point.name in table:
            raise usage_error(f"{_SINGULAR[kind]} {point.name}: {point.value} takes a taken name")
        table[point.name] = point.value
    return table
