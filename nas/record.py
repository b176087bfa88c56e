"""What the events of a run add up to: the one state of a run, alive or read from its journal."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from nas.errors import NasError
from nas.events import check_event
from nas.front import covered
from nas.journal import Event
from nas.limits import Objective
from nas.readings import (
    FINAL_TRAINING,
    FULL,
    RIVAL_SCORE,
    WEIGHTS,
    Kept,
    Reading,
    Who,
    kept_of,
    reading,
    who,
)
from nas.run_folder import BEST, FRONT
from nas.trial import State, Trial
from search_spaces.genome import Genotype
from strategies.pareto import ranks, spread
from strategies.strategy import Proposal


@final
class Record:
    """The fold of a run's events, in their order.

    A search changes nothing here by itself: it appends an event to the journal, and the journal
    hands it on to ``apply``. So what a search knows is what its journal says, and a search that
    goes on from a journal knows what the one before it knew.

    ====================  =======================================================================
    event                 what it says
    ====================  =======================================================================
    ``opened``            a process has begun to work on the run: ``budget``, ``pid``, ``host``,
                          ``time``, ``workers``, ``versions``; what was ``done`` stays done at the
                          same budget
    ``pretrained``        the estimator has trained for all children, ``seconds`` over all sessions
    ``asked``             the strategy proposed trial ``ordinal``: all that is known before
                          training; with a screen ``screened``: by what ``score`` it was the best
                          ``of`` how many new networks, and its ``value``
    ``started``           it was handed to a worker, for the ``attempt``-th time at its rung, to go
                          on from fidelity ``start``
    ``waits``             it is a duplicate of trial ``of``, which is in hand
    ``lost``              the worker died under that attempt
    ``reported``          ``metrics`` at a lower ``fidelity`` on the way
    ``paused``            it has reached a rung: ``metrics`` there, ``checkpoint`` to go on from
    ``promoted``          it goes on, to the rung at ``fidelity``
    ``finished``          its final ``state``, with metrics or cause
    ``told``              the strategy was told ``rewards``, or null
    ``rescored``          a finalist's score on fresh seed ``repeat``, or why there is none
    ``rivals``            published ``networks`` that the winner, trial ``ordinal``, has to beat,
                          with latencies; ``limit_ms`` is that of the run
    ``rival_scored``      the score of one of them, a ``reference``, after a child's training
    ``finishing``         a full training, the winner's or that of a ``reference``, has ``epochs``
                          that fit into the ``allotted`` seconds, in a ``precision``
    ``final_training``    the winner or a ``reference`` was trained for its weights
    ``test_read``         the test images were read by either, with these ``metrics``; ``hits`` has
                          a bit for each image, set where the answer was right
    ``exported``          the folder at ``place`` is whole; ``relative_error`` of its check
    ``audited``           estimators were compared by children trained in full: how many, how they
                          ranked and which finalists may be the best; ``at`` may be of another
                          process, ``seconds`` are those of all measurements
    ``ended``             the search is over for a ``reason``, and what is paused has stopped; its
                          ``outcome`` is ``done``, ``paused`` (a time limit) or ``failed`` (too many
                          children did)
    ====================  =======================================================================

    Attributes:
        objectives: What is searched for; ``objective`` is the first.
        budget: Trials to start, as of the latest session.
        trials: Every ask, in order.
        proposals: What the strategy proposed, by ordinal.
        attempts: Trials that were started and are not over, with the number of the attempt.
        began: When these attempts began, in seconds of their session.
        losses: How often a worker died under a trial.
        checkpoints: Where paused trials can go on from, also once they do; None for the start.
        rungs: The first objective's reward of each trial that has reached a rung and not failed
            later, by fidelity and ordinal.
        waits: The trial whose score a duplicate waits for, by the duplicate's ordinal.
        untold: Trials that are over, or have reached their first rung, and were not told yet.
        started: Trials that count against the budget.
        fruitless: Proposals in a row that brought nothing new.
        failures: Failed children by cause and message, since the search last ended.
        failures_in_a_row: The last of them, without a success between.
        judged: Trials that count against the budget and are over, since the search last ended.
        best: The best complete trial at the highest fidelity reached, by the first objective; with
            halving, a trial at a rung counts as complete there, as in ``ranking``.
        front: Complete trials at the highest fidelity that no other one is as good as everywhere.
        readings: Fresh scores by ordinal and repeat, final trainings by ordinal and
            ``FINAL_TRAINING`` or ``WEIGHTS``; those of published networks by their name, and 0 or
            ``FINAL_TRAINING``.
        rivals: The latest ``rivals`` event, or None.
        finishing: The latest ``finishing`` event of each network, by ordinal or name.
        test_reads: Every reading of the test images.
        exported: The last export, or None.
        exports: The last export to each place in the run folder.
        audited: What the last audit found, of the run as it is; None if there was none.
        ended: Why the search ended; empty while it has not.
        outcome: ``done``, ``paused`` or ``failed`` once it ended; empty while it has not.
        sessions: Every ``opened`` event.
        pretrained: Seconds that the estimator trained for all children; None if it has not, or
            not to the end.
        seconds: Time worked on the run, over all sessions.
    """

    def __init__(
        self, objective: Objective, budget: int, *, beside: tuple[Objective, ...] = ()
    ) -> None:
        self.objective = objective
        self.objectives = (objective, *beside)
        self.budget = budget
        self.trials: list[Trial] = []
        self.proposals: list[Proposal] = []
        self.attempts: dict[int, int] = {}
        self.began: dict[int, float] = {}
        self.losses: Counter[int] = Counter()
        self.checkpoints: dict[int, Kept | None] = {}
        self.rungs: dict[float, dict[int, float]] = {}
        self.waits: dict[int, int] = {}
        self.untold: list[int] = []
        self.started = 0
        self.fruitless = 0
        self.failures: Counter[str] = Counter()
        self.failures_in_a_row = 0
        self.judged = 0
        self.best: Trial | None = None
        self.front: list[Trial] = []
        self.readings: dict[tuple[Who, int], Reading] = {}
        self.rivals: Event | None = None
        self.finishing: dict[Who, Event] = {}
        self.test_reads: list[Event] = []
        self.exported: Event | None = None
        self.exports: dict[str, Event] = {}
        self.audited: dict[str, Any] | None = None
        self.ended = ""
        self.outcome = ""
        self.sessions: list[Event] = []
        self.pretrained: float | None = None
        self._states: Counter[str] = Counter()
        self._scored: dict[tuple[str, float], list[int]] = {}
        self._seconds_before = 0.0
        self._at = 0.0
        self._handlers: Mapping[str, Callable[[Event], None]] = {
            "opened": self._opened,
            "pretrained": self._pretrained,
            "asked": self._asked,
            "started": self._started,
            "waits": self._waits,
            "lost": self._lost,
            "reported": self._reported,
            "paused": self._paused,
            "promoted": self._promoted,
            "finished": self._finished,
            "told": self._told,
            "rescored": self._rescored,
            "rivals": self._rivals,
            "rival_scored": self._rival_scored,
            "finishing": self._finishing,
            "final_training": self._final_training,
            "test_read": self._test_read,
            "exported": self._exported,
            "audited": self._audited,
            "ended": self._ended,
        }

    @classmethod
    def of(
        cls,
        events: Iterable[Event],
        objective: Objective,
        budget: int,
        *,
        beside: tuple[Objective, ...] = (),
    ) -> "Record":
        """The record of a whole journal.

        Raises:
            NasError: If an event cannot be (exit code 4); the message says which.
        """
        record = cls(objective, budget, beside=beside)
        for number, event in enumerate(events, start=2):
            try:
                check_event(event)
                record.apply(event)
            except (LookupError, ValueError) as error:
                reason = f"{error.args[0]!r} is unknown" if type(error) is KeyError else error
                raise NasError(
                    f"journal: line {number} is damaged: {reason}", exit_code=4
                ) from error
        return record

    @property
    def seconds(self) -> float:
        """Time worked on the run, over all sessions, up to the latest event."""
        return self._seconds_before + self._at

    @property
    def session_seconds(self) -> float:
        """Time of the latest event, from the beginning of its session."""
        return self._at

    @property
    def waiting(self) -> list[int]:
        """Trials that were asked and neither started nor finished."""
        return [
            trial.ordinal
            for trial in self.trials
            if trial.state == "running" and trial.ordinal not in self.attempts
        ]

    def scored(self, digest: str, fidelity: float) -> Sequence[int]:
        """Trials of networks with that digest that have a score at that fidelity.

        They are complete, or with halving have reached it as their first rung.
        """
        return self._scored.get((digest, fidelity), ())

    def ranking(self) -> list[Trial]:
        """Complete trials at the highest fidelity reached, best first, the cheaper of equals.

        Trials at a rung count as complete there, so they are returned if none went further. With
        several objectives the front comes first, in an order that covers it, then what nothing
        else dominates, and so on.
        """
        complete = sorted(
            (
                trial
                for trial in self.trials
                if trial.state == "complete"
                or (trial.reports and trial.state in {"paused", "stopped"})
            ),
            key=self._order,
        )
        highest = [trial for trial in complete if trial.fidelity == complete[0].fidelity]
        if len(self.objectives) == 1 or not highest:
            return highest
        front = {trial.ordinal for trial in self.front}
        rest = [trial for trial in highest if trial.ordinal not in front]
        rank = ranks(np.array([self.rewards(trial) for trial in rest])) if rest else np.array([])
        later = [
            [trial for trial, place in zip(rest, rank, strict=True) if place == level]
            for level in range(int(rank.max(initial=-1)) + 1)
        ]
        return [
            level[at]
            for level in (sorted(self.front, key=self._order), *later)
            for at in spread(np.array([self.rewards(trial) for trial in level]))
        ]

    def rewards(self, trial: Trial) -> tuple[float, ...]:
        """One number per objective, larger is better, of a trial that has a score."""
        return tuple(one.reward(trial.figure(one.metric)) for one in self.objectives)

    def hypervolume(self) -> float:
        """What the front covers of the box between worst and ideal values, in [0, 1]."""
        return covered(self.objectives, [trial.figure for trial in self.front])

    def states(self) -> Counter[str]:
        """How many trials are in each state."""
        return +self._states

    def apply(self, event: Event) -> None:
        """Take in the next event.

        Raises:
            LookupError, ValueError: If it does not fit what came before.
        """
        if event["event"] == "opened":
            self._seconds_before += self._at
        if event["event"] != "audited":
            self._at = float(event["at"])
        self._handlers[event["event"]](event)

    def _opened(self, event: Event) -> None:
        if self.outcome != "done" or event["budget"] != self.budget:
            self.ended = self.outcome = ""
            self.audited = None
            self._move_all("stopped", "paused")
        self.budget = int(event["budget"])
        self.sessions.append(event)

    def _pretrained(self, event: Event) -> None:
        self.pretrained = float(event["seconds"])

    def _asked(self, event: Event) -> None:
        if event["ordinal"] != len(self.trials):
            raise ValueError(f"ordinal must be {len(self.trials)}, got {event['ordinal']}")
        genotype = Genotype(tuple(event["genotype"].items()))
        trial = Trial(
            ordinal=event["ordinal"],
            genotype=genotype,
            digest=event["hash"],
            state="running",
            params=event["params"],
            macs=event["macs"],
            fidelity=event["fidelity"],
            seed=event["seed"],
            latency_ms=event["latency_ms"],
        )
        self.trials.append(trial)
        self.proposals.append(Proposal(genotype, event["proposed_fidelity"]))
        self._states["running"] += 1
        self.fruitless += 1

    def _started(self, event: Event) -> None:
        ordinal = self._running(event).ordinal
        if not self.trials[ordinal].reports:
            self.started += ordinal not in self.attempts
            self.fruitless = 0
        self.attempts[ordinal] = int(event["attempt"])
        self.began[ordinal] = self._at

    def _waits(self, event: Event) -> None:
        self.waits[self._running(event).ordinal] = self.trials[event["of"]].ordinal

    def _lost(self, event: Event) -> None:
        self.losses[self._running(event).ordinal] += 1

    def _reported(self, event: Event) -> None:
        trial = self._running(event)
        self.trials[trial.ordinal] = replace(trial, metrics=dict(event["metrics"]))

    def _paused(self, event: Event) -> None:
        trial, metrics, fidelity = self._running(event), dict(event["metrics"]), event["fidelity"]
        if fidelity != trial.fidelity or trial.ordinal not in self.attempts:
            raise ValueError(f"trial {trial.ordinal} is not on its way to fidelity {fidelity}")
        first, ordinal = not trial.reports, trial.ordinal
        self.trials[ordinal] = trial = replace(
            trial,
            metrics=metrics,
            seconds=trial.seconds + event["seconds"],
            reports={**trial.reports, fidelity: metrics},
        )
        self._move(ordinal, "paused")
        del self.attempts[ordinal], self.began[ordinal]
        self.checkpoints[ordinal] = kept_of(event["checkpoint"])
        self._reach(trial)
        self.failures_in_a_row = 0
        if first:
            self.fruitless = 0
            self.judged += 1
            self.untold.append(ordinal)
            self._scored.setdefault((trial.digest, fidelity), []).append(ordinal)

    def _promoted(self, event: Event) -> None:
        ordinal, fidelity = event["ordinal"], event["fidelity"]
        trial = self.trials[ordinal]
        if trial.state != "paused" or fidelity <= trial.fidelity:
            raise ValueError(f"trial {ordinal} cannot go on to fidelity {fidelity}")
        self.trials[ordinal] = replace(trial, fidelity=fidelity)
        for place in [place for place in self.readings if place[0] == ordinal]:
            del self.readings[place]  # of a lower fidelity
        self._move(ordinal, "running")

    def _reach(self, trial: Trial) -> None:
        """Note the score of a trial at its rung."""
        self.rungs.setdefault(trial.fidelity, {})[trial.ordinal] = self.rewards(trial)[0]
        self.best = min(filter(None, (self.best, self.trials[trial.ordinal])), key=self._order)

    def _leave(self, ordinal: int) -> None:
        """Forget the scores of a trial that failed on its way up."""
        for scores in self.rungs.values():
            scores.pop(ordinal, None)
        if self.best is not None and self.best.ordinal == ordinal:
            self.best = next(iter(self.ranking()), None)

    def _move(self, ordinal: int, state: State) -> None:
        """Put a trial that is not over into another state."""
        self._states[self.trials[ordinal].state] -= 1
        self._states[state] += 1
        self.trials[ordinal] = replace(self.trials[ordinal], state=state)

    def _move_all(self, before: State, after: State) -> None:
        """Stop all trials at their rungs, or let them go on."""
        for ordinal, trial in enumerate(self.trials):
            if trial.reports and trial.state == before:
                self._move(ordinal, after)

    def _finished(self, event: Event) -> None:
        trial, state = self._running(event), event["state"]
        trial = replace(
            trial,
            state=state,
            metrics=dict(event["metrics"]),
            seconds=trial.seconds + event["seconds"],
            cause=event["cause"],
            message=event["message"],
            trace=event["trace"],
            of=event["of"],
        )
        self.trials[trial.ordinal] = trial
        self._states["running"] -= 1
        self._states[state] += 1
        if not trial.reports:
            self.untold.append(trial.ordinal)
        self.waits.pop(trial.ordinal, None)
        self.checkpoints.pop(trial.ordinal, None)
        if self.attempts.pop(trial.ordinal, None) is None:
            return
        del self.began[trial.ordinal]
        if not trial.reports:
            self.fruitless = 0
            self.judged += 1
        self.failures_in_a_row += 1
        if state == "failed":
            self.failures[f"{trial.cause}: {trial.message:.200}"] += 1
            self._leave(trial.ordinal)
            return
        self.failures_in_a_row = 0
        if trial.reports:
            self._reach(trial)
        if state == "complete":
            self._scored.setdefault((trial.digest, trial.fidelity), []).append(trial.ordinal)
            self.best = min(filter(None, (self.best, trial)), key=self._order)
            self._join_front(trial)

    def _told(self, event: Event) -> None:
        self.untold.remove(event["ordinal"])

    def _rescored(self, event: Event) -> None:
        self.readings[event["ordinal"], event["repeat"]] = reading(event)

    def _rivals(self, event: Event) -> None:
        self.rivals = event

    def _rival_scored(self, event: Event) -> None:
        self.readings[event["reference"], RIVAL_SCORE] = reading(event)

    def _finishing(self, event: Event) -> None:
        self.finishing[who(event)] = event

    def _final_training(self, event: Event) -> None:
        full = event["recipe"].get("estimator") == FULL
        self.readings[who(event), FINAL_TRAINING if full else WEIGHTS] = reading(event)

    def _test_read(self, event: Event) -> None:
        self.test_reads.append(event)

    def _exported(self, event: Event) -> None:
        place = event.get("place") or (
            BEST if len(self.objectives) == 1 else f"{FRONT}/trial-{event['ordinal']}"
        )
        self.exported = self.exports[place] = event

    def _audited(self, event: Event) -> None:
        self.audited = {key: event[key] for key in event if key not in {"event", "at"}}

    def _ended(self, event: Event) -> None:
        self.ended, self.outcome = str(event["reason"]), str(event["outcome"])
        self._move_all("paused", "stopped")
        self.failures.clear()
        self.failures_in_a_row = self.judged = self.fruitless = 0

    def _join_front(self, trial: Trial) -> None:
        """Take a complete trial into the front, unless a member is as good everywhere."""
        if self.front and trial.fidelity > self.front[0].fidelity:
            self.front.clear()
        elif self.front and trial.fidelity < self.front[0].fidelity:
            return
        if not any(self._covers(member, trial) for member in self.front):
            kept = [member for member in self.front if not self._covers(trial, member)]
            self.front = [*kept, trial]

    def _covers(self, one: Trial, other: Trial) -> bool:
        """Whether nothing is gained by ``other``: of equals the cheaper one, then the first."""
        mine, theirs = self.rewards(one), self.rewards(other)
        as_good = all(a >= b for a, b in zip(mine, theirs, strict=True))
        return as_good and (mine != theirs or self._order(one) < self._order(other))

    def _running(self, event: Event) -> Trial:
        trial = self.trials[event["ordinal"]]
        if trial.state != "running":  # paused ones are promoted first
            raise ValueError(f"trial {trial.ordinal} is over already")
        return trial

    def _order(self, trial: Trial) -> tuple[float, float, int, int]:
        """Sorts the best complete trial first."""
        reward = self.objective.reward(trial.metrics[self.objective.metric])
        return -trial.fidelity, -reward, trial.macs, trial.ordinal
