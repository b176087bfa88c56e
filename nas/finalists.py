"""The last word on the best few: scores on fresh seeds, which take the luck out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from estimators.estimator import Evaluation
from nas.children import Child, Children
from nas.journal import Journal
from nas.plan import RESCORING, Plan, training_seed
from nas.trial import Trial
from nas.workers import Failure, Job, Workers

FINALISTS = 3
FRESH_SEEDS = 2


@dataclass(frozen=True, slots=True)
class Finalist:
    """One of the best children, scored again on fresh seeds.

    Attributes:
        trial: The trial that found it.
        child: Its network.
        scores: The objective's metric on each fresh seed.
        evaluation: The evaluation with the best of them.
    """

    trial: Trial
    child: Child
    scores: tuple[float, ...]
    evaluation: Evaluation

    @property
    def mean(self) -> float:
        """Mean over the fresh seeds: the figure by which ``best`` is chosen."""
        return sum(self.scores) / len(self.scores)


class Audience(Protocol):
    """Is told of each finalist, to show it."""

    def rescored(self, finalist: Finalist) -> None:
        """A finalist has all its fresh scores."""
        ...


def rescore(
    ranking: Sequence[Trial],
    plan: Plan,
    *,
    children: Children,
    workers: Workers,
    journal: Journal,
    audience: Audience,
) -> list[Finalist]:
    """Score the best ``FINALISTS`` of ``ranking`` on ``FRESH_SEEDS`` fresh seeds each.

    A score that was picked as the best of many is too good on average; fresh ones are not.

    Args:
        ranking: Complete trials of one fidelity, best first.
        plan: The plan of the search.
        children: Makes the networks.
        workers: Scores them, with nothing else in hand.
        journal: Receives every score.
        audience: Is shown every finalist.

    Returns:
        Finalists, best mean first, the cheaper one of equals. For a child that now fails the
        next one of the ranking is scored, down to the first ``2 * FINALISTS``.
    """
    found: list[Finalist] = []
    for trial in ranking[: 2 * FINALISTS]:
        if len(found) == FINALISTS:
            break
        child = children.child(trial.genotype)
        evaluations = _evaluations(trial, child, plan, workers=workers, journal=journal)
        if evaluations:
            metric = plan.objective.metric
            scores = tuple(one.metrics[metric] for one in evaluations)
            best = max(evaluations, key=lambda one: plan.objective.reward(one.metrics[metric]))
            finalist = Finalist(trial, child, scores, best)
            found.append(finalist)
            audience.rescored(finalist)
    return sorted(found, key=lambda one: (-plan.objective.reward(one.mean), one.trial.macs))


def _evaluations(
    trial: Trial, child: Child, plan: Plan, *, workers: Workers, journal: Journal
) -> list[Evaluation]:
    """All fresh evaluations of one child; none if one fails."""
    found: list[Evaluation] = []
    for repeat in range(FRESH_SEEDS):
        seed = training_seed(plan.seed, RESCORING, trial.ordinal, repeat)
        workers.submit(Job(trial.ordinal, child.graph, trial.fidelity, seed))
        outcome = workers.wait()
        event: dict[str, Any] = {
            "ordinal": trial.ordinal,
            "repeat": repeat,
            "seed": seed,
            "seconds": round(outcome.seconds, 6),
        }
        result = outcome.result
        if isinstance(result, Failure):
            journal.append("rescored", **event, cause=result.cause, message=result.message)
            return []
        journal.append("rescored", **event, metrics=dict(result.metrics))
        found.append(result)
    return found
