"""Flags from a file: ``nas search --config run.toml``."""

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nas.errors import usage_error
from nas.plugins import unknown

SET = "set"


def read(path: Path, known: Mapping[str, str], *, lists: Collection[str]) -> dict[str, Any]:
    """Values of flags in a TOML file.

    Keys are the flags without their dashes in front, such as ``max-params = "300k"``; ``[set]``
    is a table of parts with options, such as ``strategy.population_size = 20``.

    Args:
        path: The file.
        known: Name of the parameter behind each flag.
        lists: Flags that may be given again.

    Returns:
        Values by parameter name, as texts to be read like those of the command line.

    Raises:
        NasError: If the file cannot be read, is not TOML, or has an unknown key or a value that
            no flag takes (exit code 2).
    """
    where = f"--config: {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise usage_error(f"{where}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise usage_error(f"{where}: is not TOML: {error}") from error
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            raise usage_error(f"{where}: {unknown(key, known)}")
        if key == SET:
            values[known[key]] = _settings(value, where)
        elif isinstance(value, bool):
            values[known[key]] = value
        elif isinstance(value, str | int | float):
            values[known[key]] = str(value) if key not in lists else [str(value)]
        elif key in lists and isinstance(value, list) and all(isinstance(v, str) for v in value):
            values[known[key]] = value
        else:
            raise usage_error(f"{where}: {key} must be a text, number or truth value")
    return values


def _settings(parts: Any, where: str) -> list[str]:
    """The table of options as ``part.option=value`` texts."""
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise usage_error(f"{where}: {SET} must be a table of parts with options")
    return [
        f"{part}.{option}={json.dumps(value, default=str)}"
        for part, options in parts.items()
        for option, value in options.items()
    ]
