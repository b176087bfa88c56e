"""The loop: what it asks, counts, repeats, refuses, records and tells, in any order of outcomes."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators.estimator import Evaluation
from nas.children import Children
from nas.engine import FRUITLESS_ASKS, Search, SearchFailed
from nas.errors import NasError
from nas.journal import Journal, read_events
from nas.limits import Limits, Objective
from nas.plan import Plan
from nas.record import Record
from nas.session import opened
from nas.trial import Trial
from nas.workers import Activity, Failure, Job, Outcome, Workers
from search_spaces.architecture import Architecture, lower
from search_spaces.genome import Genotype
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace
from search_spaces.strict_json import dumps
from strategies.evolution import Evolution
from strategies.random import RandomSearch
from strategies.strategy import Proposal, Strategy

SHAPE = (1, 8, 8)
Score = Callable[[Job], Evaluation | Failure]


def by_size(job: Job) -> Evaluation:
    """Larger networks score better; the seed has a say."""
    accuracy = job.graph.params / 10_000 + job.seed / 2**31 / 100
    return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy})


def failing(job: Job) -> Failure:
    return Failure("nan", "the loss became nan", "Traceback ...")


class Slots(Workers):
    """Several jobs at once, given back in an order of the test's choosing."""

    def __init__(self, slots: int, score: Score, order: Callable[[int], int]) -> None:
        self._slots, self._score, self._order = slots, score, order
        self.jobs: list[Job] = []
        self.taken: list[Job] = []
        self.busiest = 0

    @property
    def free(self) -> int:
        return self._slots - len(self.jobs)

    def submit(self, job: Job) -> None:
        assert self.free > 0
        assert job.key not in {other.key for other in self.jobs}
        self.jobs.append(job)
        self.taken.append(job)
        self.busiest = max(self.busiest, len(self.jobs))

    def wait(self, timeout: float) -> Outcome:
        job = self.jobs.pop(self._order(len(self.jobs)))
        return Outcome(job.key, self._score(job), 0.5)

    def activity(self) -> tuple[Activity, ...]:
        raise AssertionError("nobody looks")

    def close(self) -> None:
        raise AssertionError("workers belong to the caller")


class Listed(Strategy):
    """Proposes what it is given, then nothing."""

    def __init__(self, *arguments: Any, proposals: Sequence[Proposal | None] = ()) -> None:
        super().__init__(*arguments)
        self._proposals = list(proposals)
        self.told: list[tuple[Proposal, tuple[float, ...] | None]] = []

    def recommend(self) -> Genotype:
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        place = len(self.history.asked)
        return self._proposals[place] if place < len(self._proposals) else None


def first(count: int) -> int:
    return 0


def last(count: int) -> int:
    return count - 1


