"""What a trial is in the tables of an Optuna study."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, final

from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState

from nas.trial import Trial
from search_spaces.genome import Genome, OptionValue

Row = dict[str, Any]
STATES: Mapping[str, TrialState] = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    # Not complete: plots and dashboards would take them for winners.
    "stopped": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "duplicate": TrialState.PRUNED,
}
_FINITE = models.TrialValueModel.TrialValueType.FINITE
_FINITE_REPORT = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE


@final
class StudyRows:
    """The rows of trials, each under its ``trial_id``.

    Args:
        genome: Whose decisions are the parameters.
        metrics: Whose values a complete trial has, in their order.
    """

    def __init__(self, genome: Genome, metrics: Sequence[str]) -> None:
        self._decisions = _distributions(genome)
        self._metrics = metrics

    def of_trial(self, trial: Trial, trial_id: int, *, study_id: int) -> Row:
        """The row of the trial itself, in a study."""
        return {
            "trial_id": trial_id,
            "number": trial.ordinal,
            "study_id": study_id,
            "state": STATES[trial.state],
            "datetime_start": _now() - timedelta(seconds=trial.seconds),
            "datetime_complete": None if trial.state == "running" else _now(),
        }

    def of_end(self, trial: Trial, trial_id: int) -> Row:
        """What changes in that row when the trial is over: ``end`` and ``at``, of ``which``."""
        return {"which": trial_id, "end": STATES[trial.state], "at": _now()}

    def of_params(self, trial: Trial, trial_id: int) -> Iterator[Row]:
        """A row for each decision that the trial has taken."""
        for name, value in trial.genotype.answers:
            position, distribution = self._decisions[name]
            yield {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": float(position[value]),
                "distribution_json": distribution,
            }

    def of_first_attributes(self, trial: Trial, trial_id: int) -> list[Row]:
        """What is known of a trial before it is trained."""
        found: dict[str, Any] = {
            "hash": trial.digest,
            "params": trial.params,
            "macs": trial.macs,
            "fidelity": trial.fidelity,
            "seed": trial.seed,
        }
        if trial.latency_ms is not None:
            found["latency_ms"] = trial.latency_ms
        return _attributes(found, trial_id)

    def of_last_attributes(self, trial: Trial, trial_id: int) -> list[Row]:
        """What is known of it when it is over."""
        found: dict[str, Any] = {"state": trial.state, "seconds": trial.seconds, **trial.metrics}
        if trial.cause:
            found |= {"cause": trial.cause, "message": trial.message[:1000]}
        if trial.reports:
            found["fidelity_reached"] = trial.fidelity
        if trial.of is not None:
            found["duplicate_of"] = trial.of
        return _attributes(found, trial_id)

    def of_values(self, trial: Trial, trial_id: int) -> Iterator[Row]:
        """A row for each of its ``values``."""
        for number, value in enumerate(self.values(trial)):
            yield {
                "trial_id": trial_id,
                "objective": number,
                "value": value,
                "value_type": _FINITE,
            }

    def of_reports(self, trial: Trial, trial_id: int, *, known: int) -> Iterator[Row]:
        """Intermediate values: the first metric's at each rung, counted from 1.

        Args:
            trial: Whose they are.
            trial_id: Its number in the tables.
            known: How many of them are there already.
        """
        for step, metrics in enumerate(trial.reports.values(), start=1):
            if step > known:
                yield {
                    "trial_id": trial_id,
                    "step": step,
                    "intermediate_value": metrics[self._metrics[0]],
                    "intermediate_value_type": _FINITE_REPORT,
                }

    def values(self, trial: Trial) -> list[float]:
        """One per metric of a complete trial; none of any other."""
        if trial.state != "complete":
            return []
        values = [float(trial.figure(name)) for name in self._metrics]
        return values if all(map(math.isfinite, values)) else []


def _now() -> datetime:
    """Optuna stores UTC without saying so."""
    return datetime.now(UTC).replace(tzinfo=None)


def _attributes(found: Mapping[str, Any], trial_id: int) -> list[Row]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in found.items()
    ]


def _distributions(genome: Genome) -> dict[str, tuple[dict[OptionValue, int], str]]:
    """Position of each option and the distribution as JSON, by decision."""
    found: dict[str, tuple[dict[OptionValue, int], str]] = {}
    for name in genome.names:
        values = genome.values(name)
        places = {value: place for place, value in enumerate(values)}
        found[name] = places, distribution_to_json(CategoricalDistribution(values))
    return found
