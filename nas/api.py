"""The Python interface: ``nas.search`` and ``nas.load``."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from estimators.data import ImageData, from_arrays
from estimators.estimator import Estimator
from estimators.task import Classification, Task
from estimators.training import measure
from nas import plugins
from nas.children import Child, Children
from nas.engine import Finalist, Observer, Plan, Search, SearchFailed, rng_of
from nas.errors import NasError, usage_error
from nas.export import Preprocessing, Winner, export
from nas.journal import Journal
from nas.limits import Limits, Objective
from nas.loading import load
from nas.run_folder import BEST, EVENTS, RUN, SUMMARY, RunRecord, create, versions, write_json
from nas.trial import Trial
from nas.workers import InProcessWorkers
from search_spaces.modules import build
from search_spaces.space import SearchSpace
from strategies.strategy import Strategy

__all__ = ["Result", "load", "search"]

Arrays = tuple[NDArray[np.generic], NDArray[np.generic]]

_PREFLIGHT = 3  # spawn key of the generator that looks for a feasible network


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found.

    Attributes:
        folder: The run folder.
        best: The finalist with the best mean score over fresh seeds.
        finalists: All of them, best first.
        trials: Every ask, in order.
        test: Every metric of ``best`` on the test split, read once.
        ended: Why the search ended.
        seconds: Wall time of the whole run.
        weights_check: Largest relative difference between the exported source and the network.
    """

    folder: Path
    best: Finalist
    finalists: tuple[Finalist, ...]
    trials: tuple[Trial, ...]
    test: Mapping[str, float]
    ended: str
    seconds: float
    weights_check: float

    @property
    def model(self) -> nn.Module:
        """The winner with its weights, in eval mode."""
        return load(self.folder)


@dataclass(frozen=True, slots=True)
class _Silent:
    """Shows nothing."""

    def finished(self, trial: Trial, best: Trial | None, started: int) -> None:
        """Do nothing."""

    def rescored(self, finalist: Finalist) -> None:
        """Do nothing."""