class Bench:
    """A search in the space of twelve genotypes and six networks, and all that it did."""

    def __init__(self, space: SearchSpace, folder: Path) -> None:
        self.space, self.path = space, folder / "events.jsonl"
        self.workers: Slots
        self.strategy: Strategy
        self.settled: list[Trial] = []
        self.record: Record

    def run(
        self,
        *,
        strategy: type[Strategy] | Sequence[int | Proposal] = RandomSearch,
        score: Score = by_size,
        slots: int = 1,
        order: Callable[[int], int] = first,
        limits: Limits | None = None,
        **plan: Any,
    ) -> Record:
        limits = Limits() if limits is None else limits
        plan = {"budget": 4, "seed": 0, "objective": Objective("accuracy", "maximize"), **plan}
        children = Children(self.space, limits)
        arguments = self.space.genome, plan["budget"], ("maximize",), children
        if isinstance(strategy, type):
            self.strategy = strategy(*arguments)
        else:
            proposals = [
                one if isinstance(one, Proposal) else Proposal(self.space.genome.unrank(one))
                for one in strategy
            ]
            self.strategy = Listed(*arguments, proposals=proposals)
        self.workers = Slots(slots, score, order)
        self.path.unlink(missing_ok=True)
        plan_of_it = Plan(limits=limits, **plan)
        return self.go_on(plan_of_it, children)

    def go_on(self, plan: Plan, children: Children) -> Record:
        """Search from where the journal ends, as a session does."""
        events = list(read_events(self.path)) if self.path.exists() else []
        self.record = Record.of(events, plan.objective, plan.budget)
        with Journal(self.path, self.record.apply) as journal:
            search = Search(
                plan, self.strategy, children=children, record=self.record, journal=journal
            )
            search.give_back(events)
            while not search.over:
                job = search.next_job() if self.workers.free else None
                if job is not None:
                    self.workers.submit(job)
                elif not search.over:
                    self.settled += search.settle(self.workers.wait(1))
        return self.record

    @property
    def events(self) -> list[dict[str, Any]]:
        """All but the time at which they came."""
        return [
            {name: value for name, value in event.items() if name != "at"}
            for event in read_events(self.path)
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


@pytest.fixture
def bench(mini: type[SearchSpace], tmp_path: Path) -> Bench:
    return Bench(mini(SHAPE, 2), tmp_path)


def states(search: Record) -> list[str]:
    return [trial.state for trial in search.trials]


def params_of(bench: Bench, rank: int) -> int:
    return Children(bench.space, Limits()).child(bench.space.genome.unrank(rank)).params


def test_what_an_evaluation_tells_beside_its_metrics_is_in_the_journal(bench: Bench) -> None:
    def in_halves(job: Job) -> Evaluation:
        return replace(by_size(job), details={"fidelity": 1.0, "batch_parts": 2.0})

    bench.run(score=in_halves, budget=1)
    [finished] = bench.of("finished")
    assert finished["details"] == {"fidelity": 1.0, "batch_parts": 2.0}


# Foresight ---------------------------------------------------------------------------------


class Lowered:
    """Counts the networks that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr("nas.children.lower", self._lower)

    def _lower(self, architecture: Architecture) -> Graph:
        self.count += 1
        return lower(architecture)


@pytest.fixture
def search_of(bench: Bench) -> Iterator[Callable[..., Search]]:
    """A search that a test drives itself."""
    with ExitStack() as stack:

        def made(strategy: type[Strategy], budget: int) -> Search:
            plan = Plan(budget, 0, Objective("accuracy", "maximize"), Limits())
            children = Children(bench.space, plan.limits)
            bench.record = Record(plan.objective, plan.budget)
            bench.path.unlink(missing_ok=True)
            journal = stack.enter_context(Journal(bench.path, bench.record.apply))
            made_ = strategy(bench.space.genome, plan.budget, ("maximize",), children)
            return Search(plan, made_, children=children, record=bench.record, journal=journal)

        yield made


def test_a_foreseen_network_is_not_made_again(
    search_of: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered = Lowered(monkeypatch)
    search = search_of(RandomSearch, 4)
    search.foresee()
    search.foresee()
    assert lowered.count == 1
    assert search.next_job() is not None
    assert lowered.count == 1


@pytest.mark.parametrize("strategy", [RandomSearch, Evolution])
@pytest.mark.parametrize("slots", [1, 3])
def test_foreseeing_changes_nothing(
    bench: Bench, search_of: Callable[..., Search], strategy: type[Strategy], slots: int
) -> None:
    calm = history(bench.run(strategy=strategy, budget=6, slots=slots, order=last))
    search = search_of(strategy, 6)
    in_hand: list[Job] = []
    while not search.over:
        search.foresee()
        job = search.next_job() if len(in_hand) < slots else None
        if job is not None:
            in_hand.append(job)
        elif in_hand:
            search.foresee()
            job = in_hand.pop()
            search.settle(Outcome(job.key, by_size(job), 0.5))
    assert history(bench.record) == calm


def test_a_strategy_that_takes_long_to_propose_is_not_asked_twice(
    search_of: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered = Lowered(monkeypatch)
    monkeypatch.setattr("nas.proposals.FORESIGHT_SECONDS", 0.0)
    search = search_of(RandomSearch, 4)
    search.foresee()  # takes longer than that
    job = search.next_job()
    assert job is not None
    assert lowered.count == 1
    search.foresee()
    assert lowered.count == 1


def test_nothing_is_foreseen_beyond_the_budget(
    search_of: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered = Lowered(monkeypatch)
    search = search_of(RandomSearch, 1)
    assert search.next_job() is not None
    search.foresee()
    assert lowered.count == 1


# Budget ------------------------------------------------------------------------------------


def test_the_budget_counts_what_was_started(bench: Bench) -> None:
    middle = params_of(bench, 4)
    search = bench.run(
        strategy=[11, 0, 1, 10, 2, 0, 4, 6], budget=3, limits=Limits(max_params=middle)
    )
    assert states(search) == [
        "infeasible",
        "complete",
        "duplicate",
        "infeasible",
        "complete",
        "duplicate",
        "complete",
    ]
    assert search.started == len(bench.workers.taken) == 3
    assert search.ended == "budget spent"


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
@pytest.mark.parametrize("order", [first, last])
def test_the_budget_is_kept_with_many_workers(
    bench: Bench, slots: int, order: Callable[[int], int]
) -> None:
    search = bench.run(strategy=list(range(12)), budget=5, slots=slots, order=order)
    assert search.started == len(bench.workers.taken) == 5
    assert bench.workers.busiest == min(slots, 5)
    assert search.ended == "budget spent"


def test_failed_trials_count_against_the_budget(bench: Bench) -> None:
    def every_other(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key % 4 else by_size(job)

    search = bench.run(strategy=[0, 2, 4, 6, 8, 10], budget=3, score=every_other)
    assert states(search) == ["complete", "failed", "failed"]


def test_a_proposal_that_waits_for_its_twin_does_not_hold_a_slot(bench: Bench) -> None:
    # With the twin counted, three would be started, and the last one only once one is done.
    search = bench.run(strategy=[0, 1, 2, 4], budget=3, slots=3)
    assert bench.workers.busiest == 3
    assert states(search) == ["complete", "duplicate", "complete", "complete"]
    assert search.started == 3


# Duplicates --------------------------------------------------------------------------------


def test_a_duplicate_gets_the_score_of_the_first(bench: Bench) -> None:
    search = bench.run(strategy=[0, 1, 0, 2], budget=2)
    assert states(search) == ["complete", "duplicate", "duplicate", "complete"]
    assert [trial.of for trial in search.trials] == [None, 0, 0, None]
    assert search.trials[1].metrics == search.trials[2].metrics == search.trials[0].metrics
    rewards = [event["rewards"] for event in bench.of("told")]
    assert rewards[0] == rewards[1] == rewards[2] != rewards[3]


@pytest.mark.parametrize("order", [first, last])
def test_a_duplicate_of_a_running_child_waits_for_its_score(
    bench: Bench, order: Callable[[int], int]
) -> None:
    search = bench.run(strategy=[0, 1, 0, 2], budget=2, slots=2, order=order)
    assert states(search) == ["complete", "duplicate", "duplicate", "complete"]
    told = {event["ordinal"]: event["rewards"] for event in bench.of("told")}
    assert told[0] == told[1] == told[2] != told[3]
    order_of_tells = [event["ordinal"] for event in bench.of("told")]
    assert order_of_tells.index(0) < order_of_tells.index(1) < order_of_tells.index(2)


def test_a_duplicate_of_a_failing_child_is_told_nothing_either(bench: Bench) -> None:
    def first_fails(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key == 0 else by_size(job)

    search = bench.run(strategy=[0, 1, 2], budget=2, slots=2, score=first_fails)
    assert states(search) == ["failed", "duplicate", "complete"]
    assert [event["rewards"] for event in bench.of("told")][:2] == [None, None]
    assert len(bench.workers.taken) == 2


def test_a_failure_is_no_score_so_its_network_may_be_tried_again(bench: Bench) -> None:
    def first_fails(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key == 0 else by_size(job)

    search = bench.run(strategy=[0, 1], budget=2, score=first_fails)
    assert states(search) == ["failed", "complete"]
    assert search.trials[0].seed != search.trials[1].seed


def test_another_fidelity_is_another_score(bench: Bench) -> None:
    genotype = bench.space.genome.unrank(0)
    proposals = [Proposal(genotype, 0.5), Proposal(genotype), Proposal(genotype, 0.5)]
    search = bench.run(strategy=proposals, budget=3)
    assert states(search) == ["complete", "complete", "duplicate"]
    assert search.trials[2].of == 0


def test_equal_hashes_of_different_networks_are_no_duplicates(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.children.digest", lambda graph: "the same for all")
    search = bench.run(strategy=[0, 2, 1], budget=2)
    assert states(search) == ["complete", "complete"]
    again = bench.run(strategy=[0, 2, 1, 3, 4], budget=3, slots=2)
    assert states(again) == ["complete", "complete", "duplicate", "duplicate", "complete"]


# How it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 3])
def test_a_space_smaller_than_the_budget_ends_early_with_the_reason(
    bench: Bench, slots: int
) -> None:
    search = bench.run(budget=100, slots=slots)
    assert search.ended == "the strategy has nothing left to propose"
    assert Counter(states(search)) == {"complete": 6, "duplicate": 6}
    assert bench.events[-1] == {"event": "ended", "reason": search.ended, "outcome": "done"}


def test_a_hundred_fruitless_asks_in_a_row_end_the_run(bench: Bench) -> None:
    search = bench.run(strategy=[0, 2] + 60 * [0] + 200 * [11], limits=limit(bench), budget=5)
    assert len(search.trials) == 2 + FRUITLESS_ASKS
    assert search.ended == (
        "100 proposals in a row brought nothing new: 40 beyond the limits, 60 known already"
    )


def limit(bench: Bench) -> Limits:
    return Limits(max_params=params_of(bench, 8))


def test_only_asks_in_a_row_are_counted(bench: Bench) -> None:
    search = bench.run(strategy=[0, *99 * [1], 2, *99 * [1], 4], budget=3)
    assert search.ended == "budget spent"


def test_a_child_that_starts_ends_the_row_although_nothing_has_finished(bench: Bench) -> None:
    bench.run(strategy=[0, *60 * [1], 2, *60 * [3], 4], budget=3, slots=3)
    assert bench.workers.busiest == 3


@pytest.mark.parametrize("slots", [1, 2])
def test_a_run_of_infeasible_asks_ends_without_a_trial(bench: Bench, slots: int) -> None:
    search = bench.run(limits=Limits(max_params=1), slots=slots, strategy=150 * [3])
    assert search.started == 0
    assert search.best is None
    assert "100 beyond the limits, 0 known already" in search.ended
    assert all(trial.cause == "infeasible" for trial in search.trials)
    assert "params " in search.trials[0].message
    assert "above the limit of 1" in search.trials[0].message


def test_a_strategy_that_stops_proposing_while_children_run_is_asked_again(bench: Bench) -> None:
    class Waits(Listed):
        """Proposes its second child only once it was told of the first."""

        def _propose(self, rng: np.random.Generator) -> Proposal | None:
            asked, told = len(self.history.asked), len(self.history.successes)
            return Proposal(self.genome.unrank(2 * asked)) if asked == told else None

    search = bench.run(strategy=Waits, budget=3, slots=3)
    assert states(search) == 3 * ["complete"]
    assert search.ended == "budget spent"


@pytest.mark.parametrize("name", ["max_params", "max_macs"])
def test_what_is_at_the_limit_is_within_it(bench: Bench, name: str) -> None:
    child = Children(bench.space, Limits()).child(bench.space.genome.unrank(4))
    most = {"max_params": child.params, "max_macs": child.macs}[name]
    search = bench.run(strategy=[4, 6], budget=1, limits=Limits(**{name: most}))
    assert states(search) == ["complete"]
    search = bench.run(strategy=[6, 4], budget=1, limits=Limits(**{name: most}))
    assert states(search) == ["infeasible", "complete"]


def test_latency_is_measured_where_it_is_limited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def fake(graph: Graph, *, device: str) -> float:
        measured.append(1)
        return 1.0 if len(measured) > 1 else 50.0

    monkeypatch.setattr("nas.keeping_limits.network_latency_ms", fake)
    search = bench.run(strategy=[0, 2], budget=1, limits=Limits(max_latency_ms=10))
    assert states(search) == ["infeasible", "complete"]
    assert "latency_ms 50 is above the limit of 10" in search.trials[0].message
    assert search.trials[1].latency_ms == 1.0
    assert bench.of("asked")[1]["latency_ms"] == 1.0
    bench.run(strategy=[0], budget=1)
    assert len(measured) == 2


def test_a_network_that_the_device_cannot_compute_is_infeasible(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([math.inf, 1.0])
    monkeypatch.setattr("nas.keeping_limits.network_latency_ms", lambda *_, **__: next(found))
    search = bench.run(strategy=[0, 2], budget=1, limits=Limits(max_latency_ms=10))
    assert states(search) == ["infeasible", "complete"]
    assert search.trials[0].message == "cpu cannot compute the network"


# Failures ----------------------------------------------------------------------------------


def test_ten_failures_in_a_row_end_the_run_with_their_causes(bench: Bench) -> None:
    def score(job: Job) -> Failure:
        cause = "nan" if job.key % 5 else "oom_device"
        return Failure(cause, "text\n" + 1000 * "x", "")

    genotype = bench.space.genome.unrank(0)
    with pytest.raises(SearchFailed) as caught:
        bench.run(strategy=50 * [Proposal(genotype)], budget=50, score=score)
    assert str(caught.value).startswith("10 of 10 children failed: 8 x nan: text")
    assert "2 x oom_device: text" in str(caught.value)
    assert len(str(caught.value)) < 600
    reason = str(caught.value)
    assert bench.events[-1] == {"event": "ended", "reason": reason, "outcome": "failed"}


@pytest.mark.parametrize("budget", [1, 3])
def test_a_small_budget_that_fails_as_a_whole_is_a_failure(bench: Bench, budget: int) -> None:
    with pytest.raises(SearchFailed, match=f"{budget} of {budget} children failed"):
        bench.run(strategy=[0, 2, 4, 6], budget=budget, score=failing)


def test_nine_failures_in_a_row_do_not(bench: Bench) -> None:
    def score(job: Job) -> Evaluation | Failure:
        return by_size(job) if job.key % 10 == 9 else failing(job)

    genotype = bench.space.genome.unrank(0)
    search = bench.run(strategy=19 * [Proposal(genotype)], budget=10, score=score)
    assert Counter(states(search)) == {"failed": 9, "complete": 1}


def test_more_than_half_of_twenty_end_the_run(bench: Bench) -> None:
    genome = bench.space.genome
    fidelities = [Proposal(genome.unrank(0), n / 40) for n in range(1, 41)]

    def most(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key % 9 < 5 else by_size(job)

    with pytest.raises(SearchFailed, match=r"1\d of 2\d children failed: 1\d x nan"):
        bench.run(strategy=fidelities, budget=40, score=most)
    assert len(bench.of("started")) >= 20

    def half(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key % 2 else by_size(job)

    other = Bench(bench.space, bench.path.parent / "..")
    other.path = bench.path.with_name("half.jsonl")
    assert other.run(strategy=fidelities, budget=40, score=half).started == 40


def test_a_failure_is_recorded_with_cause_message_and_traceback(bench: Bench) -> None:
    def score(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key == 0 else by_size(job)

    search = bench.run(strategy=[0, 2], budget=2, score=score)
    assert (search.trials[0].cause, search.trials[0].message) == ("nan", "the loss became nan")
    assert bench.of("finished")[0]["trace"] == "Traceback ..."
    assert search.trials[0].metrics == {}


def test_whoever_interrupts_is_obeyed(bench: Bench) -> None:
    def interrupt(job: Job) -> Evaluation:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(score=interrupt)
    assert [event["event"] for event in bench.events] == ["asked", "started"]


# The record --------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("order", [first, last])
@pytest.mark.parametrize("strategy", [RandomSearch, Evolution])
def test_every_ask_is_told_once_and_recorded_in_order(
    bench: Bench, slots: int, order: Callable[[int], int], strategy: type[Strategy]
) -> None:
    def score(job: Job) -> Evaluation | Failure:
        return failing(job) if job.key % 4 == 2 else by_size(job)

    search = bench.run(
        strategy=strategy, budget=20, slots=slots, order=order, score=score, limits=limit(bench)
    )
    count = len(search.trials)
    assert [trial.ordinal for trial in search.trials] == list(range(count))
    assert {"complete", "duplicate", "infeasible", "failed"} >= set(states(search))
    assert len(set(states(search))) >= 3
    assert [event["ordinal"] for event in bench.of("asked")] == list(range(count))
    for kind in ("finished", "told"):
        assert sorted(event["ordinal"] for event in bench.of(kind)) == list(range(count))
    assert not +bench.strategy.history._open  # nothing is left to be told
    assert len(bench.strategy.history.asked) == count
    for ordinal in range(count):
        kinds = [event["event"] for event in bench.events if event.get("ordinal") == ordinal]
        kinds = [kind for kind in kinds if kind != "waits"]
        started = ["started"] if search.trials[ordinal].state in {"complete", "failed"} else []
        assert kinds == ["asked", *started, "finished", "told"]
    assert bench.events[-1]["event"] == "ended"


def test_the_record_holds_what_the_trials_hold(bench: Bench) -> None:
    search = bench.run(strategy=[0, 1, 4, 11], budget=2, limits=limit(bench))
    for trial, asked, finished in zip(
        search.trials, bench.of("asked"), bench.of("finished"), strict=True
    ):
        assert asked["genotype"] == trial.genotype.to_dict()
        assert (asked["hash"], asked["params"], asked["macs"]) == (
            trial.digest,
            trial.params,
            trial.macs,
        )
        assert (finished["state"], finished["metrics"]) == (trial.state, trial.metrics)
        assert (finished["cause"], finished["of"]) == (trial.cause, trial.of)
        assert finished["seconds"] == trial.seconds


def test_the_record_is_ahead_of_the_act(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    submit = Slots.submit

    def watched(self: Slots, job: Job) -> None:
        seen.append([event["event"] for event in bench.events])
        submit(self, job)

    monkeypatch.setattr(Slots, "submit", watched)
    bench.run(strategy=[0, 2], budget=2)
    assert [events[-2:] for events in seen] == 2 * [["asked", "started"]]


@pytest.mark.parametrize("strategy", [RandomSearch, Evolution])
def test_the_same_seed_gives_the_same_history(bench: Bench, strategy: type[Strategy]) -> None:
    runs = []
    for seed in (1, 1, 2):
        search = bench.run(strategy=strategy, budget=5, seed=seed)
        runs.append([(t.genotype, t.digest, t.seed, t.state, t.metrics) for t in search.trials])
    assert runs[0] == runs[1] != runs[2]


def test_every_trial_has_a_seed_of_its_own(bench: Bench) -> None:
    search = bench.run(budget=6)
    seeds = [trial.seed for trial in search.trials]
    assert len(set(seeds)) == len(seeds)
    taken = {job.key: job.seed for job in bench.workers.taken}
    assert taken == {key: seeds[key] for key in taken}


def test_settling_a_job_names_every_trial_that_is_over_by_it(bench: Bench) -> None:
    search = bench.run(strategy=[0, 1, 2], budget=2, slots=2)
    assert bench.settled == [search.trials[0], search.trials[1], search.trials[2]]


# Rewards and the best ----------------------------------------------------------------------


def test_rewards_are_turned_for_metrics_that_are_minimised(bench: Bench) -> None:
    for objective, sign in (
        (Objective("accuracy", "maximize"), 1),
        (Objective("log_loss", "minimize"), -1),
    ):
        search = bench.run(strategy=[0, 10], budget=2, objective=objective)
        told = [success.rewards for success in bench.strategy.history.successes]
        assert told == [(sign * trial.metrics[objective.metric],) for trial in search.trials]
        assert search.best is not None
        assert search.best.ordinal == 1  # the larger one is better either way


def test_the_best_of_equals_is_the_cheaper_one(bench: Bench) -> None:
    def equal(job: Job) -> Evaluation:
        return Evaluation({"accuracy": 0.5, "log_loss": 0.5})

    search = bench.run(strategy=[8, 0, 4], budget=3, score=equal)
    assert [trial.ordinal for trial in search.ranking()] == [1, 2, 0]
    assert all(one.macs < other.macs for one, other in pairwise(search.ranking()))


def test_only_the_highest_fidelity_is_ranked(bench: Bench) -> None:
    genome = bench.space.genome

    def better_when_short(job: Job) -> Evaluation:
        return Evaluation({"accuracy": 1 - job.fidelity / 2, "log_loss": 1.0})

    proposals = [Proposal(genome.unrank(n), fidelity) for n, fidelity in ((0, 0.5), (2, 1.0))]
    search = bench.run(strategy=proposals, budget=2, score=better_when_short)
    assert [trial.ordinal for trial in search.ranking()] == [1]


def test_a_proposal_gets_its_share_of_the_fidelity_of_the_plan(bench: Bench) -> None:
    genome = bench.space.genome
    proposals = [Proposal(genome.unrank(0)), Proposal(genome.unrank(2), 0.25)]
    bench.run(strategy=proposals, budget=2, fidelity=0.5)
    assert [job.fidelity for job in bench.workers.taken] == [0.5, 0.125]
    assert [event["fidelity"] for event in bench.of("asked")] == [0.5, 0.125]


def test_a_child_that_was_stopped_early_has_a_score_and_no_rank(bench: Bench) -> None:
    def stops(job: Job) -> Evaluation:
        details = {"fidelity": 0.5 if job.key == 0 else 1.0}
        return Evaluation(by_size(job).metrics, details=details)

    search = bench.run(strategy=[10, 0], budget=2, score=stops)
    assert states(search) == ["stopped", "complete"]
    assert search.best is not None
    assert search.best.ordinal == 1
    assert [event["rewards"] is None for event in bench.of("told")] == [False, False]


def test_children_get_the_graph_of_their_genotype(bench: Bench) -> None:
    search = bench.run(strategy=[0, 4, 8], budget=3)
    graphs: list[Graph] = [job.graph for job in bench.workers.taken]
    assert [graph.params for graph in graphs] == [trial.params for trial in search.trials]


# Going on from a record ----------------------------------------------------------------------


def history(record: Record) -> list[tuple[Any, ...]]:
    return [(t.ordinal, t.genotype, t.seed, t.state, t.metrics, t.of) for t in record.trials]


def mixed(job: Job) -> Evaluation | Failure:
    """Fails for one width in three."""
    return failing(job) if job.graph.params % 3 == 0 else by_size(job)


def public(record: Record) -> dict[str, Any]:
    """All that a record says, but for the clock."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in {"_handlers", "_at", "began", "objective"}
    }


