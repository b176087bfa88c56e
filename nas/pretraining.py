"""The training of an estimator that trains once for all children of a run."""

from collections.abc import Callable
from pathlib import Path

from estimators.estimator import EvaluationError, Population, Pretrained, Pretraining
from nas.device import device_here
from nas.errors import NasError
from nas.interrupts import Interrupted, Interrupts
from nas.plan import PRETRAINING, rng_of, training_seed
from nas.preparation import Prepared


def pretrain(
    estimator: Pretrained,
    prepared: Prepared,
    folder: Path,
    *,
    interrupts: Interrupts,
    until: Callable[[], str],
    tell: Callable[[str], None],
) -> float | None:
    """Let an estimator train, or go on, or read what it has finished.

    Args:
        estimator: Prepared with the run's data.
        prepared: The run.
        folder: Of the estimator's own; may not exist yet.
        interrupts: Entered.
        until: Why to train no further, or nothing; asked before each step.
        tell: Is told how far it is.

    Returns:
        Seconds of training, over all sessions; None if ``until`` said so before its end, and what
        was trained is kept.

    Raises:
        NasError: If that diverges (exit code 3), what is in its folder is of another run or
            damaged (4), or the folder cannot be written (5).
        Interrupted: If a signal came; what was trained is kept.
    """
    seed, children = prepared.plan.seed, prepared.children
    rng = rng_of(seed, PRETRAINING)
    given = Pretraining(
        Population(children.draw, lambda: children.extremes(rng)),
        folder,
        seed=training_seed(seed, PRETRAINING),
        device=device_here(prepared.plan.device),
        tell=tell,
        stop=lambda: interrupts.requested is not None or bool(until()),
    )
    try:
        with interrupts.orderly():
            seconds = estimator.pretrain(given)
    except EvaluationError as error:
        raise NasError(f"estimator: {error}", exit_code=3) from error
    except ValueError as error:
        raise NasError(f"estimator: {error}", exit_code=4) from error
    except OSError as error:
        raise NasError(f"estimator: {error}", exit_code=5) from error
    if interrupts.requested is not None:
        raise Interrupted(interrupts.requested)
    return seconds
