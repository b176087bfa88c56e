"""Asynchronous successive halving: its rungs, which paused child is trained on, and how far.

Every child is trained to the lowest rung. The best 1 / ``factor`` of those that have reached a rung
go on to the next one, from where they stand, as soon as a worker is free; the others stay paused.

Source: Li et al., A System for Massively Parallel Hyperparameter Tuning (arXiv:1810.05934),
Algorithm 2, with minimum early-stopping rate 0. Deviations: children come from a strategy and not
at random; one that fails leaves its rungs; and where nothing new will come, the best of each rung
goes on even if it has fewer than ``factor`` members, so that somebody is trained in full.
"""

from collections.abc import Mapping

from estimators.estimator import Estimator
from nas.configuration import Configuration, whole_number
from nas.errors import usage_error
from nas.plan import FINALISTS, Plan
from nas.record import Record
from nas.trial import Trial


def rungs_of(
    factor: int, *, budget: int, fidelity: float, recipe: Mapping[str, float | int | str]
) -> tuple[float, ...]:
    """The fidelities of all rungs, lowest first: each is ``factor`` times the one before.

    There are as many as leave ``FINALISTS`` children of the budget at the top, and the lowest is
    no less than one epoch, where the estimator's recipe has ``epochs``.

    Args:
        factor: Of what reaches a rung, one in so many goes on; at least 2.
        budget: Children that reach the lowest rung.
        fidelity: Of the highest rung.
        recipe: Of the estimator.

    Raises:
        ValueError: If there is no room for two rungs; says what is missing.
    """
    epochs = recipe.get("epochs")
    longest = epochs * fidelity if isinstance(epochs, int) else None
    steps = 0
    while FINALISTS * factor ** (steps + 1) <= budget and (
        longest is None or longest + 1e-9 >= factor ** (steps + 1)
    ):
        steps += 1
    if not steps and FINALISTS * factor > budget:
        raise ValueError(f"a budget of at least {FINALISTS * factor}, got {budget}")
    if not steps:
        raise ValueError(f"at least {factor} epochs for each child, got {longest:g}")
    return tuple(fidelity / factor ** (steps - rung) for rung in range(steps + 1))


def cost_share(plan: Plan) -> float:
    """Training that a child takes on average, in units of the whole of it.

    Some more of it, as those that went on early count beside the best of the end; some less, as
    they go on from where they stood.
    """
    if not plan.rungs:
        return 1.0
    whole = plan.rungs[-1]
    shares = (rung / whole / plan.halving**place for place, rung in enumerate(plan.rungs))
    return float(sum(shares))


def climber(record: Record, plan: Plan, *, least: int) -> tuple[int, float] | None:
    """The paused trial that goes on now, and to which fidelity; None if there is none.

    Args:
        record: Of the run.
        plan: Its rungs.
        least: How many go on from a rung at least.
    """
    for low, high in reversed([*zip(plan.rungs, plan.rungs[1:], strict=False)]):
        order = ranked(record, low)
        for ordinal in order[: max(least, len(order) // plan.halving)]:
            trial = record.trials[ordinal]
            if trial.state == "paused" and trial.fidelity == low:
                return ordinal, high
    return None


def ranked(record: Record, fidelity: float) -> list[int]:
    """Trials that have reached a rung, best first; the earlier one of equals."""
    scores = record.rungs.get(fidelity, {})
    return sorted(scores, key=lambda ordinal: (-scores[ordinal], ordinal))


def beyond(record: Record, plan: Plan, trial: Trial) -> list[int]:
    """Trials that will hardly go on, now that this one has reached its rung: two at most.

    They are paused there, and worse than as many as would go on if the whole budget had been
    spent. Ranks get worse only, up to failures and to what went on early. So their checkpoints need
    not be kept; of others there are at most the budget over ``factor`` - 1, and one a rung.
    """
    order = ranked(record, trial.fidelity)
    most = max(1, plan.budget // plan.halving ** (plan.rungs.index(trial.fidelity) + 1))
    fallen = {*order[most : most + 1], *({trial.ordinal} & {*order[most:]})}
    return [
        ordinal
        for ordinal in sorted(fallen)
        if record.trials[ordinal].state == "paused"
        and record.trials[ordinal].fidelity == trial.fidelity
    ]


def chosen_rungs(
    configuration: Configuration, estimator: Estimator, *, objectives: int
) -> tuple[float, ...]:
    """The rungs of a run, as an earlier session derived them or for the first time.

    Args:
        configuration: What the user asks for.
        estimator: Of the run.
        objectives: How many there are.

    Raises:
        NasError: If halving cannot be (exit code 2).
    """
    if configuration.halving is None:
        return ()
    factor = whole_number("--halving", configuration.halving, least=2)
    if estimator.stand_in is not None:
        raise usage_error(
            f"--halving needs an estimator that trains, got {configuration.estimator}; leave it out"
        )
    if objectives > 1:
        raise usage_error(f"--halving ranks by one --objective, got {objectives}; leave one out")
    if configuration.rungs:
        return configuration.rungs
    if estimator.recipe.get("folds", 1) != 1:
        raise usage_error(
            "--halving continues trainings, and those of --set estimator.folds cannot be; leave "
            "one out"
        )
    try:
        return rungs_of(
            factor,
            budget=configuration.budget,
            fidelity=configuration.fidelity,
            recipe=estimator.recipe,
        )
    except ValueError as error:
        raise usage_error(f"--halving {factor} needs {error}") from error