class Again:
    """The search of a bench once more, from a journal that ends early."""

    def __init__(self, bench: Bench, strategy: type[Strategy], **plan: Any) -> None:
        self.bench, self.strategy, self.plan = bench, strategy, plan

    def run(self, journal: bytes, slots: int, score: Score = mixed) -> Record:
        bench = self.bench
        children = Children(bench.space, limit(bench))
        plan = Plan(
            budget=self.plan["budget"],
            seed=0,
            objective=Objective("accuracy", "maximize"),
            limits=limit(bench),
        )
        arguments = bench.space.genome, plan.budget, ("maximize",), children
        bench.strategy = self.strategy(*arguments)
        bench.workers = Slots(slots, score, first)
        bench.path.write_bytes(journal)
        return bench.go_on(plan, children)


@pytest.mark.parametrize("strategy", [RandomSearch, Evolution])
def test_with_one_worker_a_search_cut_anywhere_ends_like_the_calm_one(
    bench: Bench, strategy: type[Strategy]
) -> None:
    calm = history(bench.run(strategy=strategy, budget=5, score=mixed, limits=limit(bench)))
    lines = bench.path.read_bytes().splitlines(keepends=True)
    again = Again(bench, strategy, budget=5)
    assert len(lines) > 20
    for count in range(1, len(lines) + 1):
        for torn in (b"", b'{"event":"as'):
            record = again.run(b"".join(lines[:count]) + torn, slots=1)
            assert history(record) == calm, f"after {lines[count - 1]!r}"
            assert record.started == 5
            assert not +bench.strategy.history._open


