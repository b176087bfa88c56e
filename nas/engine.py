"""The search itself: ask, check limits, hand out, record, tell."""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Literal, final

from estimators.estimator import Evaluation
from nas.checkpoints import forget, keep_checkpoint, read_checkpoint
from nas.children import Children
from nas.errors import NasError
from nas.halving import beyond, climber
from nas.journal import Event, Journal
from nas.keeping_limits import KeepingLimits
from nas.plan import TRAINING, Plan, training_seed
from nas.proposals import Proposals
from nas.readings import Kept
from nas.record import Record
from nas.screening import Screen
from nas.trial import State, Trial
from nas.workers import RETRIES, Failure, Job, Outcome
from search_spaces.genome import Genotype
from search_spaces.identity import same_network
from strategies.strategy import Strategy

FRUITLESS_ASKS = 100
CONSECUTIVE_FAILURES = 10
FAILURE_RATE = 0.5
FAILURE_RATE_AFTER = 20
BUDGET_SPENT = "budget spent"


class SearchFailed(Exception):  # noqa: N818 - says what happened
    """Too many children failed; the message names the causes."""


@final
class Search:
    """Turns a strategy's proposals into jobs and their outcomes into what the strategy is told.

    Whoever has workers drives it: ``next_job`` as long as one is free, ``settle`` for each
    outcome, until ``over``. Everything it knows is in the record, which its journal feeds.

    Args:
        plan: What to do.
        strategy: A fresh strategy, constructed with the plan's budget.
        children: Makes the networks.
        record: What happened so far; the journal's listener.
        journal: Receives every event; what is shown to anybody is on the disk before.
        folder: The run folder, for checkpoints of paused trials; None keeps none, so that each is
            trained from its start when it goes on.
        screen: Chooses among several proposals before each ask; None asks for the first.
    """

    def __init__(  # noqa: PLR0913 - the parts of a run
        self,
        plan: Plan,
        strategy: Strategy,
        *,
        children: Children,
        record: Record,
        journal: Journal,
        folder: Path | None = None,
        screen: Screen | None = None,
    ) -> None:
        self._plan = plan
        self._strategy = strategy
        self._children = children
        self._record = record
        self._journal = journal
        self._folder = folder
        self._unneeded: list[Kept] = []  # checkpoints, once what was appended is on the disk
        self._again: deque[int] = deque()  # to be handed out (again) before anything is asked
        self._open: set[int] = set()  # in hand
        self._twins: dict[int, list[int]] = {}  # of one in hand: duplicates that wait for it
        self._waits = False  # the strategy has nothing to propose until it is told more
        self._exhausted = False  # and had nothing when all was told
        self._limits = KeepingLimits(plan, children)
        self._proposals = Proposals(
            strategy, children=children, record=record, seed=plan.seed, screen=screen
        )

    @property
    def over(self) -> bool:
        """Whether no job is in hand and none will come."""
        return bool(self._record.ended) and not self._open

    @property
    def spent(self) -> bool:
        """Whether the budget is, and no trial is left to go on."""
        record = self._record
        paused = record.states()["paused"] > 0
        return record.started >= self._plan.budget and not record.attempts and not paused

    def genotype(self, key: int) -> Genotype:
        """What a job's network was made from."""
        return self._record.trials[key].genotype

    def title(self, key: int) -> str:
        """What a job is, for the eye."""
        attempt, fidelity = self._record.attempts.get(key, 1), self._record.trials[key].fidelity
        rung = f", to fidelity {fidelity:.3g}" if self._plan.rungs else ""
        return f"trial {key}{rung}" if attempt == 1 else f"trial {key}{rung}, attempt {attempt}"

    def give_back(self, events: Iterable[Event]) -> None:
        """Take up a run where its record ends: once, before anything else.

        The strategy is given every recorded ask and tell in their order; it is not asked again.
        Trials that were in hand are handed out first, under the same ordinal and seed.

        Args:
            events: The journal, as the record has taken it in.

        Raises:
            NasError: If a proposal is none of this space, or its network is another one than it
                was (exit code 4).
        """
        record = self._record
        try:
            for event in events:
                if event["event"] == "asked":
                    self._strategy.asked(record.proposals[event["ordinal"]])
                elif event["event"] == "told":
                    rewards = event["rewards"]
                    proposal = record.proposals[event["ordinal"]]
                    self._strategy.tell(proposal, None if rewards is None else tuple(rewards))
        except ValueError as error:
            raise NasError(f"journal: does not fit this space: {error}", exit_code=4) from error
        for ordinal in tuple(record.untold):
            self._tell(record.trials[ordinal])
        self._again.extend(sorted(record.attempts))
        for ordinal in (*self._again, *record.waiting):
            check_network(record.trials[ordinal], self._children)
        for ordinal in record.waiting:
            trial = record.trials[ordinal]
            first = record.waits.get(ordinal, self._twin(trial))
            if first in record.attempts:
                self._wait_for(trial, first)
            elif ordinal in record.waits:
                self._repeat(trial, record.trials[record.waits[ordinal]])
            else:
                self._again.append(ordinal)

    def next_job(self) -> Job | None:
        """The next child to train; None if one in hand has to be settled first, or all is done.

        Raises:
            NasError: If the journal cannot be written.
        """
        while True:
            with self._journal.group():
                ordinal = self._next()
                if ordinal is None:
                    return None
                job = self._hand_out(self._record.trials[ordinal])
            if job is not None:
                return job

    def foresee(self) -> bool:
        """Make a network that may be asked for next, for when it is: while workers are busy.

        It is kept among the children, and a screen's score of it too, so that a worker does not
        wait for them. What is settled before the ask may change what is proposed; then this was
        for nothing.

        Returns:
            Whether there is another one to make.
        """
        return not self._again and self._wants_more() and self._proposals.foresee()

    def settle(self, outcome: Outcome) -> list[Trial]:
        """Record what became of a job, and tell the strategy.

        Returns:
            The trials that are over by it: its own, and duplicates that waited for it; none if
            the job is to be done again.

        Raises:
            SearchFailed: If too many children failed.
            NasError: If the journal cannot be written.
        """
        self._forget_checkpoints()
        with self._journal.group():
            over = self._settle(outcome.key, outcome.result, outcome.seconds)
            self._stop_after_failures()
        return over

    def stop(self, reason: str, outcome: Literal["done", "paused", "failed"]) -> None:
        """End the search: nothing more is handed out, what is in hand may still be settled."""
        self._again.clear()
        self._journal.append("ended", reason=reason, outcome=outcome)

    def _next(self) -> int | None:
        """The trial to hand out next: one that goes on before a new one; None if there is none."""
        if self._again:
            return self._again.popleft()
        climbs = self._climb()
        if climbs is None and self._wants_more():
            return self._ask()
        return climbs

    def _climb(self) -> int | None:
        """Promote a paused trial that may go on; None if there is none."""
        record, plan = self._record, self._plan
        if not plan.rungs or record.ended:
            return None
        no_more = (
            self._exhausted or record.started >= plan.budget or record.fruitless >= FRUITLESS_ASKS
        )
        found = climber(record, plan, least=int(no_more and not self._open))
        if found is None:
            return None
        ordinal, fidelity = found
        self._journal.append("promoted", ordinal=ordinal, fidelity=fidelity)
        return ordinal

    def _may_climb(self) -> bool:
        """Whether a paused trial will go on once nothing is in hand."""
        plan = self._plan
        return bool(plan.rungs) and climber(self._record, plan, least=1) is not None

    def _wants_more(self) -> bool:
        record, reason = self._record, ""
        if record.ended or self._waits:
            return False
        if record.started >= self._plan.budget:
            reason = BUDGET_SPENT
        elif record.fruitless >= FRUITLESS_ASKS:
            states = Counter(trial.state for trial in record.trials[-FRUITLESS_ASKS:])
            reason = (
                f"{FRUITLESS_ASKS} proposals in a row brought nothing new: "
                f"{states['infeasible']} beyond the limits, {states['duplicate']} known already"
            )
        if reason and not self._open and not self._may_climb():
            self.stop(reason, "done")
        return not reason

    def _ask(self) -> int | None:
        """Ordinal of a new proposal; None if the strategy has none."""
        plan, ordinal = self._plan, len(self._record.trials)
        choice = self._proposals.ask(self._limits.is_fast)
        if choice is None:
            self._waits = bool(self._open)
            if self._waits:
                return None
            self._exhausted = True
            climbs = self._climb()
            if climbs is None:
                self.stop("the strategy has nothing left to propose", "done")
            return climbs
        proposal, screened = choice.proposal, choice.screened
        child = self._children.child(proposal.genotype)
        latency = self._limits.latency_ms(child)
        self._journal.append(
            "asked",
            ordinal=ordinal,
            genotype=proposal.genotype.to_dict(),
            proposed_fidelity=proposal.fidelity,
            fidelity=plan.rungs[0] if plan.rungs else proposal.fidelity * plan.fidelity,
            hash=child.digest,
            params=child.params,
            macs=child.macs,
            latency_ms=None if latency == math.inf else latency,
            seed=training_seed(plan.seed, TRAINING, ordinal),
            **({} if screened is None else {"screened": screened}),
        )
        return ordinal

    def _hand_out(self, trial: Trial) -> Job | None:
        """The job of a trial; None if it is beyond the limits or its network is known."""
        record, ordinal = self._record, trial.ordinal
        if ordinal not in record.attempts and not trial.reports:
            reason = self._limits.broken_by(trial)
            if reason:
                self._close(trial, state="infeasible", cause="infeasible", message=reason)
                return None
            twin = self._twin(trial)
            if twin in record.attempts:
                self._wait_for(trial, twin)
                return None
            if twin is not None:
                self._repeat(trial, record.trials[twin])
                return None
        self._open.add(ordinal)
        attempt = record.attempts.get(ordinal, 0) + 1
        kept, start = record.checkpoints.get(ordinal), None
        if kept is not None and self._folder is not None:
            start = read_checkpoint(self._folder, kept)
        reached = 0.0 if start is None else max(trial.reports)
        self._journal.append("started", ordinal=ordinal, attempt=attempt, start=reached)
        graph = self._children.child(trial.genotype).graph
        below = bool(self._plan.rungs) and trial.fidelity < self._plan.rungs[-1]
        return Job(ordinal, graph, trial.fidelity, trial.seed, checkpoint=below, start=start)

    def _twin(self, trial: Trial) -> int | None:
        """A running or scored trial of the same network at the same fidelity.

        A score also depends on the recipe, of which a run has one.
        """
        record, network = self._record, self._children.child(trial.genotype).graph
        running = (
            ordinal
            for ordinal in record.attempts
            if record.trials[ordinal].digest == trial.digest
            and record.trials[ordinal].fidelity == trial.fidelity
        )
        for ordinal in (*running, *record.scored(trial.digest, trial.fidelity)):
            other = self._children.child(record.trials[ordinal].genotype).graph
            if same_network(other, network):
                return ordinal
        return None

    def _wait_for(self, trial: Trial, first: int) -> None:
        """Leave a duplicate until the first trial of its network is over."""
        if trial.ordinal not in self._record.waits:
            self._journal.append("waits", ordinal=trial.ordinal, of=first)
        self._twins.setdefault(first, []).append(trial.ordinal)

    def _settle(self, ordinal: int, result: Evaluation | Failure, seconds: float) -> list[Trial]:
        record, trial = self._record, self._record.trials[ordinal]
        self._waits = False
        if isinstance(result, Evaluation) and trial.fidelity in self._plan.rungs[:-1]:
            self._pause(trial, result, seconds)
        elif isinstance(result, Evaluation):
            reached = result.details.get("fidelity", trial.fidelity) >= trial.fidelity
            state: State = "complete" if reached else "stopped"
            self._close(
                trial,
                state=state,
                metrics=result.metrics,
                seconds=seconds,
                details=result.details,
            )
        else:
            if result.is_lost:
                attempt, message = record.attempts[ordinal], result.message
                self._journal.append(
                    "lost", ordinal=ordinal, attempt=attempt, cause=result.cause, message=message
                )
                if record.losses[ordinal] <= RETRIES:
                    self._open.discard(ordinal)
                    self._again.append(ordinal)
                    return []
            self._close(
                trial,
                state="failed",
                cause=result.cause,
                message=result.message,
                trace=result.trace,
                seconds=seconds,
            )
        self._open.discard(ordinal)
        twins = self._twins.pop(ordinal, [])
        for twin in twins:
            self._repeat(record.trials[twin], record.trials[ordinal])
        return [record.trials[one] for one in (ordinal, *twins)]

    def _pause(self, trial: Trial, result: Evaluation, seconds: float) -> None:
        """Leave a trial at its rung, with where to go on from; tell the strategy at the first one.

        So what a strategy is told of all children is of one fidelity. The winner is chosen by
        rungs alone.
        """
        record, before = self._record, self._record.checkpoints.get(trial.ordinal)
        kept = None
        if result.checkpoint is not None and self._folder is not None:
            name = f"{trial.ordinal}-rung-{self._plan.rungs.index(trial.fidelity)}"
            with suppress(ValueError):  # what cannot be kept is trained again
                kept = keep_checkpoint(self._folder, name, result.checkpoint)
        self._journal.append(
            "paused",
            ordinal=trial.ordinal,
            fidelity=trial.fidelity,
            metrics=dict(result.metrics),
            seconds=round(seconds, 6),
            checkpoint=None if kept is None else kept.document(),
        )
        superseded = [record.checkpoints.get(one) for one in beyond(record, self._plan, trial)]
        self._unneeded += [one for one in (before, *superseded) if one is not None]
        if trial.ordinal in record.untold:
            self._tell(record.trials[trial.ordinal])

    def _forget_checkpoints(self) -> None:
        """Delete those that nothing goes on from any more."""
        unneeded, self._unneeded = self._unneeded, []
        for kept in unneeded:
            if self._folder is not None:
                forget(self._folder, kept)

    def _repeat(self, trial: Trial, first: Trial) -> None:
        """Give a duplicate what the first trial of its network got, at its own fidelity."""
        metrics = first.reports.get(trial.fidelity, first.metrics)
        self._close(trial, state="duplicate", metrics=metrics, of=first.ordinal)

    def _close(  # noqa: PLR0913 - the columns of a final state
        self,
        trial: Trial,
        *,
        state: State,
        metrics: Mapping[str, float] = MappingProxyType({}),
        seconds: float = 0.0,
        cause: str = "",
        message: str = "",
        trace: str = "",
        of: int | None = None,
        details: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Record a final state, then tell the strategy, unless it was told at a rung."""
        kept = self._record.checkpoints.get(trial.ordinal)
        self._unneeded += [] if kept is None else [kept]
        self._journal.append(
            "finished",
            ordinal=trial.ordinal,
            attempt=self._record.attempts.get(trial.ordinal, 0),
            state=state,
            metrics=dict(metrics),
            seconds=round(seconds, 6),
            cause=cause,
            message=message,
            of=of,
            trace=trace,
            details=dict(details),
        )
        if trial.ordinal in self._record.untold:
            self._tell(self._record.trials[trial.ordinal])

    def _tell(self, trial: Trial) -> None:
        rewards = self._record.rewards(trial) if trial.metrics else None
        self._journal.append("told", ordinal=trial.ordinal, rewards=rewards)
        self._strategy.tell(self._record.proposals[trial.ordinal], rewards)
        self._proposals.forget()

    def _stop_after_failures(self) -> None:
        record = self._record
        failed, row = record.failures.total(), record.failures_in_a_row
        too_many = (
            row >= CONSECUTIVE_FAILURES
            or (row > 0 and row >= self._plan.budget)
            or (record.judged >= FAILURE_RATE_AFTER and failed > FAILURE_RATE * record.judged)
        )
        if not too_many:
            return
        causes = record.failures.most_common(3)
        shown = "; ".join(f"{count} x {cause}" for cause, count in causes)
        reason = f"{failed} of {record.judged} children failed: {shown}"
        self.stop(reason, "failed")
        raise SearchFailed(reason)


def check_network(trial: Trial, children: Children) -> None:
    """Check that a recorded genotype still stands for the network it stood for.

    Raises:
        NasError: If it does not (exit code 4).
    """
    if children.child(trial.genotype).digest != trial.digest:
        raise NasError(
            f"journal: the space builds another network for trial {trial.ordinal} than it did; "
            "go on with the version that began the run",
            exit_code=4,
        )
