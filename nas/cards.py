"""What a run exports, with the lines of its model card."""

from collections.abc import Mapping
from typing import Any

from nas import comparison as comparisons
from nas.comparison import Comparison, times_read
from nas.export import Preprocessing, Winner
from nas.finalists import Finalist
from nas.preparation import Prepared
from nas.readings import FINAL_TRAINING, FULL, Reading
from nas.record import Record
from nas.result import Recipe, Reference, TestFigures, Trained
from search_spaces import architecture as architecture_format


def searched_winner(
    best: Finalist,
    trained: Trained,
    test: TestFigures,
    *,
    prepared: Prepared,
    record: Record,
    comparison: Comparison | None,
) -> Winner:
    """A finalist as it is exported.

    Args:
        best: The finalist.
        trained: The same, with its weights.
        test: What the test images say of it.
        prepared: Of the run.
        record: Of the run.
        comparison: With a published network; None if there was none.
    """
    plan, run, metric = prepared.plan, prepared.run, best.metric
    guide = plan.objective.metric
    full = trained.recipe.get("estimator") == FULL
    own = record.readings[best.trial.ordinal, 0].weights is not None
    judged = metric if own else f"{metric} as the estimator {run.estimator} has it"
    guided = judged if guide == metric else f"{guide} of the estimator {run.estimator}"
    scores = ", ".join(f"{score:.4g}" for score in best.scores)
    mean = f"{best.mean:.4g}, mean of {len(best.scores)} fresh seeds ({scores})"
    trial = best.trial
    searched = f"{trial.metrics[guide]:.4g} in trial {trial.ordinal} of {plan.budget}"
    weights = "the better of the trainings on fresh seeds" if own else "a training of their own"
    if full:
        weights = "the final training"
    elif trained.recipe.get("folds", 1) != 1:
        weights += ", the first fold's"
    final_line, reading = {}, record.readings.get((trial.ordinal, FINAL_TRAINING))
    if reading is not None:
        verdict = _verdict(reading, metric, full=full)
        final_line[f"Validation {metric} of the final training"] = verdict
    front = {}
    times = times_read(len(record.test_reads), compared=comparison is not None)
    if plan.beside:
        times = "read once for each member of the front"
        names = ", ".join(one.metric for one in plan.objectives)
        front["Objectives"] = f"{names}; no other finalist is as good in all of them"
    share = f"fidelity {1 if full else trial.fidelity:g}"
    return _winner(
        trained,
        test,
        prepared,
        {
            **_of_test(test, metric, times),
            f"Validation {judged}": mean,
            f"Search {guided}": f"{searched}, seed {run.seed}",
            **final_line,
            "Weights": f"from {weights}: {_steps(trained.recipe)}; {share}",
            **front,
            **_compared(comparison),
        },
    )


def reference_winner(reference: Reference, *, prepared: Prepared, record: Record) -> Winner:
    """A published network as it is exported.

    Args:
        reference: It.
        prepared: Of the run.
        record: Of the run.
    """
    trained, comparison = reference.trained, reference.comparison
    metric = comparison.metric
    return _winner(
        trained,
        reference.test,
        prepared,
        {
            "Network": f"{trained.name} as published, for these images and classes; better than "
            "what the search found",
            **_of_test(reference.test, metric, times_read(len(record.test_reads), compared=True)),
            f"Validation {metric} of the final training": f"{trained.score:.4g} after "
            f"{trained.recipe['epochs']} epochs",
            "Weights": f"from the final training: {_steps(trained.recipe)}; fidelity 1",
            **_compared(comparison),
        },
    )


def _winner(
    trained: Trained, test: TestFigures, prepared: Prepared, figures: Mapping[str, str]
) -> Winner:
    """What is exported of a network; its weights are read where it is written."""
    images = prepared.images
    sizes = (len(images.train), len(images.validation), len(images.test))
    counts = "{:,} training, {:,} validation, {:,} test images".format(*sizes)
    document: Mapping[str, Any] = architecture_format.to_document(trained.architecture)
    return Winner(
        graph=trained.graph,
        architecture=document,
        preprocessing=Preprocessing(
            images.classes, images.mean, images.std, images.input_shape[1:]
        ),
        figures={"Data": f"{images.name}: {counts}", **figures},
        by_class=tuple(test.by_class.values()),
    )


def _of_test(test: TestFigures, metric: str, times: str) -> dict[str, str]:
    """What the test images say."""
    further = [f"{name} {value:.4g}" for name, value in test.metrics.items() if name != metric]
    return {
        f"Test {metric}": f"{test.metrics[metric]:.4g}, {times}",
        "Test, further": ", ".join(further),
    }


def _compared(comparison: Comparison | None) -> dict[str, str]:
    """What came of the comparison with a published network."""
    if comparison is None:
        return {}
    names = ("Compared", "Compared with", "Difference")
    return dict(zip(names, comparisons.text(comparison.document()), strict=False))


def _steps(recipe: Recipe) -> str:
    """How weights were trained."""
    return ", ".join(
        f"{name} {value}"
        for name, value in recipe.items()
        if name != "data" and value not in (0, "none")
    )


def _verdict(reading: Reading, metric: str, *, full: bool) -> str:
    """What became of the final training."""
    if reading.failed:
        return f"none, it failed: {reading.failed}"
    worse = "" if full else "; not used, as the weights it was to replace have more"
    return f"{reading.metrics[metric]:.4g} after {reading.recipe['epochs']} epochs{worse}"