@pytest.mark.parametrize("strategy", [RandomSearch, Evolution])
def test_with_several_workers_a_search_cut_anywhere_loses_and_repeats_nothing(
    bench: Bench, strategy: type[Strategy]
) -> None:
    arguments = {"budget": 5, "score": mixed, "slots": 3, "order": last, "limits": limit(bench)}
    bench.run(strategy=strategy, **arguments)
    lines = bench.path.read_bytes().splitlines(keepends=True)
    again = Again(bench, strategy, budget=5)
    for count in range(1, len(lines) + 1):
        bench.path.write_bytes(b"".join(lines[:count]))
        before = Record.of(read_events(bench.path), Objective("accuracy", "maximize"), 5)
        after = again.run(b"".join(lines[:count]), slots=2)
        over = [trial for trial in before.trials if trial.state != "running"]
        assert [after.trials[trial.ordinal] for trial in over] == over
        assert [trial.ordinal for trial in after.trials] == list(range(len(after.trials)))
        assert "running" not in states(after)
        trained = [t for t in after.trials if t.state in {"complete", "failed", "stopped"}]
        assert len(trained) == after.started <= 5
        told = [event["ordinal"] for event in bench.of("told")]
        assert sorted(told) == list(range(len(after.trials)))


@pytest.mark.parametrize("slots", [1, 3])
def test_the_record_of_a_journal_is_the_record_that_wrote_it(bench: Bench, slots: int) -> None:
    bench.run(strategy=Evolution, budget=5, score=mixed, slots=slots, limits=limit(bench))
    read = Record.of(read_events(bench.path), Objective("accuracy", "maximize"), 5)
    assert public(read) == public(bench.record)


