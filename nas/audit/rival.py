"""What random search finds in the same device-seconds: the least that a strategy has to beat."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from scipy import stats

from nas.audit.measurements import Measured, Measurements, Wanted
from nas.audit.sample import drawn
from nas.audit.statistics import CONFIDENCE
from nas.audit.subjects import Subject
from nas.children import Child
from nas.plan import AUDIT, FINALISTS, FRESH_SEEDS, training_seed
from nas.preparation import Prepared
from nas.record import Record

RIVAL, RIVAL_FRESH = 2, 3  # purposes of seeds; the audit's own have others
MOST_AT_ONCE = 16

Measure = Callable[[Subject, Sequence[Wanted]], None]


@final
@dataclass(frozen=True, slots=True)
class Rival:
    """Random search under the limits of a run, for as many device-seconds as its trials took.

    Args:
        prepared: The run.
        own: Its estimator, at its fidelity.
        judge: What trains finalists, at that fidelity.
        measurements: What is known.
        measure: Makes what is not.
    """

    prepared: Prepared
    own: Subject
    judge: Subject
    measurements: Measurements
    measure: Measure

    def finding(
        self, record: Record, best: Sequence[float], *, noise: float, freedom: int
    ) -> dict[str, Any]:
        """The run's winner against that of random search.

        Args:
            record: Of the run.
            best: Its winner's scores on fresh seeds.
            noise: Of a score over seeds.
            freedom: How many degrees of freedom it was told from.
        """
        target = sum(trial.seconds for trial in record.trials)
        children, spent = self._search(target)
        means = sorted(
            (self.judge.objective.reward(mean) for mean in self._finals(children)), reverse=True
        )
        mine = self.judge.objective.reward(sum(best) / len(best))
        gain = mine - means[0] if means else math.nan
        half = math.nan
        if freedom:
            error = noise * math.sqrt(1 / len(best) + 1 / FRESH_SEEDS)
            half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
        known = math.isfinite(half)
        return {
            "seconds": target,
            "random_seconds": spent,
            "random_children": len(children),
            "best": abs(mine),
            "random_best": abs(means[0]) if means else None,
            "gain": gain if means else None,
            "low": gain - half if known and means else None,
            "high": gain + half if known and means else None,
            "gain_per_hour": gain * 3600 / target if means and target else None,
        }

    def _search(self, target: float) -> tuple[list[tuple[Child, Measured]], float]:
        """Children in the order they were drawn, until their seconds are spent."""
        number, before = 1, 0
        while True:
            wanted = [
                Wanted(self.own, child, 0, self._seed(RIVAL, at))
                for at, child in enumerate(drawn(self.prepared, number, purpose=RIVAL))
            ]
            self.measure(self.own, wanted)
            found, spent = [], 0.0
            for one in wanted:
                measured = self.measurements.of(one)
                if spent >= target or measured is None:
                    break
                spent += measured.seconds
                found.append((one.child, measured))
            if spent >= target or len(wanted) == before:
                return found, spent
            before = len(wanted)
            pace = max(spent / len(found), 1e-6)
            number += max(1, min(MOST_AT_ONCE, math.ceil((target - spent) / pace)))

    def _finals(self, children: Sequence[tuple[Child, Measured]]) -> list[float]:
        """Means over fresh seeds of the best few."""
        objective = self.own.objective
        scored = [(child, measured.metrics) for child, measured in children if measured.metrics]
        scored.sort(key=lambda one: -objective.reward(one[1][objective.metric]))
        wanted = [
            [
                Wanted(self.judge, child, repeat, self._seed(RIVAL_FRESH, place, repeat))
                for repeat in range(FRESH_SEEDS)
            ]
            for place, (child, _) in enumerate(scored[:FINALISTS])
        ]
        self.measure(self.judge, [one for each in wanted for one in each])
        found = [[self.measurements.of(one) for one in each] for each in wanted]
        metric = self.judge.objective.metric
        return [
            sum(one.metrics[metric] for one in each if one is not None) / len(each)
            for each in found
            if all(one is not None and one.metrics for one in each)
        ]

    def _seed(self, *key: int) -> int:
        return training_seed(self.prepared.plan.seed, AUDIT, *key)
