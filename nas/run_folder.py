"""The folder of a run: its names, and files that are whole or absent."""

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nas.errors import NasError, usage_error
from search_spaces.strict_json import JsonError, dumps, loads

SCHEMA_VERSION = 1
RUN, EVENTS, SUMMARY, BEST = "run.json", "events.jsonl", "summary.json", "best"

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RunRecord(BaseModel):
    """``run.json``: the resolved configuration and everything derived from it, written once."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: int = SCHEMA_VERSION
    space: str
    strategy: str
    estimator: str
    data: str
    data_fingerprint: str
    input_shape: tuple[int, int, int]
    num_classes: int
    budget: int
    seed: int
    device: str
    objective: str
    fidelity: float
    max_params: int | None
    max_macs: int | None
    max_latency_ms: float | None
    settings: dict[str, dict[str, Any]]
    derived: dict[str, dict[str, Any]]
    genotypes: str
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """Versions that scores may depend on."""
    packages = ("nas-engine", "torch", "torchvision", "numpy", "scikit-learn")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            found[package] = "not installed"
    return found


def create(out: Path | None, space: str) -> Path:
    """A new, empty run folder.

    Args:
        out: Where; must not exist yet, or be empty. None: the first free ``runs/<space>-<n>``.
        space: Name of the space, for the default.

    Raises:
        NasError: If the folder holds something (exit code 4) or cannot be made (5).
    """
    if out is None:
        stem = re.sub(r"[^a-z0-9]+", "-", space.lower()).strip("-")[:40] or "run"
        places = (Path("runs") / f"{stem}-{number}" for number in count(1))
        out = next(place for place in places if not place.exists())
    if not _RUN_NAME.fullmatch(out.name):
        raise usage_error(
            f"--out: the last part must be 1 to 64 letters, digits, '.', '_' or '-', "
            f"got {out.name[:80]!r}"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise NasError(f"--out: {out} is not empty; choose another folder", exit_code=4)
    except OSError as error:
        raise NasError(f"--out: cannot make {out}: {error.strerror}", exit_code=5) from error
    return out


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    Raises:
        NasError: If it cannot be written (exit code 5).
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise NasError(f"cannot write {path}: {error.strerror}", exit_code=5) from error


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document as ``write_text`` does."""
    write_text(path, dumps(document, indent=2) + "\n")


def read_json(path: Path, *, what: str) -> Any:
    """A JSON document from a file a user names.

    Args:
        path: The file.
        what: What it should be, for messages.

    Raises:
        NasError: If it cannot be read or is damaged (exit code 2).
    """
    try:
        if path.stat().st_size > 8 * 2**20:
            raise usage_error(f"{what}: {path} is larger than 8 MiB")
        return loads(path.read_bytes())
    except OSError as error:
        raise usage_error(f"{what}: cannot read {path}: {error.strerror}") from error
    except JsonError as error:
        raise usage_error(f"{what}: {path}: {error}") from error