def test_a_trial_in_hand_is_taken_up_under_its_ordinal_and_seed(bench: Bench) -> None:
    bench.run(strategy=RandomSearch, budget=5, score=mixed, limits=limit(bench))
    lines = bench.path.read_bytes().splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if b'"started"' in line)
    again = Again(bench, RandomSearch, budget=5)
    again.run(b"".join(lines[: place + 1]), slots=1)
    job = bench.workers.taken[0]
    started = [event for event in bench.of("started") if event["ordinal"] == job.key]
    assert [event["attempt"] for event in started] == [1, 2]
    asked = bench.of("asked")[job.key]
    assert (asked["ordinal"], asked["seed"]) == (job.key, job.seed)


@pytest.mark.parametrize("cause", ["worker_died", "node_lost"])
def test_a_child_whose_worker_was_lost_is_tried_once_more(bench: Bench, cause: str) -> None:
    deaths: Counter[int] = Counter()

    def dies(job: Job) -> Evaluation | Failure:
        deaths[job.key] += 1
        fatal = job.key == 1 or (job.key == 0 and deaths[0] == 1)
        return Failure(cause, "it died", "") if fatal else by_size(job)

    record = bench.run(strategy=[0, 2, 4], budget=3, score=dies)
    assert states(record) == ["complete", "failed", "complete"]
    assert deaths == {0: 2, 1: 2, 2: 1}
    assert record.trials[1].cause == cause
    assert [event["ordinal"] for event in bench.of("lost")] == [0, 1, 1]
    seeds = [job.seed for job in bench.workers.taken if job.key == 0]
    assert seeds[0] == seeds[1]


