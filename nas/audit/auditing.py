"""What an audit does: train children, ask estimators about them, write down what follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from estimators.estimator import Pretrained
from nas.audit import findings
from nas.audit.measurements import Measurements, OutOfTimeError, Wanted
from nas.audit.rival import Rival
from nas.audit.sample import SAMPLE, drawn
from nas.audit.statistics import seed_noise
from nas.audit.subjects import Subject, default_labels, subject
from nas.children import Child
from nas.errors import NasError
from nas.execution import Execution, workers_for
from nas.interrupts import Interrupts
from nas.journal import Journal
from nas.plan import AUDIT as AUDIT_KEY
from nas.plan import FRESH_SEEDS, LEAST_AUDITED, training_seed
from nas.preparation import Prepared
from nas.pretraining import pretrain
from nas.record import Record
from nas.run_folder import AUDIT, AUDIT_DOCUMENT, ESTIMATOR, SUMMARY, read_json, tidy, write_json
from nas.status import summary_of

if TYPE_CHECKING:
    from nas.ray_session import RaySession

MEASURED = "measured.jsonl"
FINALS, SCORING = 1, 4  # purposes of seeds; ``sample`` and ``rival`` have others


@final
@dataclass(frozen=True, slots=True)
class Order:
    """What is to be audited.

    Attributes:
        children: How many to train in full, at least ``LEAST_AUDITED``.
        seeds: On how many seeds each, at least 1.
        labels: Estimators, as ``subjects.subject`` reads them; None for every proxy, a short
            training and the run's own.
        rival: Whether random search is to work for as many device-seconds as the run.
    """

    children: int
    seeds: int
    labels: tuple[str, ...] | None = None
    rival: bool = False


def audited(  # noqa: PLR0913 - by name, what a run at work has
    folder: Path,
    prepared: Prepared,
    order: Order,
    *,
    record: Record,
    journal: Journal,
    execution: Execution,
    interrupts: Interrupts,
    ray: "RaySession | None",
    show: Callable[[str], None],
    until: Callable[[], str] = lambda: "",
) -> dict[str, Any]:
    """Audit a run that has a winner: into ``audit/``, its journal and its summary.

    Args:
        folder: The run folder, locked by this process.
        prepared: The run.
        order: What is asked for.
        record: Of the run.
        journal: Receives what was found.
        execution: How children are trained.
        interrupts: Entered.
        ray: Where workers are to be, started or not; None to train in this process.
        show: Told of every measurement.
        until: Why to hand out no further child, or nothing.

    Returns:
        What ``audit.json`` says.

    Raises:
        NasError: If an estimator cannot be used (exit code 2), too few children could be trained
            (3), the folder is damaged or without a winner (4), or it cannot be written (5).
        OutOfTimeError: If ``until`` said so; what was measured is kept.
        Interrupted: If a signal came; likewise.
    """
    finals = _finals_of(folder)
    place = folder / AUDIT
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise NasError(f"audit: cannot make {place}: {error.strerror}", exit_code=5) from error
    if linked := [path.name for path in place.iterdir() if path.is_symlink()]:
        raise NasError(f"audit: {place / linked[0]} must not be a link", exit_code=4)
    tidy(place)
    with Measurements(place / MEASURED, show, until) as measurements:
        work = _Audit(folder, prepared, record, measurements, execution, interrupts, ray, show)
        document = work.document(order, finals)
        seconds = measurements.seconds
    write_json(place / AUDIT_DOCUMENT, document)
    journal.append("audited", **_outline(document), seconds=seconds)
    summary = read_json(folder / SUMMARY, what="summary")
    write_json(folder / SUMMARY, {**summary, "audit": record.audited})
    return document


def _outline(document: Mapping[str, Any]) -> dict[str, Any]:
    """What journal and summary say of an audit."""
    return {
        "children": document["children"],
        "seeds": document["seeds"],
        "estimators": [
            {"estimator": row["estimator"], **row["tau"]} for row in document["estimators"]
        ],
        "summary": document["summary"],
        "may_be_best": [row["trial"] for row in document["finalists"] if row["may_be_best"]],
    }


@final
@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit at work."""

    folder: Path
    prepared: Prepared
    record: Record
    measurements: Measurements
    execution: Execution
    interrupts: Interrupts
    ray: "RaySession | None"
    show: Callable[[str], None]

    def document(self, order: Order, finals: Sequence[int]) -> dict[str, Any]:
        """Measure what is missing and sum it up."""
        prepared, seeds = self.prepared, order.seeds
        labels = default_labels(prepared) if order.labels is None else order.labels
        subjects = [subject(label, prepared) for label in labels]  # told before anything trains
        full = Subject.of("full training", prepared.judge, prepared, fidelity=1.0)
        sample = drawn(prepared, order.children, purpose=SAMPLE)
        trained = self._trained(full, list(enumerate(sample)), seeds, purpose=SAMPLE)
        if len(trained) < LEAST_AUDITED:
            raise NasError(
                f"audit: {len(trained)} of {len(sample)} children could be trained; "
                f"at least {LEAST_AUDITED} are needed",
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
        if order.rival:
            document["random"] = self._rival(noise, freedom, finals)
        return document

    def _rival(self, noise: float, freedom: int, finals: Sequence[int]) -> dict[str, Any]:
        prepared, fidelity = self.prepared, self.prepared.plan.fidelity
        name = prepared.run.estimator
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
        self._pretrain(one)
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

    def _pretrain(self, one: Subject) -> None:
        """Let an estimator train that does so once for all; the run's own has done it.

        Raises:
            OutOfTimeError: If ``until`` said so before its end; what was trained is kept.
        """
        if not isinstance(one.estimator, Pretrained):
            return
        place = self.folder / ESTIMATOR
        if one.estimator is not self.prepared.estimator:
            name = blake2b(one.recipe.encode(), digest_size=8).hexdigest()
            place = self.folder / AUDIT / f"{ESTIMATOR}-{name}"
        seconds = pretrain(
            one.estimator,
            self.prepared,
            place,
            interrupts=self.interrupts,
            until=self.measurements.until,
            tell=self.show,
        )
        if seconds is None:
            raise OutOfTimeError(self.measurements.until())

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
