"""How a run stands: the same figures for a live panel and for ``nas status`` from any shell."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

from nas.errors import NasError
from nas.journal import read_events
from nas.limits import COSTS, format_quantity, format_value
from nas.lock import held, holder
from nas.plan import FRESH_SEEDS, finalists_of
from nas.record import Record
from nas.run_folder import EVENTS, SUMMARY, RunRecord, read_json, read_record
from nas.trial import Trial

COUNTED = ("complete", "stopped", "failed", "paused")
WATCH_EVERY = 5.0  # seconds, where nothing is shown meanwhile
_ORDER = ("running", "paused", "complete", "stopped", "failed", "infeasible", "duplicate")

Phase = Literal["running", "finished", "paused", "failed", "stopped"]


@final
@dataclass(frozen=True, slots=True)
class Standing:
    """Figures of a run at one moment.

    Attributes:
        name: What to call the run.
        phase: ``running`` in a process now; ``finished``, with a winner exported; ``paused``, the
            same after a time limit; ``failed``, without a winner; or ``stopped`` in between.
        budget: Trials to start in all.
        states: Number of trials in each state.
        best: The best complete trial of the search, by the first objective, at the highest fidelity
            reached: with halving that of a rung, as long as none went further.
        front: With several objectives, complete trials that no other is as good as everywhere.
        hypervolume: What the front covers, in [0, 1].
        objectives: What is searched for, by name.
        rungs: How many trials have reached each rung, by fidelity.
        seconds: Time worked on the run.
        ended: Why the search ended; empty while it has not.
        extra: Trainings beside the search: fresh scores of finalists.
        winner: Of an ended search for one objective: what was exported, in a line.
        workers: Each worker with what it does and since how many seconds.
    """

    name: str
    phase: Phase
    budget: int
    states: Mapping[str, int]
    best: Trial | None
    front: tuple[Trial, ...]
    hypervolume: float
    objectives: tuple[str, ...]
    rungs: Mapping[float, int]
    seconds: float
    ended: str
    extra: int = 0
    winner: str = ""
    workers: tuple[tuple[str, str, float], ...] = ()

    @classmethod
    def of(
        cls,
        record: Record,
        *,
        name: str,
        phase: Phase,
        seconds: float,
        workers: tuple[tuple[str, str, float], ...],
    ) -> "Standing":
        """What a record says, with what it cannot know."""
        several = len(record.objectives) > 1
        return cls(
            name=name,
            phase=phase,
            budget=record.budget,
            states=ordered(record),
            best=record.best,
            front=tuple(record.front) if several else (),
            hypervolume=record.hypervolume() if several else 0.0,
            objectives=tuple(one.metric for one in record.objectives),
            rungs={rung: len(record.rungs[rung]) for rung in sorted(record.rungs)},
            seconds=seconds,
            ended=record.ended,
            extra=sum(isinstance(who, int) and place >= 0 for who, place in record.readings),
            workers=workers,
        )

    @property
    def rescorings(self) -> int:
        """Trainings that follow the search, at most."""
        return finalists_of(len(self.objectives)) * FRESH_SEEDS

    @property
    def trained(self) -> int:
        """Trials that were trained, to their end or to a rung."""
        return sum(self.states.get(state, 0) for state in COUNTED)

    @property
    def per_hour(self) -> float | None:
        """Children trained in an hour; None before the first one."""
        trained = self.trained + self.extra
        return 3600 * trained / self.seconds if trained and self.seconds else None

    def later(self, seconds: float) -> "Standing":
        """The same, that many seconds later."""
        workers = tuple((name, does, since + seconds) for name, does, since in self.workers)
        return replace(self, seconds=self.seconds + seconds, workers=workers)

    def left(self) -> float | None:
        """Seconds to the end at this pace; None before the first child is trained."""
        if self.per_hour is None:
            return None
        trainings = max(0, self.budget - self.trained) + max(0, self.rescorings - self.extra)
        return 3600 * trainings / self.per_hour


def read(folder: Path) -> tuple[RunRecord, Record]:
    """The configuration and the record of a run folder, whoever works on it.

    Raises:
        NasError: If there is no run (exit code 2), or it is damaged (4).
    """
    run = read_record(folder)
    path = folder / EVENTS
    events = read_events(path) if path.exists() else ()
    objective, *beside = run.objectives
    return run, Record.of(events, objective, run.budget, beside=tuple(beside))


def document(folder: Path, *, watch: bool = False) -> dict[str, Any]:
    """What ``nas status --json`` prints; with ``watch``, once no process works on the run.

    Raises:
        NasError: As ``read``.
    """
    run, record = read(folder)
    found = standing(folder, record)
    while watch and found.phase == "running":
        time.sleep(WATCH_EVERY)
        run, record = read(folder)
        found = standing(folder, record)
    best: dict[str, Any] | None = None
    objective = run.objective
    front: list[dict[str, Any]] | None = None
    volume = found.hypervolume if run.beside else None
    if found.phase in {"finished", "paused"}:
        summed_up = read_json(folder / SUMMARY, what="summary")
        best, objective = summed_up["best"], summed_up.get("objective", run.objective)
        front, volume = summed_up.get("front"), summed_up.get("hypervolume")
    elif run.beside:
        front = [_document(trial, record) for trial in record.front]
    elif record.best is not None:
        best = _document(record.best, record)
    return {
        "run": str(folder),
        "state": found.phase,
        "budget": record.budget,
        "states": dict(found.states),
        "best": best,
        "front": front,
        "hypervolume": volume,
        "objective": objective,
        "objectives": list(found.objectives),
        "rungs": [{"fidelity": rung, "trials": count} for rung, count in found.rungs.items()],
        "seconds": round(found.seconds, 3),
        "per_hour": found.per_hour,
        "ended": record.ended,
        "sessions": len(record.sessions),
        "holder": holder(folder) if found.phase == "running" else None,
        "in_training": sorted(record.attempts) if found.phase == "running" else [],
        "failures": failures(record),
    }


def _document(trial: Trial, record: Record) -> dict[str, Any]:
    """A trial of the search that is among the best so far."""
    found: dict[str, Any] = {
        "trial": trial.ordinal,
        "score": trial.figure(record.objective.metric),
        "params": trial.params,
        "macs": trial.macs,
        "genotype": trial.genotype.to_dict(),
    }
    if len(record.objectives) > 1:
        names = [one.metric for one in record.objectives]
        found["objectives"] = {name: trial.figure(name) for name in names}
    return found


def failures(record: Record) -> list[dict[str, Any]]:
    """Every failed trial with its cause."""
    return [
        {"trial": trial.ordinal, "cause": trial.cause, "message": trial.message}
        for trial in record.trials
        if trial.state == "failed"
    ]


def now(folder: Path) -> Standing:
    """How the run in a folder stands.

    Raises:
        NasError: As ``read``.
    """
    return standing(folder, read(folder)[1])


def standing(folder: Path, record: Record) -> Standing:
    """Figures of a run in a folder, now."""
    busy = held(folder)
    seconds = record.seconds
    workers: tuple[tuple[str, str, float], ...] = ()
    if busy and record.sessions:  # wall clock, for the eye alone
        since_opening = max(0.0, time.time() - record.sessions[-1]["time"])
        seconds += max(0.0, since_opening - record.session_seconds)
        workers = tuple(
            (f"trial {ordinal}", "in training", max(0.0, since_opening - begin))
            for ordinal, begin in record.began.items()
            if ordinal in record.attempts
        )
    found = Standing.of(
        record,
        name=folder.name,
        phase="running" if busy else _phase(folder, record),
        seconds=seconds,
        workers=workers,
    )
    return replace(found, winner=_winner(folder, found.phase))


def _winner(folder: Path, phase: Phase) -> str:
    """What was exported, in a line; nothing of a search that goes on, or has a front."""
    document = summary_of(folder) if phase in {"finished", "paused"} else None
    best = None if document is None else document.get("best")
    if document is None or not isinstance(best, dict):
        return ""
    metric = document.get("objective", "")
    cost = f"{format_quantity(best['params'])} params, {format_quantity(best['macs'])} MACs"
    scores = f"{metric} {best['score']:.4f} on fresh seeds"
    name = f"trial {best['trial']}"
    if best.get("reference") is not None:
        name, scores = best["reference"], f"{metric} {best['score']:.4f} on validation images"
    return f"{name}: {scores}, {best['test'][metric]:.4f} on test images, {cost}"


def is_summed_up(folder: Path, record: Record) -> bool:
    """Whether ``summary.json`` is of the run as it is, and not of an earlier end."""
    document = summary_of(folder)
    return document is not None and document.get("sessions") == len(record.sessions)


def summary_of(folder: Path) -> dict[str, Any] | None:
    """``summary.json``; None if there is none that can be read: it can be written anew."""
    try:
        document = read_json(folder / SUMMARY, what="summary")
    except NasError:
        return None
    return document if isinstance(document, dict) else None


def _phase(folder: Path, record: Record) -> Phase:
    """How a run stands that no process works on: a summary is written last."""
    if not is_summed_up(folder, record):
        return "stopped"
    if record.outcome in {"paused", "failed"}:
        return "paused" if record.outcome == "paused" else "failed"
    return "finished" if record.exported is not None else "failed"


def ordered(record: Record) -> dict[str, int]:
    """How many trials are in each state, those that are under way first."""
    counts = record.states()
    return {state: counts[state] for state in _ORDER if counts[state]}


def front_lines(standing: Standing) -> list[str]:
    """The size of the front, and the members at its ends; nothing with one objective."""
    if not standing.front:
        return []
    costs = [name for name in standing.objectives if name in COSTS]
    ends = [min(standing.front, key=lambda trial: trial.figure(cost)) for cost in costs]
    if standing.best is not None:
        ends.insert(0, standing.best)
    size = f"{len(standing.front)} networks, hypervolume {standing.hypervolume:.4f}"
    lines = [
        f"trial {trial.ordinal}: {values_of(trial, standing.objectives)}"
        for trial in {trial.ordinal: trial for trial in ends}.values()
    ]
    return [size, *lines]


def values_of(trial: Trial, objectives: Sequence[str]) -> str:
    """What a trial has of each objective, in a few words."""
    return ", ".join(format_value(name, trial.figure(name)) for name in objectives)


def best_line(trial: Trial, metric: str) -> str:
    """A trial in a few words."""
    costs = f"{format_quantity(trial.params)} parameters, {format_quantity(trial.macs)} MACs"
    return f"trial {trial.ordinal}: {metric} {trial.metrics[metric]:.4f}, {costs}"