def test_a_twin_of_a_child_that_is_tried_again_waits_on(bench: Bench) -> None:
    deaths: Counter[int] = Counter()

    def dies(job: Job) -> Evaluation | Failure:
        deaths[job.key] += 1
        return Failure("worker_died", "", "") if deaths[job.key] == 1 else by_size(job)

    record = bench.run(strategy=[0, 1, 2, 0], budget=2, slots=2, score=dies)
    assert states(record) == ["complete", "duplicate", "complete"]
    assert record.trials[1].metrics == record.trials[0].metrics != {}


def test_losses_are_counted_across_sessions(bench: Bench) -> None:
    def dies(job: Job) -> Failure:
        return Failure("worker_died", "it died", "")

    with pytest.raises(SearchFailed):
        bench.run(strategy=RandomSearch, budget=1, score=dies)
    lines = bench.path.read_bytes().splitlines(keepends=True)
    once = next(at for at, line in enumerate(lines) if b'"lost"' in line) + 1
    record = Record.of(read_events(bench.path), Objective("accuracy", "maximize"), 1)
    assert record.losses[0] == 2
    again = Again(bench, RandomSearch, budget=1)
    bench.path.write_bytes(b"".join(lines[:once]))
    after = again.run(bench.path.read_bytes(), slots=1, score=by_size)
    assert (after.losses[0], after.trials[0].state) == (1, "complete")


