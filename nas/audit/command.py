"""``nas audit``: train children in full, ask the estimators about them, and say what follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from nas.api import Count, check_workers, execution_of, reopened
from nas.audit import findings
from nas.audit.measurements import Measurements, Wanted
from nas.audit.rival import Rival
from nas.audit.sample import LEAST, drawn
from nas.audit.statistics import seed_noise
from nas.audit.subjects import Subject, default_labels, subject
from nas.children import Child
from nas.configuration import Prepared, of_run
from nas.datasets import Data, options
from nas.errors import NasError, usage_error
from nas.execution import Execution, ray_for, workers_for
from nas.interrupts import Interrupted, Interrupts
from nas.lock import RunLock
from nas.plan import AUDIT as AUDIT_KEY
from nas.plan import FRESH_SEEDS, training_seed
from nas.record import Record
from nas.run_folder import check_plain, read_record, tidy, write_json
from nas.status import read, summary_of

if TYPE_CHECKING:
    from nas.ray_workers import RaySession

AUDIT, DOCUMENT, MEASURED = "audit", "audit.json", "measured.jsonl"
SAMPLE, FINALS, SCORING = 0, 1, 4  # purposes of seeds; ``rival`` has others


def audit(  # noqa: PLR0913 - the options of the command line, by name
    folder: str | Path,
    *,
    children: int = 24,
    seeds: int = 2,
    estimators: Sequence[str] | None = None,
    against_random: bool = False,
    data: Data | None = None,
    data_dir: str | Path | None = None,
    given: Mapping[str, Any] | None = None,
    workers: Count = "auto",
    gpus_per_child: float | None = None,
    address: str | None = None,
    child_timeout: float | None = None,
    grace: float = 30.0,
    show: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Find out whether estimators can be trusted on a run's data and space.

    Children drawn uniformly over the genotypes within the run's limits are trained in full, each
    on several seeds; estimators are compared by how they rank them. What was measured is kept in
    ``audit/`` of the run folder and is not measured again: an audit that was interrupted goes on,
    and one of more children or seeds adds to it.

    Args:
        folder: The run folder, of a search that has ended.
        children: How many to train in full, at least 6.
        seeds: On how many seeds each, at least 1.
        estimators: As ``subjects.subject`` reads them; None for every proxy, a short training and
            the run's own estimator.
        against_random: Whether to let random search work for as many device-seconds as the run.
        data: As for ``resume``.
        data_dir: As for ``resume``.
        given: Classes of the user's own by ``space``, ``strategy`` and ``estimator``.
        workers: As for ``search``, and so are the rest.
        gpus_per_child: See ``search``.
        address: See ``search``.
        child_timeout: See ``search``.
        grace: See ``search``.
        show: Told of every measurement.

    Returns:
        What ``audit.json`` says.

    Raises:
        NasError: If a value cannot be used (exit code 2), too few children could be trained (3),
            or the folder is in use, damaged or without a result (4).
        Interrupted: After Ctrl-C or SIGTERM.
    """
    execution = execution_of(
        workers=workers,
        gpus_per_child=gpus_per_child,
        child_timeout=child_timeout,
        grace=grace,
        max_hours=None,
        study=False,
    )
    check_workers(execution, address)
    for flag, value, least in (("--children", children, LEAST), ("--seeds", seeds, 1)):
        if value < least:
            raise usage_error(f"{flag} must be at least {least}, got {value}")
    folder = Path(folder)
    check_plain(folder)
    read_record(folder)  # a folder without a run is told before it is locked
    with (
        Interrupts(execution.grace, show) as interrupts,
        ray_for(execution, address) as ray,
        RunLock(folder),
    ):
        interrupts.again()  # joining puts Ray's own handlers in place
        run, record = read(folder)
        parts = {"data": data, **({} if given is None else given)}
        where = options(None, None, data_dir).data_dir
        configuration = of_run(run, budget=record.budget, given=parts, data_dir=where)
        prepared = reopened(folder, run, configuration, elsewhere=address is not None)
        finals = _finals_of(folder)
        place = folder / AUDIT
        if place.is_symlink():
            raise NasError(f"audit: {place} is a link; move it away", exit_code=4)
        place.mkdir(exist_ok=True)
        tidy(place)
        labels = default_labels(prepared) if estimators is None else list(estimators)
        with Measurements(place / MEASURED, show) as measurements:
            work = _Audit(prepared, record, measurements, execution, interrupts, ray)
            try:
                document = work.document(
                    children, seeds, labels, rival=against_random, finals=finals
                )
            except Interrupted as error:
                text = f"stopped by {error.name}; go on with the same command"
                raise Interrupted(error.number, text) from error
        write_json(place / DOCUMENT, document)
        return document


