"""The Python interface: ``nas.search`` and ``nas.load``."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from estimators.estimator import Estimator, EvaluationError
from estimators.training import Training, measure
from nas.configuration import Arrays, Configuration, Prepared, prepare
from nas.engine import BUDGET_SPENT, Search, SearchFailed
from nas.errors import NasError
from nas.export import Preprocessing, Winner, export
from nas.finalists import Finalist, rescore
from nas.journal import Journal
from nas.loading import find, load
from nas.plan import FINAL, training_seed
from nas.progress import Progress, Silent
from nas.run_folder import BEST, EVENTS, RUN, SUMMARY, create, write_json
from nas.trial import Trial
from nas.workers import InProcessWorkers, Workers
from search_spaces import architecture as architecture_format
from search_spaces.modules import build
from search_spaces.space import SearchSpace
from strategies.strategy import Strategy

__all__ = ["Result", "load", "search"]


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

    def export(self, folder: str | Path) -> None:
        """Write the winner into another folder, checked as ``nas export`` checks it.

        Raises:
            NasError: If the folder holds something or cannot be written.
        """
        export(find(self.folder).winner, Path(folder))

    @property
    def model(self) -> nn.Module:
        """The winner with its weights, in eval mode."""
        return load(self.folder)


def search(  # noqa: PLR0913 - the options of the command line, by name
    *,
    space: str | type[SearchSpace] = "mbconv",
    budget: int = 100,
    data: str | Arrays = "digits",
    strategy: str | type[Strategy] = "evolution",
    estimator: str | type[Estimator] = "training",
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    objective: str = "accuracy",
    fidelity: float = 1.0,
    max_params: int | None = None,
    max_macs: int | None = None,
    max_latency_ms: float | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Search for the best network within limits, and export it.

    Args:
        space: Name of a search space, or a class of your own.
        budget: Children to train, at least 1.
        data: Name of a data set, or ``(images, labels)`` as in ``estimators.data.from_arrays``.
        strategy: Name of a search strategy, or a class of your own.
        estimator: Name of an estimator, or a class of your own.
        out: Folder of the run, new or empty; by default ``runs/<space>-<n>``.
        seed: Decides every random choice of the run, at least 0. On a CPU the same seed gives
            the same run, unless latency is limited, which is measured.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        objective: A metric of the task: ``accuracy`` or ``log_loss``.
        fidelity: Share of full training for each child, in (0, 1].
        max_params: Most parameters, or None.
        max_macs: Most multiply-accumulates for one image, or None.
        max_latency_ms: Highest median latency for one image on ``device``, or None; measured.
        settings: Options of ``space``, ``strategy`` and ``estimator``, by name.
        progress: Is told of every trial; None for silence.

    Returns:
        The winner and all that led to it; the run folder holds the same on disk.

    Raises:
        NasError: If a value cannot be used, no network is within the limits, the folder is taken
            or the disk full, or too many children fail.
    """
    begin = time.monotonic()
    configuration = Configuration(
        space=space,
        budget=budget,
        data=data,
        strategy=strategy,
        estimator=estimator,
        seed=seed,
        device=device,
        objective=objective,
        fidelity=fidelity,
        max_params=max_params,
        max_macs=max_macs,
        max_latency_ms=max_latency_ms,
        settings={} if settings is None else settings,
    )
    prepared = prepare(configuration)
    folder = create(None if out is None else Path(out), prepared.record.space)
    write_json(folder / RUN, prepared.record.model_dump(mode="json"))
    progress = Silent() if progress is None else progress
    workers = InProcessWorkers(
        prepared.estimator, prepared.plan.device, metrics=prepared.task.metrics
    )
    with closing(workers), Journal(folder / EVENTS) as journal:
        run = Search(
            prepared.plan,
            prepared.strategy,
            children=prepared.children,
            workers=workers,
            journal=journal,
            observer=progress,
        )
        finalists = _finalists(run, prepared, workers, journal, progress)
        if not finalists:
            counts: Counter[str] = Counter(trial.state for trial in run.trials)
            outline = _outline(counts, run.ended, time.monotonic() - begin)
            write_json(folder / SUMMARY, {**outline, "objective": objective})
            raise NasError(f"no architecture found: {_why(run)}; see {folder}", exit_code=3)
        best, recipe = _with_weights(finalists[0], prepared, journal)
        journal.append("test_read", ordinal=best.trial.ordinal)
        test = _test(best, prepared)
    check = export(_winner(best, prepared, test, recipe), folder / BEST)
    assert check is not None  # noqa: S101 - finalists have weights
    result = Result(
        folder=folder,
        best=best,
        finalists=tuple(finalists),
        trials=tuple(run.trials),
        test=test,
        ended=run.ended,
        seconds=time.monotonic() - begin,
        weights_check=check,
    )
    write_json(folder / SUMMARY, summary(result, objective))
    return result


def _finalists(
    run: Search,
    prepared: Prepared,
    workers: Workers,
    journal: Journal,
    progress: Progress,
) -> list[Finalist]:
    """Spend the budget, then score the best few again; none if too many children failed."""
    try:
        run.run()
    except SearchFailed:
        return []
    return rescore(
        run.ranking(),
        prepared.plan,
        children=prepared.children,
        workers=workers,
        journal=journal,
        audience=progress,
    )


