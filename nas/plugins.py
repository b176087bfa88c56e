"""Search spaces, strategies and estimators by name: built in, or from entry points."""

import difflib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from estimators import DATASETS, ESTIMATORS
from nas.errors import usage_error
from search_spaces import SEARCH_SPACES
from search_spaces.strict_json import JsonError, loads
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
_MOST_LISTED = 12  # names in a message


def names(kind: str) -> list[str]:
    """All names of one kind (a key of ``BUILT_IN``), built-in ones and those of plug-ins."""
    return sorted(_table(kind))


def load(kind: str, name: str) -> Any:
    """The class or function of that name.

    Args:
        kind: A key of ``BUILT_IN``.
        name: One of ``names(kind)``.

    Raises:
        NasError: If the name is unknown, is taken twice, or cannot be imported.
    """
    table = _table(kind)
    if name not in table:
        raise usage_error(f"{_SINGULAR[kind]}: {unknown(name, table)}")
    place = f"{_SINGULAR[kind]} {name}"
    if len(table[name]) > 1:
        claims = " and ".join(table[name])
        raise usage_error(f"{place}: the name is taken twice, by {claims}; uninstall one of them")
    module, _, attribute = table[name][0].partition(":")
    try:
        target = getattr(import_module(module), attribute)
    except Exception as error:  # a plug-in may raise anything when imported
        reason = f"{type(error).__name__}: {error}"
        raise usage_error(f"{place}: cannot be imported: {reason}") from error
    if not callable(target):
        raise usage_error(f"{place}: {table[name][0]} must be a class, got {target!r:.80}")
    return target


def name_of(kind: str, target: str | type) -> str:
    """What a run calls a space, strategy or estimator: a name that ``load`` finds, if it has one.

    Args:
        kind: A key of ``BUILT_IN``.
        target: A name, or a class; one without a name is called ``module:class``.
    """
    if isinstance(target, str):
        return target
    place = f"{target.__module__}:{target.__qualname__}"
    known = (name for name, claims in _table(kind).items() if claims == [place])
    return next(known, place)


def options(target: Any) -> dict[str, inspect.Parameter]:
    """The options of a class: its constructor's keyword-only parameters."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:
        return {}  # not a Python class
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
            {"name": option.name, "default": _written(option.default)}
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


SETTINGS = (*PARTS.values(), "train")  # what a search has options of


def parse_settings(
    settings: Iterable[str], *, parts: Sequence[str] = SETTINGS
) -> dict[str, dict[str, Any]]:
    """Options by part from ``--set part.option=value`` texts.

    Args:
        settings: The texts.
        parts: What has options.

    Returns:
        For each part its options; values are JSON where they parse as JSON (numbers, true,
        null), else text.

    Raises:
        NasError: If a text has another form, or an option is set twice.
    """
    parsed: dict[str, dict[str, Any]] = {part: {} for part in parts}
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
            parsed[part][option] = loads(text)
        except JsonError:
            parsed[part][option] = text
    return parsed


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known: the nearest one, or all if they are few."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(known[:_MOST_LISTED]) or "none"
    rest = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    hint = f"did you mean {near[0]}?" if near else f"known are {listed}{rest}"
    return f"there is no {name[:80]!r}; {hint}"


def _written(default: Any) -> str:
    """A default as ``--set`` would have it."""
    return "(required)" if default is inspect.Parameter.empty else json.dumps(default, default=repr)


def _table(kind: str) -> dict[str, list[str]]:
    """Who claims each name; more than one is an error for whoever asks for it."""
    table = {name: [target] for name, target in BUILT_IN[kind].items()}
    for point in entry_points(group=f"nas.{kind}"):
        claims = table.setdefault(point.name, [])
        if point.value not in claims:
            claims.append(point.value)
    return table
