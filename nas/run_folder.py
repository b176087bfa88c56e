"""The folder of a run: its names, and files that are whole or absent."""

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas.errors import NasError, usage_error
from nas.limits import Objective
from nas.lock import HOLDER, LOCK
from nas.plan import OFF, References
from search_spaces.strict_json import JsonError, dumps, loads

SCHEMA_VERSION = 1
RUN, EVENTS, SUMMARY, BEST = "run.json", "events.jsonl", "summary.json", "best"
FRONT, FRONT_CHART = "front", "front.svg"
SEARCHED = "searched"  # the winner of the search, where a published network is better
STUDY, TRIALS = "study.db", "trials"
ESTIMATOR = "estimator"  # what it keeps of a training before the search
AUDIT, AUDIT_DOCUMENT = "audit", "audit.json"
# From one session of a run to the next; the fingerprint says whether the data are the same.
MAY_CHANGE = frozenset({"budget", "versions", "data", "data_options.data_dir"})

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Settings(_Strict):
    """Options that the user set, by name."""

    space: dict[str, Any]
    strategy: dict[str, Any]
    estimator: dict[str, Any]
    train: dict[str, Any] = {}


class Derived(_Strict):
    """What a run derived from its configuration, to be kept when it goes on.

    Attributes:
        strategy: Options of the strategy.
        estimator: The recipe.
        run: Trainings after the search.
        scales: With several objectives, the worst and the ideal value of each; the worst ones are
            the reference point of the hypervolume.
        train: The recipe of the final training; empty where there is none.
        rungs: With halving, the fidelities at which children are compared.
        ways: In what precision and layout each family of blocks is trained, where that was timed.
        screen: The recipe of the score that proposals are screened by; empty where they are not.
        features: The recipes of scores that the strategy has among its features, by name.
    """

    strategy: dict[str, Any]
    estimator: dict[str, Any]
    run: dict[str, int]
    scales: dict[str, tuple[float, float]] = {}
    train: dict[str, Any] = {}
    rungs: tuple[float, ...] = ()
    ways: dict[str, str] = {}
    screen: dict[str, Any] = {}
    features: dict[str, dict[str, Any]] = {}


class Beside(_Strict):
    """An objective beside the first one."""

    metric: str
    direction: Literal["maximize", "minimize"]


class AuditSize(_Strict):
    """How large an audit at the end of a search is to be.

    Attributes:
        children: How many are trained in full.
        seeds: On how many seeds each.
    """

    children: int = 24
    seeds: int = 2


class DataOptions(_Strict):
    """How data of the user's own are read, and where published ones are.

    Attributes:
        image_size: Height and width to resize to; None for what the data say.
        group: Column of a CSV file with what stays together in one split.
        data_dir: Absolute path of the folder with the published files; None for the places where
            they are looked for.
        download: Whether to fetch published files that are not there; not written down.
    """

    image_size: tuple[int, int] | None = None
    group: str | None = None
    data_dir: str | None = None
    download: bool = Field(default=False, exclude=True)


