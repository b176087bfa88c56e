"""Several proposals for each child: which is asked for, what is written down, what is refused."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from estimators import proxy
from estimators.data import from_arrays
from estimators.estimator import Estimator, Evaluation
from estimators.task import Classification
from nas.children import Children
from nas.configuration import Configuration
from nas.driving import _outcome
from nas.dry_run import dry_run, text
from nas.engine import Search
from nas.errors import NasError
from nas.journal import Journal, read_events
from nas.limits import Limits, Objective
from nas.plan import ASK, Plan, rng_of
from nas.preparation import prepare
from nas.proposals import Choice, Proposals
from nas.record import Record
from nas.run_folder import read_record, write_json
from nas.screening import Screen
from nas.tune import tune_run
from nas.untrained import UntrainedScore
from nas.workers import Job, Outcome, Workers
from search_spaces.genome import Genotype
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads
from strategies.evolution import Evolution
from strategies.random import RandomSearch
from strategies.strategy import Proposal, Strategy

Data = tuple[np.ndarray, np.ndarray]
SHAPE = (1, 8, 8)
MANY = 60  # draws, so that all six networks of the space are among them
WIDTHS = [12, 10, 8, 6, 4, 2]  # of these networks, the largest first


class Careless(Strategy):
    """Draws anything, known and beyond the limits alike."""

    def recommend(self) -> Genotype:
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self.genome.sample_genotype(rng))


class Follows(Careless):
    """Draws from other genotypes with each success."""

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        rank = 3 * len(self.history.successes) + int(rng.integers(4))
        return Proposal(self.genome.unrank(rank % self.genome.size))


class Bench:
    """Searches in the space of twelve genotypes and six networks, one child at a time."""

    def __init__(self, space: SearchSpace, images: Data, folder: Path) -> None:
        self.space, self.path = space, folder / "events.jsonl"
        self.images, self.task = from_arrays(*images, name="images"), Classification(2)

    def screen(self, looked_at: int = MANY, score: str = "params") -> Screen:
        prepared = proxy.Proxy(score=score, batch_size=8)
        prepared.prepare(self.images, self.task)
        children = Children(self.space, Limits())
        untrained = UntrainedScore(prepared, self.task, children=children, seed=0)
        return Screen(untrained, looked_at)

    def run(
        self,
        screen: Screen | None,
        *,
        strategy: type[Strategy] = RandomSearch,
        budget: int = 6,
        limits: Limits | None = None,
        journal: bytes = b"",
        foresees: bool = False,
        seed: int = 0,
    ) -> Record:
        """Search from where a journal ends."""
        plan = Plan(budget, seed, Objective("accuracy", "maximize"), limits or Limits())
        children = Children(self.space, plan.limits)
        self.path.write_bytes(journal)
        if not journal:
            self.path.unlink()
        events = list(read_events(self.path)) if journal else []
        record = Record.of(events, plan.objective, budget)
        with Journal(self.path, record.apply) as file:
            search = Search(
                plan,
                strategy(self.space.genome, budget, ("maximize",), children),
                children=children,
                record=record,
                journal=file,
                screen=screen,
            )
            search.give_back(events)
            while not search.over:
                while foresees and search.foresee():
                    pass
                job = search.next_job()
                while foresees and search.foresee():
                    pass
                if job is not None:
                    search.settle(Outcome(job.key, by_seed(job), 0.5))
        return record

    @property
    def screened(self) -> list[dict[str, Any]]:
        return [event["screened"] for event in read_events(self.path) if event["event"] == "asked"]


def by_seed(job: Job) -> Evaluation:
    """A score that has nothing to do with size, so that strategies go their own ways."""
    accuracy = job.seed % 1000 / 1000
    return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy})


def history(record: Record) -> list[tuple[Any, ...]]:
    return [(t.ordinal, t.genotype, t.seed, t.state, t.metrics) for t in record.trials]


def widths(record: Record) -> list[int]:
    return [int(trial.genotype["width"]) for trial in record.trials]


@pytest.fixture
def bench(mini: type[SearchSpace], images: Data, tmp_path: Path) -> Bench:
    return Bench(mini(SHAPE, 2), images, tmp_path)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], float]], list[int]]:
    """Puts a function of the parameters in the place of a score; returns what it was asked."""

    def put(function: Callable[[int], float]) -> list[int]:
        asked: list[int] = []

        def score(one: Any) -> float:
            asked.append(one.graph.params)
            return function(one.graph.params)

        monkeypatch.setitem(proxy._SCORES, "params", score)  # type: ignore[arg-type] # a dict
        return asked

    return put


# Which one is asked for ----------------------------------------------------------------------


def test_the_proposal_that_scores_best_is_asked_for_and_each_network_once(bench: Bench) -> None:
    record = bench.run(bench.screen())
    assert widths(record) == WIDTHS
    assert {trial.state for trial in record.trials} == {"complete"}


def test_a_journal_says_how_each_was_chosen(bench: Bench) -> None:
    record = bench.run(bench.screen())
    assert bench.screened == [
        {"score": "params", "of": 6 - trial.ordinal, "value": float(trial.params)}
        for trial in record.trials
    ]


def test_without_a_screen_a_journal_says_nothing_of_one(bench: Bench) -> None:
    bench.run(None)
    asked = [event for event in read_events(bench.path) if event["event"] == "asked"]
    assert all("screened" not in event for event in asked)


def test_the_first_draw_is_that_of_a_run_without_a_screen(
    bench: Bench, scores: Callable[[Callable[[int], float]], list[int]]
) -> None:
    scores(lambda params: 1.0)  # of equals the first one drawn
    for seed in range(5):
        strategy = RandomSearch(bench.space.genome, 1, ("maximize",), None)
        proposal = strategy.ask(rng_of(seed, ASK, 0))
        assert proposal is not None
        calm = proposal.genotype
        assert bench.run(None, budget=1, seed=seed).trials[0].genotype == calm
        assert bench.run(bench.screen(9), budget=1, seed=seed).trials[0].genotype == calm


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_cannot_be_scored_is_not_chosen(
    bench: Bench, scores: Callable[[Callable[[int], float]], list[int]], bad: float
) -> None:
    largest = max(Children(bench.space, Limits()).child(one).params for one in all_of(bench))
    scores(lambda params: bad if params == largest else -params)
    assert widths(bench.run(bench.screen())) == [2, 4, 6, 8, 10, 12]
    assert [one["value"] for one in bench.screened][-1] is None


def all_of(bench: Bench) -> list[Genotype]:
    return [bench.space.genome.unrank(rank) for rank in range(bench.space.genome.size)]


def test_where_none_can_be_scored_the_first_is_taken(
    bench: Bench, scores: Callable[[Callable[[int], float]], list[int]]
) -> None:
    def breaks(params: int) -> float:
        raise RuntimeError("no memory")

    calm = bench.run(None, budget=1).trials[0].genotype
    scores(breaks)
    record = bench.run(bench.screen(), budget=3)
    assert record.trials[0].genotype == calm
    assert [trial.state for trial in record.trials] == 3 * ["complete"]
    assert [one["value"] for one in bench.screened] == 3 * [None]


def test_where_nothing_new_is_drawn_it_ends_as_without_a_screen(bench: Bench) -> None:
    record = bench.run(bench.screen(), budget=100)
    assert record.ended == "the strategy has nothing left to propose"
    assert dict(record.states()) == {"complete": 6, "duplicate": 6}
    assert [one["of"] for one in bench.screened] == [6, 5, 4, 3, 2, 1, *(6 * [0])]


def test_what_is_beyond_a_limit_is_not_chosen(bench: Bench) -> None:
    middle = Children(bench.space, Limits()).child(bench.space.genome.genotype(WIDE)).params
    record = bench.run(
        bench.screen(), strategy=Careless, budget=4, limits=Limits(max_params=middle)
    )
    assert widths(record) == [8, 6, 4, 2]


WIDE = {"width": 8, "label": "a"}


def test_with_a_limit_on_latency_the_best_that_is_fast_enough_is_chosen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[float] = []

    def latency(graph: Graph, **_: Any) -> float:
        timed.append(graph.params)
        return timed[-1]

    middle = Children(bench.space, Limits()).child(bench.space.genome.genotype(WIDE)).params
    monkeypatch.setattr("nas.keeping_limits.network_latency_ms", latency)
    record = bench.run(bench.screen(), budget=1, limits=Limits(max_latency_ms=middle))
    assert widths(record) == [8]
    assert len(timed) == 3  # two larger ones, and none that is smaller


# Foresight and resume ------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [RandomSearch, Evolution, Follows])
def test_scores_ahead_of_the_ask_change_nothing(bench: Bench, strategy: type[Strategy]) -> None:
    calm = history(bench.run(bench.screen(4), strategy=strategy))
    said = bench.screened
    assert history(bench.run(bench.screen(4), strategy=strategy, foresees=True)) == calm
    assert bench.screened == said


def test_all_is_scored_while_workers_are_busy_one_after_the_other(
    bench: Bench, scores: Callable[[Callable[[int], float]], list[int]]
) -> None:
    asked = scores(float)
    screen, record = bench.screen(), Record(Objective("accuracy", "maximize"), 9)
    children = Children(bench.space, Limits())
    strategy = RandomSearch(bench.space.genome, 9, ("maximize",), children)
    proposals = Proposals(strategy, children=children, record=record, seed=0, screen=screen)
    pieces = 1
    while proposals.foresee():
        assert len(asked) <= pieces
        pieces += 1
    assert pieces == MANY
    assert not strategy.history.asked
    before = list(asked)
    assert len(set(before)) == 6
    choice = proposals.ask(lambda child: True)
    assert isinstance(choice, Choice)
    assert choice.proposal.genotype["width"] == 12
    assert asked == before  # nothing is left to do for who waits
    assert list(strategy.history.asked) == [choice.proposal]


def test_a_search_cut_anywhere_ends_like_the_calm_one(bench: Bench) -> None:
    calm = history(bench.run(bench.screen(3, "naswot"), strategy=Follows, budget=4))
    said, lines = bench.screened, bench.path.read_bytes().splitlines(keepends=True)
    assert len({one["value"] for one in said}) == 4
    for count in range(1, len(lines) + 1):
        journal = b"".join(lines[:count])
        screen = bench.screen(3, "naswot")  # which has scored nothing yet
        record = bench.run(screen, strategy=Follows, budget=4, journal=journal)
        assert history(record) == calm, f"after {lines[count - 1]!r}"
        assert bench.screened == said


def test_a_slow_draw_ends_what_is_foreseen_until_the_next_ask(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.proposals.SCREENED_SECONDS", 0.0)
    record = Record(Objective("accuracy", "maximize"), 9)
    children = Children(bench.space, Limits())
    strategy = RandomSearch(bench.space.genome, 9, ("maximize",), children)
    screen = bench.screen(3)
    proposals = Proposals(strategy, children=children, record=record, seed=0, screen=screen)
    for _ in range(2):
        assert len(foreseen_by(proposals, strategy, monkeypatch)) == 1
        assert not foreseen_by(proposals, strategy, monkeypatch)
        assert proposals.ask(lambda child: True) is not None


def foreseen_by(
    proposals: Proposals, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> list[Proposal | None]:
    """What is drawn in one turn."""
    drawn: list[Proposal | None] = []
    propose = strategy._propose

    def noted(rng: np.random.Generator) -> Proposal | None:
        drawn.append(propose(rng))
        return drawn[-1]

    with monkeypatch.context() as patch:
        patch.setattr(strategy, "_propose", noted)
        proposals.foresee()
    return drawn


class Busy(Workers):
    """All at work, for ever."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    @property
    def free(self) -> int:
        return 0

    def submit(self, job: Job) -> None:
        raise AssertionError("nothing is free")

    def wait(self, timeout: float) -> None:
        self.waits.append(timeout)

    def activity(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        pass


def test_an_outcome_is_looked_for_after_each_piece_that_is_foreseen() -> None:
    workers, pieces = Busy(), iter([True, True, False])
    for _ in range(3):
        assert _outcome(workers, lambda: next(pieces)) is None
    assert max(workers.waits[:-1]) < 0.1 < workers.waits[-1]


# A whole run ---------------------------------------------------------------------------------


@pytest.fixture
def given(untrained_run: dict[str, Any]) -> dict[str, Any]:
    return {
        **untrained_run,
        "strategy": "random",
        "budget": 4,
        "screen": "naswot",
        "screen_of": 3,
    }


def test_a_run_is_extended_as_it_was_begun(
    given: dict[str, Any], cheap: type[Estimator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = {**given, "workers": 0, "study": False}, tmp_path / "run"
    calm = nas.search(out=tmp_path / "calm", **whole)
    nas.search(out=folder, **{**whole, "budget": 2})
    run = read_record(folder)
    assert (run.screen, run.screen_of) == ("naswot", 3)
    assert run.derived.screen["batch_size"] == 32
    monkeypatch.setattr("estimators.proxy.BATCH", 16)  # another default by now
    names = {name: given[name] for name in ("space", "data", "estimator")}
    more = nas.resume(folder, budget=4, workers=0, study=False, **names)
    assert [one.genotype for one in more.trials] == [one.genotype for one in calm.trials]
    asked = [one for one in read_events(folder / "events.jsonl") if one["event"] == "asked"]
    assert all(one["screened"]["score"] == "naswot" for one in asked)


def test_a_run_from_before_there_were_screens_goes_on(
    given: dict[str, Any], tmp_path: Path
) -> None:
    plain = {name: value for name, value in given.items() if not name.startswith("screen")}
    folder = tmp_path / "run"
    nas.search(out=folder, **{**plain, "budget": 2, "workers": 0, "study": False})
    document = loads((folder / "run.json").read_bytes())
    assert isinstance(document, dict)
    derived = document["derived"]
    assert isinstance(derived, dict)
    assert (document.pop("screen"), document.pop("screen_of"), derived.pop("screen")) == (
        None,
        None,
        {},
    )
    write_json(folder / "run.json", document)
    names = {name: given[name] for name in ("space", "data", "estimator")}
    more = nas.resume(folder, budget=3, workers=0, study=False, **names)
    assert more.trials[-1].ordinal >= 2


def test_in_ray_tune_proposals_are_screened_too(given: dict[str, Any], tmp_path: Path) -> None:
    configuration = Configuration(**{**given, "screen": "params", "screen_of": MANY})
    with tune_run(tmp_path / "run", configuration) as run:
        suggested = run.searcher.suggest("a")
    assert isinstance(suggested, dict)
    assert suggested["genotype"]["width"] == 12


def test_a_dry_run_says_what_scores_take(given: dict[str, Any]) -> None:
    found = dry_run(Configuration(**given), workers=1)
    assert found["seconds_of_screening"] > 0
    assert re.search(r"screening +\d\.\d\d s before each child", text(found))
    plain = {name: value for name, value in given.items() if not name.startswith("screen")}
    found = dry_run(Configuration(**plain), workers=1)
    assert found["seconds_of_screening"] == 0
    assert "screening" not in text(found)


# What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"screen": "naswott"}, "--screen: there is no 'naswott'; did you mean naswot?"),
        ({"screen": None}, "--screen-of needs --screen"),
        ({"screen_of": 1}, "--screen-of must be at least 2, got 1"),
        ({"strategy": "grid"}, "--screen needs several proposals to choose from, and grid has one"),
        (
            {"objective": ("accuracy", "params"), "strategy": "evolution"},
            "--screen ranks by one --objective, got 2; leave one out",
        ),
        (
            {"estimator": "proxy", "settings": {"estimator": {"score": "naswot"}}},
            "--screen must be another score than that of the estimator, got naswot for both",
        ),
    ],
)
def test_a_screen_that_means_nothing_is_refused(
    given: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError) as caught:
        prepare(Configuration(**{**given, **changes}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_another_score_than_that_of_the_estimator_is_a_screen(given: dict[str, Any]) -> None:
    changes = {"estimator": "proxy", "settings": {"estimator": {"score": "params"}}}
    prepared = prepare(Configuration(**{**given, **changes}))
    assert prepared.screen is not None
    assert (prepared.screen.score.name, prepared.screen.looked_at) == ("naswot", 3)