@final
@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit at work."""

    prepared: Prepared
    record: Record
    measurements: Measurements
    execution: Execution
    interrupts: Interrupts
    ray: "RaySession | None"

    def document(
        self,
        children: int,
        seeds: int,
        labels: Sequence[str],
        *,
        rival: bool,
        finals: Sequence[int],
    ) -> dict[str, Any]:
        """Measure what is missing and sum it up."""
        prepared = self.prepared
        subjects = [subject(label, prepared) for label in labels]  # told before anything trains
        full = Subject.of("full training", prepared.judge, prepared, fidelity=1.0)
        sample = drawn(prepared, children, purpose=SAMPLE)
        trained = self._trained(full, list(enumerate(sample)), seeds, purpose=SAMPLE)
        if len(trained) < LEAST:
            raise NasError(
                f"audit: {len(trained)} of {len(sample)} children could be trained; "
                f"at least {LEAST} are needed",
                exit_code=3,
            )
        networks, scores = [one.child for one in trained], [one.scores for one in trained]
        scored = [self._scored(one, networks) for one in subjects]
        ranking = findings.ranking(networks, scores, scored, objective=full.objective)
        trials = [(ordinal, self._network(ordinal)) for ordinal in finals]
        best = self._trained(full, trials, FRESH_SEEDS + seeds, purpose=FINALS)
        noise, freedom = seed_noise([*scores, *(one.scores for one in best)])
        document = {
            "schema_version": findings.SCHEMA_VERSION,
            "objective": full.objective.metric,
            "seeds": seeds,
            "seconds_of_training": float(np.mean([one.seconds for one in trained])),
            **ranking,
            "summary": findings.best_of(ranking["estimators"]),
            "finalists": findings.finalists(
                [(one.name, one.child, one.scores) for one in best],
                full.objective,
                noise=noise,
                freedom=freedom,
            ),
            "random": None,
        }
        if rival:
            document["random"] = self._rival(noise, freedom, finals)
        return document

    def _rival(self, noise: float, freedom: int, finals: Sequence[int]) -> dict[str, Any]:
        prepared, fidelity = self.prepared, self.prepared.plan.fidelity
        name = prepared.record.estimator
        own = Subject.of(f"random: {name}", prepared.estimator, prepared, fidelity=fidelity)
        judge = Subject.of("random: finalists", prepared.judge, prepared, fidelity=fidelity)
        metric = prepared.plan.verdict.metric
        best = [
            self.record.readings[finals[0], repeat].metrics[metric] for repeat in range(FRESH_SEEDS)
        ]
        rival = Rival(prepared, own, judge, self.measurements, self._measure)
        return rival.finding(self.record, best, noise=noise, freedom=freedom)

    def _network(self, ordinal: int) -> Child:
        return self.prepared.children.child(self.record.trials[ordinal].genotype)

    def _trained(
        self, full: Subject, networks: Sequence[tuple[int, Child]], seeds: int, *, purpose: int
    ) -> list["_Trained"]:
        """Networks with a score on every seed; one that failed on any is left out."""
        wanted = {
            name: [
                Wanted(full, child, repeat, self._seed(purpose, name, repeat))
                for repeat in range(seeds)
            ]
            for name, child in networks
        }
        self._measure(full, [one for each in wanted.values() for one in each])
        found = []
        for name, child in networks:
            measured = [self.measurements.of(one) for one in wanted[name]]
            scores = [one.metrics[full.objective.metric] for one in measured if one and one.metrics]
            seconds = [one.seconds for one in measured if one]
            if len(scores) == seeds:
                found.append(_Trained(name, child, tuple(scores), sum(seconds) / seeds))
        return found

    def _scored(self, one: Subject, networks: Sequence[Child]) -> findings.Scored:
        """What an estimator says; what it cannot score comes last."""
        wanted = [
            Wanted(one, child, 0, self._seed(SCORING, at)) for at, child in enumerate(networks)
        ]
        self._measure(one, wanted)
        measured = [self.measurements.of(each) for each in wanted]
        rewards = np.array(
            [
                one.objective.reward(each.metrics[one.objective.metric])
                if each and each.metrics
                else np.nan
                for each in measured
            ]
        )
        lowest = 0.0 if np.isnan(rewards).all() else np.nanmin(rewards)
        rewards = np.where(np.isnan(rewards), lowest - 1, rewards)
        seconds = float(np.mean([each.seconds for each in measured if each]))
        return findings.Scored(one.label, rewards, seconds)

    def _measure(self, one: Subject, wanted: Sequence[Wanted]) -> None:
        """Make what is missing, in this process where nothing is trained."""
        missing = self.measurements.missing(wanted)
        if not missing:
            return
        ray = self.ray if one.estimator.stand_in is None else None
        with workers_for(
            one.estimator,
            self.prepared,
            self.execution,
            most=len(missing),
            ray=ray,
            interrupts=self.interrupts,
        ) as workers:
            self.measurements.measure(missing, workers, self.interrupts)

    def _seed(self, *key: int) -> int:
        return training_seed(self.prepared.plan.seed, AUDIT_KEY, *key)


@final
@dataclass(frozen=True, slots=True)
class _Trained:
    """A network that was trained in full on every seed."""

    name: int
    child: Child
    scores: tuple[float, ...]
    seconds: float


def _finals_of(folder: Path) -> list[int]:
    """Trials of a run's finalists, the winner first.

    Raises:
        NasError: If the run has no summary with a winner (exit code 4).
    """
    summary = summary_of(folder)
    if summary is None or not summary.get("finalists"):
        raise NasError(
            f"audit: {folder} has no winner yet; finish it with: nas resume {folder}", exit_code=4
        )
    return [int(one["trial"]) for one in summary["finalists"]]
