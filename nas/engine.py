"""The search itself: ask, check limits, score, record, tell."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, final

from estimators.estimator import Evaluation
from nas.children import Child, Children
from nas.journal import Journal
from nas.latency import latency_ms
from nas.plan import ASK, TRAINING, Plan, rng_of, training_seed
from nas.trial import State, Trial
from nas.workers import Failure, Job, Outcome, Workers
from search_spaces.identity import same_network
from search_spaces.modules import build
from strategies.strategy import Proposal, Strategy

FRUITLESS_ASKS = 100
CONSECUTIVE_FAILURES = 10
FAILURE_RATE = 0.5
FAILURE_RATE_AFTER = 20
BUDGET_SPENT = "budget spent"


class Observer(Protocol):
    """Is told what happens, to show it."""

    def finished(self, trial: Trial, best: Trial | None, started: int) -> None:
        """A trial has its final state."""
        ...


class SearchFailed(Exception):  # noqa: N818 - says what happened
    """Too many children failed; the message names the causes."""


@dataclass(slots=True)
class _Open:
    """A proposal that was handed out and not yet told."""

    proposal: Proposal
    trial: Trial
    child: Child
    twins: list["_Open"] = field(default_factory=list)


@final
class Search:
    """One run from its first ask to its last tell.

    Args:
        plan: What to do.
        strategy: A fresh strategy, constructed with the plan's budget.
        children: Makes the networks.
        workers: Scores them; not closed here.
        journal: Receives every event before anything acts on it.
        observer: Is shown every trial.
    """

    def __init__(
        self,
        plan: Plan,
        strategy: Strategy,
        *,
        children: Children,
        workers: Workers,
        journal: Journal,
        observer: Observer,
    ) -> None:
        self._plan = plan
        self._strategy = strategy
        self._children = children
        self._workers = workers
        self._journal = journal
        self._observer = observer
        self._open: dict[int, _Open] = {}
        self._scored: dict[tuple[str, float], list[Trial]] = {}
        self._latencies: dict[str, float] = {}
        self._fruitless = 0
        self._failures_in_a_row = 0
        self.trials: list[Trial] = []
        self.started = 0
        self.best: Trial | None = None
        self.ended = ""

    def run(self) -> None:
        """Spend the budget.

        Afterwards ``trials`` holds every ask, ``started`` is how many of them count against the
        budget, ``best`` the first of ``ranking()``, and ``ended`` says why it ended.

        Raises:
            SearchFailed: If too many children failed.
            NasError: If the journal cannot be written.
        """
        while True:
            while self._wants_more():
                self._ask()
            if not self._open:
                break
            self._finish(self._workers.wait())
        if not self.ended:
            self.ended = BUDGET_SPENT
        self._journal.append("ended", reason=self.ended)

    def ranking(self) -> list[Trial]:
        """Complete trials at the highest fidelity reached, best first, the cheaper of equals."""
        complete = sorted(
            (trial for trial in self.trials if trial.state == "complete"), key=self._order
        )
        return [trial for trial in complete if trial.fidelity == complete[0].fidelity]

    def _order(self, trial: Trial) -> tuple[float, float, int, int]:
        """Sorts the best complete trial first."""
        return -trial.fidelity, -self._reward(trial.metrics), trial.macs, trial.ordinal

    def _wants_more(self) -> bool:
        if self.ended or self.started >= self._plan.budget or self._workers.free == 0:
            return False
        if self._fruitless < FRUITLESS_ASKS:
            return True
        if not self._open:
            states = Counter(trial.state for trial in self.trials[-FRUITLESS_ASKS:])
            self.ended = (
                f"{FRUITLESS_ASKS} proposals in a row brought nothing new: "
                f"{states['infeasible']} beyond the limits, {states['duplicate']} known already"
            )
        return False

    def _ask(self) -> None:
        plan, ordinal = self._plan, len(self.trials)
        proposal = self._strategy.ask(rng_of(plan.seed, ASK, ordinal))
        if proposal is None:
            if self._open:
                self._fruitless = FRUITLESS_ASKS  # wait for what runs, then ask again
            else:
                self.ended = "the strategy has nothing left to propose"
            return
        child = self._children.child(proposal.genotype)
        trial = Trial(
            ordinal=ordinal,
            genotype=proposal.genotype,
            digest=child.digest,
            state="running",
            params=child.params,
            macs=child.macs,
            fidelity=proposal.fidelity * plan.fidelity,
            seed=training_seed(plan.seed, TRAINING, ordinal),
            latency_ms=self._latency(child),
        )
        self.trials.append(trial)
        self._journal.append(
            "asked",
            ordinal=ordinal,
            genotype=proposal.genotype.to_dict(),
            fidelity=trial.fidelity,
            hash=child.digest,
            params=child.params,
            macs=child.macs,
            latency_ms=trial.latency_ms,
        )
        self._hand_out(_Open(proposal, trial, child))

    def _hand_out(self, handed: _Open) -> None:
        trial = handed.trial
        reason = self._beyond_limits(trial)
        if reason:
            self._fruitless += 1
            beyond = replace(trial, state="infeasible", cause="infeasible", message=reason)
            self._close(handed, beyond, None)
            return
        twin = self._twin(handed)
        if isinstance(twin, _Open):
            self._fruitless += 1
            twin.twins.append(handed)
            return
        if twin is not None:
            self._fruitless += 1
            self._repeat(handed, twin)
            return
        self._fruitless = 0
        self.started += 1
        self._open[trial.ordinal] = handed
        self._journal.append("started", ordinal=trial.ordinal, attempt=1)
        self._workers.submit(Job(trial.ordinal, handed.child.graph, trial.fidelity, trial.seed))

    def _twin(self, handed: _Open) -> "_Open | Trial | None":
        """The running or scored trial of the same network at the same fidelity.

        A score also depends on the recipe, of which a run has one.
        """
        key = handed.trial.digest, handed.trial.fidelity
        for running in self._open.values():
            found = running.trial.digest, running.trial.fidelity
            if found == key and same_network(running.child.graph, handed.child.graph):
                return running
        for scored in self._scored.get(key, ()):
            graph = self._children.child(scored.genotype).graph
            if same_network(graph, handed.child.graph):
                return scored
        return None

    def _finish(self, outcome: Outcome) -> None:
        handed = self._open.pop(outcome.key)
        self._fruitless = 0
        result = outcome.result
        if isinstance(result, Failure):
            failed = replace(
                handed.trial,
                state="failed",
                cause=result.cause,
                message=result.message,
                trace=result.trace,
                seconds=outcome.seconds,
            )
            self._close(handed, failed, None)
            self._failures_in_a_row += 1
        else:
            self._failures_in_a_row = 0
            metrics = dict(result.metrics)
            state: State = "complete" if self._reached(handed.trial, result) else "stopped"
            done = replace(handed.trial, state=state, metrics=metrics, seconds=outcome.seconds)
            rewards = (self._reward(metrics),)
            if state == "complete":
                self.best = min(filter(None, (self.best, done)), key=self._order)
                self._scored.setdefault((done.digest, done.fidelity), []).append(done)
            self._close(handed, done, rewards)
        for twin in handed.twins:
            self._repeat(twin, self.trials[handed.trial.ordinal])
        self._stop_after_failures()

    def _repeat(self, handed: _Open, first: Trial) -> None:
        """Give a duplicate what the first trial of its network got."""
        again = replace(handed.trial, state="duplicate", metrics=first.metrics, of=first.ordinal)
        self._close(handed, again, (self._reward(first.metrics),) if first.metrics else None)

    def _close(self, handed: _Open, trial: Trial, rewards: tuple[float, ...] | None) -> None:
        """Record a final state, then tell the strategy."""
        self.trials[trial.ordinal] = trial
        self._journal.append(
            "finished",
            ordinal=trial.ordinal,
            attempt=1,
            state=trial.state,
            metrics=trial.metrics,
            seconds=round(trial.seconds, 6),
            cause=trial.cause,
            message=trial.message,
            of=trial.of,
            trace=trial.trace,
        )
        self._journal.append("told", ordinal=trial.ordinal, rewards=rewards)
        self._strategy.tell(handed.proposal, rewards)
        self._observer.finished(trial, self.best, self.started)

    def _stop_after_failures(self) -> None:
        failed = [trial for trial in self.trials if trial.state == "failed"]
        too_many = (
            self._failures_in_a_row >= CONSECUTIVE_FAILURES
            or (self._failures_in_a_row > 0 and self._failures_in_a_row >= self._plan.budget)
            or (self.started >= FAILURE_RATE_AFTER and len(failed) > FAILURE_RATE * self.started)
        )
        if not too_many:
            return
        causes = Counter(f"{trial.cause}: {trial.message:.200}" for trial in failed)
        shown = "; ".join(f"{count} x {cause}" for cause, count in causes.most_common(3))
        self.ended = f"{len(failed)} of {self.started} children failed: {shown}"
        self._journal.append("ended", reason=self.ended)
        raise SearchFailed(self.ended)

    def _reward(self, metrics: Mapping[str, float]) -> float:
        objective = self._plan.objective
        return objective.reward(metrics[objective.metric])

    def _latency(self, child: Child) -> float | None:
        """Median latency where a limit asks for it, measured once for each network."""
        if self._plan.limits.max_latency_ms is None or not self._children.feasible(child.genotype):
            return None
        if child.digest not in self._latencies:
            graph, device = child.graph, self._plan.device
            self._latencies[child.digest] = latency_ms(
                build(graph), graph.input_shape, device=device
            )
        return self._latencies[child.digest]

    def _beyond_limits(self, trial: Trial) -> str:
        limits = self._plan.limits
        costs: tuple[tuple[str, float | None, float | None], ...] = (
            ("params", trial.params, limits.max_params),
            ("macs", trial.macs, limits.max_macs),
            ("latency_ms", trial.latency_ms, limits.max_latency_ms),
        )
        for name, cost, most in costs:
            if cost is not None and most is not None and cost > most:
                return f"{name} {cost:,.6g} is above the limit of {most:,.6g}"
        return ""

    def _reached(self, trial: Trial, evaluation: Evaluation) -> bool:
        return evaluation.details.get("fidelity", trial.fidelity) >= trial.fidelity