class RunRecord(_Strict):
    """``run.json``: the resolved configuration and everything derived from it, written once."""

    schema_version: int = SCHEMA_VERSION
    space: str
    strategy: str
    estimator: str
    data: str
    data_options: DataOptions = DataOptions()
    data_fingerprint: str
    input_shape: tuple[int, int, int]
    num_classes: int
    budget: int
    seed: int
    device: str
    objective: str
    direction: Literal["maximize", "minimize"]
    verdict: str | None = None
    beside: tuple[Beside, ...] = ()
    fidelity: float
    final_training: Literal["auto", "off"] = "off"
    references: References = OFF
    audit: AuditSize | None = None
    halving: int | None = None
    screen: str | None = None
    screen_of: int | None = None
    features: tuple[str, ...] = ()
    max_params: int | None
    max_macs: int | None
    max_latency_ms: float | None
    settings: Settings
    derived: Derived
    genotypes: str
    versions: dict[str, str]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All that is searched for, the first one first."""
        scales = self.derived.scales
        named = ((self.objective, self.direction), *((o.metric, o.direction) for o in self.beside))
        return tuple(
            Objective(metric, direction, *([scales[metric]] if metric in scales else []))
            for metric, direction in named
        )


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


def create(out: Path | None, run: RunRecord) -> Path:
    """A run folder to begin in.

    Args:
        out: Where; must not exist yet, or hold nothing. None: the first free ``runs/<space>-<n>``.
        run: What is to be begun.

    Raises:
        NasError: If the name cannot be used (exit code 2), the folder holds something (4), or it
            cannot be made (5).
    """
    try:
        if out is None:
            return _next_free(run.space)
        check_free(out, run)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(f"--out: cannot make {out}: {error.strerror}", exit_code=5) from error
    return out


def check_free(out: Path, run: RunRecord) -> None:
    """Check that a run can begin in a folder, which need not exist.

    Raises:
        NasError: If the name cannot be used (exit code 2), the folder holds something (4), or it
            cannot be read (5).
    """
    if not _RUN_NAME.fullmatch(out.name):
        raise usage_error(
            f"--out: the last part must be 1 to 64 letters, digits, '.', '_' or '-', "
            f"got {out.name[:80]!r}"
        )
    try:
        there = (out / RUN).exists()
        foreign = any(_is_foreign(path) for path in out.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise NasError(f"--out: cannot make {out}: {error.strerror}", exit_code=5) from error
    if there:
        raise _taken(out, run)
    if foreign:
        raise NasError(f"--out: {out} is not empty; choose another folder", exit_code=4)


def _is_foreign(path: Path) -> bool:
    """Whether a file is more than what a process leaves that is killed before it has begun."""
    return path.name not in {LOCK, HOLDER} and not path.name.startswith(f"{RUN}.tmp-")


def _taken(out: Path, run: RunRecord) -> NasError:
    """What to say of a folder that holds a run, by how that differs from the one to be begun."""
    there = read_record(out)
    unequal = differences(there, run)
    if there.budget != run.budget:
        unequal.append(f"budget is {there.budget} in the run, {run.budget} here")
    says = f"another one ({'; '.join(unequal)})" if unequal else "the same"
    return NasError(
        f"--out: {out} holds a run already, {says}; go on with it by `nas resume {out}`, or choose "
        "another folder",
        exit_code=4,
    )


def _next_free(space: str) -> Path:
    """A new ``runs/<space>-<n>``, made for this process alone."""
    last = re.split(r"[.:]", space.lower())[-1]  # of a class without a name
    stem = re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:40] or "run"
    Path("runs").mkdir(exist_ok=True)
    for number in count(1):
        place = Path("runs") / f"{stem}-{number}"
        try:
            place.mkdir()
        except FileExistsError:
            continue
        return place
    raise AssertionError  # count never ends


def read_record(folder: Path) -> RunRecord:
    """``run.json`` of a run folder.

    Raises:
        NasError: If there is none (exit code 2), or it is damaged or of another version (4).
    """
    path = folder / RUN
    if not os.path.isfile(path):  # noqa: PTH113 - False for any odd name
        raise usage_error(f"run: {str(folder)[:200]} holds no {RUN}; name the folder of a search")
    try:
        document = read_json(path, what="run")
        version_found = document.get("schema_version") if isinstance(document, dict) else None
        if version_found != SCHEMA_VERSION:
            raise NasError(
                f"run: {path} must have schema version {SCHEMA_VERSION}, got {version_found!r}",
                exit_code=4,
            )
        return RunRecord.model_validate_json(dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NasError(f"run: {path}: {place}: {first['msg']}", exit_code=4) from error


def check_plain(folder: Path) -> None:
    """Refuse a run folder that leads elsewhere: whoever made it may be a stranger.

    Raises:
        NasError: If something that a run writes is a link (exit code 4).
    """
    files = (RUN, EVENTS, SUMMARY, FRONT_CHART, STUDY, LOCK, HOLDER)
    for name in (*files, BEST, SEARCHED, FRONT, TRIALS, ESTIMATOR, AUDIT):
        if (folder / name).is_symlink():
            raise NasError(
                f"run: {folder / name} is a link; copy the folder with what it links to",
                exit_code=4,
            )


def differences(there: RunRecord, here: RunRecord) -> list[str]:
    """Fields in which a run and a configuration differ, beyond those that may, in words."""
    one, other = there.model_dump(mode="json"), here.model_dump(mode="json")
    return [
        f"{place} is {mine} in the run, {theirs} here"
        for name in one
        if name not in MAY_CHANGE
        for place, mine, theirs in _unequal(name, one[name], other[name])
        if place not in MAY_CHANGE
    ]


def _unequal(place: str, mine: Any, theirs: Any) -> Iterator[tuple[str, str, str]]:
    """Where two JSON values differ, with what is there."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted({*mine, *theirs}):
            yield from _unequal(f"{place}.{key}", mine.get(key), theirs.get(key))
    elif mine != theirs:
        yield place, f"{json.dumps(mine):.80}", f"{json.dumps(theirs):.80}"


def tidy(folder: Path) -> None:
    """Remove what a killed process left half written; only under the lock."""
    for path in (*folder.glob("*.tmp-*"), *(folder / TRIALS).glob("*.tmp-*")):
        if path.is_file():
            path.unlink(missing_ok=True)
    halves = (folder.glob(f".{name}.*-*") for name in (BEST, SEARCHED))
    for path in (*chain.from_iterable(halves), *(folder / FRONT).glob(".*-*")):
        shutil.rmtree(path, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens.

    Raises:
        NasError: If it cannot be written (exit code 5).
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise NasError(f"cannot write {path}: {error.strerror}", exit_code=5) from error


def sync_folder(folder: Path) -> None:
    """Make names in a folder last, where the system can."""
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write text as ``write_bytes`` does."""
    write_bytes(path, text.encode())


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