def test_failures_are_counted_anew_after_an_end(bench: Bench) -> None:
    with pytest.raises(SearchFailed):
        bench.run(strategy=RandomSearch, budget=3, score=failing)
    assert bench.record.outcome == "failed"
    assert bench.record.failures_in_a_row == 0


def test_a_larger_budget_goes_on(bench: Bench) -> None:
    bench.run(strategy=RandomSearch, budget=2, limits=limit(bench))
    before = history(bench.record)
    with Journal(bench.path) as journal:
        for budget in (2, 4):
            journal.append("opened", **opened(budget, 1))
    again = Again(bench, RandomSearch, budget=4)
    record = again.run(bench.path.read_bytes(), slots=1, score=by_size)
    assert history(record)[: len(before)] == before
    assert record.started == 4


def test_a_proposal_of_another_space_is_refused(bench: Bench) -> None:
    bench.run(strategy=RandomSearch, budget=2)
    journal = bench.path.read_bytes().replace(b'"width":', b'"breadth":')
    with pytest.raises(NasError, match="does not fit this space") as caught:
        Again(bench, RandomSearch, budget=2).run(journal, slots=1)
    assert caught.value.exit_code == 4


def test_a_space_that_builds_another_network_now_is_refused(bench: Bench) -> None:
    bench.run(strategy=RandomSearch, budget=2)
    lines = bench.path.read_bytes().splitlines(keepends=True)
    digest = bench.of("asked")[0]["hash"].encode()
    place = next(at for at, line in enumerate(lines) if b'"started"' in line)
    journal = b"".join(lines[: place + 1]).replace(digest, b"0" * len(digest))
    with pytest.raises(NasError, match="builds another network for trial 0") as caught:
        Again(bench, RandomSearch, budget=2).run(journal, slots=1)
    assert caught.value.exit_code == 4