def _why(run: Search) -> str:
    """Why nothing was found, with the nearest value of a limit that only measuring can tell."""
    latencies = [trial.latency_ms for trial in run.trials if trial.latency_ms is not None]
    if latencies and not run.best:
        return f"{run.ended}; the lowest latency measured is {min(latencies):.3g} ms"
    if run.best and run.ended == BUDGET_SPENT:
        return "the best children failed when they were scored again"
    complete = len(run.ranking())
    return f"{run.ended}; {complete} have scores" if complete else run.ended


def summary(result: Result, objective: str) -> dict[str, Any]:
    """``summary.json``: what scripts read."""
    best = result.best
    document = {
        "trial": best.trial.ordinal,
        "score": best.mean,
        "scores": list(best.scores),
        "search_score": best.trial.metrics[objective],
        "params": best.trial.params,
        "macs": best.trial.macs,
        "latency_ms": best.trial.latency_ms,
        "fidelity": best.trial.fidelity,
        "genotype": best.trial.genotype.to_dict(),
        "test": dict(result.test),
    }
    finalists = [
        {"trial": one.trial.ordinal, "score": one.mean, "scores": list(one.scores)}
        for one in result.finalists
    ]
    return {
        **_outline(Counter(trial.state for trial in result.trials), result.ended, result.seconds),
        "objective": objective,
        "best": document,
        "finalists": finalists,
    }


def _outline(counts: Mapping[str, int], ended: str, seconds: float) -> dict[str, Any]:
    """The part of ``summary.json`` that a search without a winner has, too."""
    return {
        "schema_version": 1,
        "best": None,
        "front": None,
        "finalists": [],
        "states": dict(counts),
        "ended": ended,
        "seconds": round(seconds, 3),
    }


def _with_weights(
    best: Finalist, prepared: Prepared, journal: Journal
) -> tuple[Finalist, Mapping[str, float | int | str]]:
    """The winner, trained by ``Training`` if its own estimator trains nothing.

    Returns:
        The winner with weights, and the recipe they come from.

    Raises:
        NasError: If that training diverges (exit code 3).
    """
    if best.evaluation.weights is not None:
        return best, prepared.estimator.recipe
    training = Training()
    training.prepare(prepared.images, prepared.task)
    plan, ordinal = prepared.plan, best.trial.ordinal
    seed = training_seed(plan.seed, FINAL, ordinal)
    begin = time.monotonic()
    try:
        evaluation = training.evaluate(
            best.child.graph, fidelity=plan.fidelity, seed=seed, device=plan.device
        )
    except EvaluationError as error:
        raise NasError(f"final training of trial {ordinal} failed: {error}", exit_code=3) from error
    journal.append(
        "final_training",
        ordinal=ordinal,
        seed=seed,
        fidelity=plan.fidelity,
        recipe=dict(training.recipe),
        metrics=dict(evaluation.metrics),
        seconds=round(time.monotonic() - begin, 6),
    )
    return replace(best, evaluation=evaluation), training.recipe


def _test(best: Finalist, prepared: Prepared) -> dict[str, float]:
    """Metrics of the winner on the test split: the run's only reading of it."""
    model = build(best.child.graph)
    assert best.evaluation.weights is not None  # noqa: S101 - training returns weights
    model.load_state_dict(dict(best.evaluation.weights), strict=True)
    size = tuple(int(side) for side in best.child.graph.input_shape[1:])
    device = prepared.plan.device
    return measure(model.to(device), prepared.images.test, prepared.task, size=size, device=device)


def _winner(
    best: Finalist,
    prepared: Prepared,
    test: Mapping[str, float],
    recipe: Mapping[str, float | int | str],
) -> Winner:
    """What is exported, with the lines of its card."""
    images, record, metric = prepared.images, prepared.record, prepared.record.objective
    sizes = (len(images.train), len(images.validation), len(images.test))
    own = recipe == prepared.estimator.recipe
    scored = metric if own else f"{metric} as the estimator {record.estimator} has it"
    scores = ", ".join(f"{score:.4g}" for score in best.scores)
    mean = f"{best.mean:.4g}, mean of {len(best.scores)} fresh seeds ({scores})"
    searched = f"{best.trial.metrics[metric]:.4g} in trial {best.trial.ordinal} of {record.budget}"
    weights = "the better of the trainings on fresh seeds" if own else "one training of their own"
    steps = ", ".join(f"{name} {value}" for name, value in recipe.items() if name != "data")
    return Winner(
        graph=best.child.graph,
        architecture=architecture_format.to_document(best.child.architecture),
        weights=best.evaluation.weights,
        preprocessing=Preprocessing(images.classes, images.mean, images.std),
        figures={
            "Data": "{}: {:,} training, {:,} validation, {:,} test images".format(
                images.name, *sizes
            ),
            f"Test {metric}": f"{test[metric]:.4g}, read once",
            f"Validation {scored}": mean,
            f"Search {scored}": f"{searched}, seed {record.seed}",
            "Weights": f"from {weights}: {steps}; fidelity {best.trial.fidelity:g}",
        },
    )
