"""The last word on the best few: scores on fresh seeds, which take the luck out."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from nas.children import Child, Children
from nas.engine import check_network
from nas.journal import Journal
from nas.limits import COSTS
from nas.plan import FRESH_SEEDS, RESCORING, Plan, finalists_of, training_seed
from nas.readings import Kept, Reading
from nas.record import Record
from nas.trial import Trial
from nas.weights import keep, still_there
from nas.workers import RETRIES, Failure, Job, Outcome
from strategies.pareto import ranks


@dataclass(frozen=True, slots=True)
class Finalist:
    """One of the best children, scored again on fresh seeds.

    Attributes:
        trial: The trial that found it.
        child: Its network.
        scores: On each fresh seed.
        weights: What the best of these trainings left; None if the estimator trains nothing.
        metric: What the scores are of: the metric of the plan's verdict.
        metrics: Mean of every metric over the fresh seeds.
    """

    trial: Trial
    child: Child
    scores: tuple[float, ...]
    weights: Kept | None
    metric: str
    metrics: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean over the fresh seeds: the figure by which ``best`` is chosen."""
        return sum(self.scores) / len(self.scores)

    def figure(self, name: str) -> float:
        """A cost of the trial, or the mean of a metric over the fresh seeds."""
        return self.trial.figure(name) if name in COSTS else self.metrics[name]


@final
class Rescoring:
    """Scores the best few complete trials on ``FRESH_SEEDS`` fresh seeds each.

    With one objective these are ``FINALISTS``; with several, ``FRONT_FINALISTS`` at most of the
    front, spread along it.

    A score that was picked as the best of many is too good on average; fresh ones are not. It is
    driven as ``Search`` is: ``next_job`` while a worker is free, ``settle`` for each outcome.
    What the record has already, with its weights still there, is not done again. For a child that
    now fails the next one of the ranking is scored, down to twice as many.

    Args:
        plan: The plan of the search.
        children: Makes the networks.
        record: A search that is over.
        journal: Receives every score.
        folder: The run folder, for weights.
    """

    def __init__(
        self, plan: Plan, *, children: Children, record: Record, journal: Journal, folder: Path
    ) -> None:
        self._plan = plan
        self._children = children
        self._record = record
        self._journal = journal
        self._folder = folder
        self._most = finalists_of(len(plan.objectives))
        if plan.beside:
            self._most = min(self._most, len(record.front))
        self._ranking = record.ranking()[: 2 * self._most]
        self._open: set[int] = set()
        self._losses: Counter[int] = Counter()
        self._usable = {
            place
            for trial in self._ranking
            for place in _places(trial.ordinal)
            if place in record.readings and self._is_whole(record.readings[place])
        }

    @property
    def over(self) -> bool:
        """Whether every finalist has all its scores."""
        return not self._open and next(self._missing(), None) is None

    def title(self, key: int) -> str:
        """What a job is, for the eye."""
        ordinal, repeat = divmod(key, FRESH_SEEDS)
        return f"trial {ordinal}, fresh seed {repeat + 1} of {FRESH_SEEDS}"

    def next_job(self) -> Job | None:
        """The next training; None if there is none to begin."""
        place = next(self._missing(), None)
        if place is None:
            return None
        trial, repeat = place
        check_network(trial, self._children)
        key = _key(trial.ordinal, repeat)
        self._open.add(key)
        seed = training_seed(self._plan.seed, RESCORING, trial.ordinal, repeat)
        graph = self._children.child(trial.genotype).graph
        return Job(key, graph, trial.fidelity, seed, weights=True)

    def settle(self, outcome: Outcome) -> list[Trial]:
        """Record what became of a job.

        Returns:
            The trial it was for, if it has all its fresh scores now.

        Raises:
            NasError: If the journal or the weights cannot be written.
        """
        ordinal, repeat = divmod(outcome.key, FRESH_SEEDS)
        trial, result = self._record.trials[ordinal], outcome.result
        self._open.discard(outcome.key)
        if isinstance(result, Failure) and result.is_lost:
            self._losses[outcome.key] += 1
            if self._losses[outcome.key] <= RETRIES:
                return []
        kept = None
        if not isinstance(result, Failure) and result.weights is not None:
            kept = keep(self._folder, f"{ordinal}-fresh-{repeat}", result.weights)
        self._journal.append(
            "rescored",
            ordinal=ordinal,
            repeat=repeat,
            seed=training_seed(self._plan.seed, RESCORING, ordinal, repeat),
            seconds=round(outcome.seconds, 6),
            metrics={} if isinstance(result, Failure) else dict(result.metrics),
            weights=None if kept is None else kept.document(),
            cause=result.cause if isinstance(result, Failure) else "",
            message=result.message if isinstance(result, Failure) else "",
        )
        self._usable.add((ordinal, repeat))
        whole = all(key in self._usable for key in _places(ordinal))
        return [trial] if whole and not self._has_failed(trial) else []

    def finalists(self) -> list[Finalist]:
        """All finalists, best mean first, the cheaper one of equals."""
        found = [self.finalist(trial) for trial in self._chosen()]
        objective = self._plan.verdict
        return sorted(found, key=lambda one: (-objective.reward(one.mean), one.trial.macs))

    def front(self) -> list[Finalist]:
        """Finalists that no other one is as good as everywhere, by their means; else the best."""
        found, objectives = self.finalists(), self._plan.objectives
        if len(objectives) == 1:
            return found[:1]
        points = [[one.reward(each.figure(one.metric)) for one in objectives] for each in found]
        rank = ranks(np.array(points).reshape(len(found), len(objectives)))
        return [each for each, place in zip(found, rank, strict=True) if place == 0]

    def finalist(self, trial: Trial) -> Finalist:
        """One that has all its scores."""
        objective = self._plan.verdict
        readings = [self._record.readings[place] for place in _places(trial.ordinal)]
        best = max(readings, key=lambda one: objective.reward(one.metrics[objective.metric]))
        scores = tuple(one.metrics[objective.metric] for one in readings)
        means = {
            name: sum(one.metrics[name] for one in readings) / len(readings)
            for name in readings[0].metrics
        }
        child = self._children.child(trial.genotype)
        return Finalist(trial, child, scores, best.weights, objective.metric, means)

    def _chosen(self) -> list[Trial]:
        """The best trials of which no fresh score has failed."""
        sound = [trial for trial in self._ranking if not self._has_failed(trial)]
        return sound[: self._most]

    def _has_failed(self, trial: Trial) -> bool:
        readings = self._record.readings
        return any(
            place in readings and bool(readings[place].failed) for place in _places(trial.ordinal)
        )

    def _missing(self) -> Iterator[tuple[Trial, int]]:
        """What is neither scored nor in hand."""
        for trial in self._chosen():
            for ordinal, repeat in _places(trial.ordinal):
                open_ = _key(ordinal, repeat) in self._open
                if not open_ and (ordinal, repeat) not in self._usable:
                    yield trial, repeat

    def _is_whole(self, reading: Reading) -> bool:
        return reading.weights is None or still_there(self._folder, reading.weights)


def _places(ordinal: int) -> list[tuple[int, int]]:
    """Where the record has the fresh scores of a trial."""
    return [(ordinal, repeat) for repeat in range(FRESH_SEEDS)]


def _key(ordinal: int, repeat: int) -> int:
    """What a job is called; ``divmod`` by ``FRESH_SEEDS`` reads it back."""
    return ordinal * FRESH_SEEDS + repeat