ASKED = {
    "ordinal": 0,
    "genotype": {"width": 2, "label": "a"},
    "proposed_fidelity": 1.0,
    "fidelity": 1.0,
    "hash": "ab",
    "params": 1,
    "macs": 1,
    "latency_ms": None,
    "seed": 1,
}
FINISHED = {
    "ordinal": 0,
    "attempt": 1,
    "state": "complete",
    "metrics": {"accuracy": 0.5},
    "seconds": 1.0,
    "cause": "",
    "message": "",
    "of": None,
    "trace": "",
}


@pytest.mark.parametrize(
    "events",
    [
        [("invented", {})],
        [("asked", {**ASKED, "ordinal": 1})],
        [("asked", {name: value for name, value in ASKED.items() if name != "hash"})],
        [("asked", {**ASKED, "genotype": 3})],
        [("asked", {**ASKED, "genotype": {"width": None}})],
        [("asked", {**ASKED, "seed": "1"})],
        [("asked", {**ASKED, "macs": True})],
        [("asked", {**ASKED, "more": 1})],
        [("asked", {**ASKED, "screened": {"score": "params", "of": -1, "value": 1.0}})],
        [("asked", {**ASKED, "at": "soon"})],
        [("asked", ASKED), ("started", {"ordinal": -1, "attempt": 1})],
        [("asked", ASKED), ("finished", {**FINISHED, "metrics": {"accuracy": "0.5"}})],
        [
            ("asked", ASKED),
            ("started", {"ordinal": 0, "attempt": 1}),
            ("finished", {**FINISHED, "metrics": {"log_loss": 0.5}}),
        ],
        [("asked", ASKED), ("waits", {"ordinal": 0, "of": 1})],
        [("ended", {"reason": "over", "outcome": "perhaps"})],
        [("asked", {**ASKED, "proposed_fidelity": 2.0})],
        [("started", {"ordinal": 0, "attempt": 1})],
        [("asked", ASKED), ("started", {"ordinal": 0, "attempt": "x"})],
        [("asked", ASKED), ("finished", {**FINISHED, "state": "running"})],
        [("asked", ASKED), ("finished", FINISHED), ("finished", FINISHED)],
        [("asked", ASKED), ("told", {"ordinal": 0, "rewards": None})],
        [("asked", ASKED), ("finished", {**FINISHED, "metrics": None})],
        [("rescored", {"ordinal": 0})],
        [("opened", {"budget": None})],
    ],
)
def test_a_journal_that_contradicts_itself_is_refused_with_its_line(
    bench: Bench, events: list[tuple[str, dict[str, Any]]]
) -> None:
    with Journal(bench.path):  # its header
        pass
    with bench.path.open("a") as file:
        for event, values in events:
            file.write(dumps({"event": event, "at": 0.5, **values}) + "\n")
    with pytest.raises(NasError, match=f"line {len(events) + 1} is damaged:") as caught:
        Record.of(read_events(bench.path), Objective("accuracy", "maximize"), 5)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