def search(  # noqa: PLR0913 - the options of the command line, by name
    *,
    space: str | type[SearchSpace] = "mbconv",
    budget: int = 100,
    data: str | Arrays = "digits",
    strategy: str = "evolution",
    estimator: str = "training",
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    objective: str = "accuracy",
    fidelity: float = 1.0,
    max_params: int | None = None,
    max_macs: int | None = None,
    max_latency_ms: float | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    observer: Observer | None = None,
) -> Result:
    """Search for the best network within limits, and export it.

    Args:
        space: Name of a search space, or a class of your own.
        budget: Children to train, at least 1.
        data: Name of a data set, or ``(images, labels)`` as in ``estimators.data.from_arrays``.
        strategy: Name of a search strategy.
        estimator: Name of an estimator.
        out: Folder of the run, new or empty; by default ``runs/<space>-<n>``.
        seed: Decides every random choice of the run, at least 0. On a CPU the same seed gives
            the same run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        objective: A metric of the task: ``accuracy`` or ``log_loss``.
        fidelity: Share of full training for each child, in (0, 1].
        max_params: Most parameters, or None.
        max_macs: Most multiply-accumulates for one image, or None.
        max_latency_ms: Highest median latency for one image on ``device``, or None; measured.
        settings: Options of ``space``, ``strategy`` and ``estimator``, by name.
        observer: Is told of every trial; None for silence.

    Returns:
        The winner and all that led to it; the run folder holds the same on disk.

    Raises:
        NasError: If a value cannot be used, no network is within the limits, the folder is taken
            or the disk full, or too many children fail.
    """
    begin = time.monotonic()
    device = resolve_device(device)
    images = _data(data)
    task = Classification(len(images.classes))
    plan_objective = _objective(task, objective)
    _check_numbers(budget, seed, fidelity)
    limits = _limits(max_params, max_macs, max_latency_ms)
    chosen = {part: dict((settings or {}).get(part, {})) for part in ("space", "strategy", "estimator")}
    for part in settings or {}:
        if part not in chosen:
            raise usage_error(f"settings: {plugins.unknown(part, chosen)}")
    made_space = make_space(space, images.input_shape, len(images.classes), chosen["space"])
    children = Children(made_space, limits)
    made_estimator = cast("Estimator", _make("estimators", estimator, (), chosen["estimator"]))
    made_estimator.prepare(images, task)
    made_strategy = cast(
        "Strategy",
        _make(
            "strategies",
            strategy,
            (made_space.genome, budget, (plan_objective.direction,), children),
            chosen["strategy"],
        ),
    )
    _check_feasible(children, limits, seed)
    plan = Plan(
        budget=budget,
        seed=seed,
        objective=plan_objective,
        limits=limits,
        recipe=made_estimator.recipe,
        device=device,
        fidelity=fidelity,
    )
    space_name = space if isinstance(space, str) else space.__name__.lower()
    folder = create(None if out is None else Path(out), space_name)
    record = RunRecord(
        space=space_name,
        strategy=strategy,
        estimator=estimator,
        data=images.name,
        data_fingerprint=images.fingerprint,
        input_shape=images.input_shape,
        num_classes=len(images.classes),
        budget=budget,
        seed=seed,
        device=device,
        objective=objective,
        fidelity=fidelity,
        max_params=max_params,
        max_macs=max_macs,
        max_latency_ms=max_latency_ms,
        settings=chosen,
        derived={
            "strategy": dict(made_strategy.derived()),
            "estimator": dict(made_estimator.recipe),
            "run": {"finalists": plan.finalists, "fresh_seeds": plan.fresh_seeds},
        },
        genotypes=str(made_space.genome.size),
        versions=versions(),
    )
    write_json(folder / RUN, record.model_dump(mode="json"))
    workers = InProcessWorkers(made_estimator, device)
    with Journal(folder / EVENTS) as journal:
        run = Search(
            plan,
            made_strategy,
            children=children,
            workers=workers,
            journal=journal,
            observer=_Silent() if observer is None else observer,
        )
        try:
            run.run()
        except SearchFailed as error:
            raise NasError(f"{error}; see {folder / EVENTS}", exit_code=3) from error
        finalists = run.finalists()
        if not finalists:
            reason = run.ended if run.ended != "budget spent" else "no child has a score"
            raise NasError(f"no feasible architecture: {reason}; see {folder}", exit_code=3)
        journal.append("test_read", ordinal=finalists[0].trial.ordinal)
        test = _test(finalists[0], images, task, device)
    check = export(_winner(finalists[0], images, test, record), folder / BEST)
    assert check is not None  # noqa: S101 - finalists have weights
    result = Result(
        folder=folder,
        best=finalists[0],
        finalists=tuple(finalists),
        trials=tuple(run.trials),
        test=test,
        ended=run.ended,
        seconds=time.monotonic() - begin,
        weights_check=check,
    )
    write_json(folder / SUMMARY, summary(result, objective))
    return result


def summary(result: Result, objective: str) -> dict[str, Any]:
    """``summary.json``: what scripts read."""
    best = result.best
    return {
        "schema_version": 1,
        "best": {
            "trial": best.trial.ordinal,
            "score": best.mean,
            "scores": list(best.scores),
            "search_score": best.trial.metrics[objective],
            "params": best.trial.params,
            "macs": best.trial.macs,
            "latency_ms": best.trial.latency_ms,
            "genotype": best.trial.genotype.to_dict(),
            "test": dict(result.test),
        },
        "finalists": [
            {"trial": one.trial.ordinal, "score": one.mean, "scores": list(one.scores)}
            for one in result.finalists
        ],
        "front": None,
        "objective": objective,
        "states": dict(Counter(trial.state for trial in result.trials)),
        "ended": result.ended,
        "seconds": round(result.seconds, 3),
    }


def resolve_device(device: str) -> str:
    """The torch device that ``auto``, ``cpu``, ``cuda`` or ``mps`` stands for.

    Raises:
        NasError: If the name is another (exit code 2) or there is no such device (5).
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if device not in available:
        raise usage_error(f"--device: {plugins.unknown(device, ['auto', *available])}")
    if not available[device]:
        have = ", ".join(name for name, there in available.items() if there)
        raise NasError(f"--device: {device} is not available here; have {have}", exit_code=5)
    return device


def make_space(
    space: str | type[SearchSpace],
    input_shape: tuple[int, int, int],
    num_classes: int,
    options: Mapping[str, Any],
) -> SearchSpace:
    """A search space by name or class.

    Raises:
        NasError: If the name or an option is unknown or out of range (exit code 2).
    """
    cls = plugins.load("search_spaces", space) if isinstance(space, str) else space
    made = _construct(cls, (input_shape, num_classes), options, "space")
    return cast("SearchSpace", made)


def _make(kind: str, name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    part = {"strategies": "strategy", "estimators": "estimator"}[kind]
    return _construct(plugins.load(kind, name), arguments, options, part)


def _construct(
    cls: Any, arguments: tuple[Any, ...], options: Mapping[str, Any], part: str
) -> Any:
    plugins.check_options(cls, options, part)
    try:
        return cls(*arguments, **options)
    except (ValueError, TypeError) as error:
        raise usage_error(f"{part}: {error}") from error


def _data(data: str | Arrays) -> ImageData:
    if isinstance(data, str):
        return cast("ImageData", plugins.load("datasets", data)())
    try:
        images, labels = data
        return from_arrays(images, labels)
    except (TypeError, ValueError) as error:
        raise usage_error(f"data: {error}") from error


def _objective(task: Task, metric: str) -> Objective:
    if metric not in task.metrics:
        raise usage_error(f"--objective: {plugins.unknown(metric, task.metrics)}")
    return Objective(metric, task.metrics[metric])


def _check_numbers(budget: int, seed: int, fidelity: float) -> None:
    if budget < 1:
        raise usage_error(f"--budget must be at least 1, got {budget}")
    if seed < 0:
        raise usage_error(f"--seed must be at least 0, got {seed}")
    if not 0 < fidelity <= 1:
        raise usage_error(f"--fidelity must be in (0, 1], got {fidelity}")


def _limits(params: int | None, macs: int | None, latency_ms: float | None) -> Limits:
    try:
        return Limits(params, macs, latency_ms)
    except ValueError as error:
        raise usage_error(f"limits: {error}") from error


def _check_feasible(children: Children, limits: Limits, seed: int) -> None:
    """Refuse limits that no network of the space keeps.

    Raises:
        NasError: With the nearest values that are feasible (exit code 3).
    """
    nearest: Child = children.nearest_feasible(rng_of(seed, _PREFLIGHT))
    if limits.excess(nearest.params, nearest.macs) > 1:
        raise NasError(
            "no network of this space is within the limits; the nearest has "
            f"{nearest.params:,} parameters and {nearest.macs:,} MACs: raise the limit above that",
            exit_code=3,
        )


def _test(best: Finalist, images: ImageData, task: Task, device: str) -> dict[str, float]:
    """Metrics of the winner on the test split: the run's only reading of it."""
    model = build(best.child.graph)
    assert best.evaluation.weights is not None  # noqa: S101 - training returns weights
    model.load_state_dict(dict(best.evaluation.weights), strict=True)
    size = tuple(int(side) for side in best.child.graph.input_shape[1:])
    return measure(model.to(device), images.test, task, size=size, device=device)


def _winner(
    best: Finalist, images: ImageData, test: Mapping[str, float], record: RunRecord
) -> Winner:
    scores = ", ".join(f"{score:.4f}" for score in best.scores)
    recipe = ", ".join(
        f"{name} {value}" for name, value in record.derived["estimator"].items() if name != "data"
    )
    metric = record.objective
    return Winner(
        graph=best.child.graph,
        architecture=best.child.architecture,
        weights=best.evaluation.weights,
        preprocessing=Preprocessing(images.classes, images.mean, images.std),
        figures={
            "Data": f"{images.name}: {len(images.train):,} training, {len(images.validation):,} "
            f"validation, {len(images.test):,} test images",
            f"Test {metric}": f"{test[metric]:.4f}, read once",
            f"Validation {metric}": f"{best.mean:.4f}, mean of {len(best.scores)} fresh seeds "
            f"({scores}); these weights are those of the best",
            f"Search {metric}": f"{best.trial.metrics[metric]:.4f} in trial {best.trial.ordinal} "
            f"of {record.budget}, seed {record.seed}",
            "Recipe": recipe,
        },
    )
