"""The shipped contract tests: every built-in passes, and each planted fault is found."""

import importlib
import random
from collections.abc import Callable
from typing import Any, cast, final

import numpy as np
import pytest

import strategies
from nas.testing import StrategyFactory, check_strategy
from search_spaces.genome import Decision, Genome, Genotype
from strategies.history import History
from strategies.random import draw_new
from strategies.strategy import Proposal, Strategy


def built_in(name: str) -> StrategyFactory:
    module, _, cls = strategies.STRATEGIES[name].partition(":")
    return cast("StrategyFactory", getattr(importlib.import_module(module), cls))


# Those of Optuna are as fast as Optuna is, and a model takes time: reinforce 19 ms on a slow core
# that has nothing else to do. Others take 20 ms an ask, whatever is beside them.
ASK_LIMITS_MS = {"nsga2": 400.0, "predictor": 200.0, "reinforce": 60.0, "tpe": 200.0}
SLOW = {*ASK_LIMITS_MS}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in strategies.STRATEGIES
    ],
)
def test_every_built_in_strategy_keeps_the_contract(name: str) -> None:
    check_strategy(built_in(name), ask_limit_ms=ASK_LIMITS_MS.get(name, 20.0))


class Plain(Strategy):
    """Random search whose parts a fault may replace."""

    def recommend(self) -> Genotype:
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        return {}

    def _new(self, rng: np.random.Generator) -> Genotype:
        drawn = draw_new(
            self.genome, self.history, features=self.features, rng=rng, uniform="options"
        )
        return self.genome.sample_options(rng) if drawn is None else drawn

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self._new(rng))


@final
class CountsItsDraws(Plain):
    """Every fourth draw of its own is the first genotype; a resumed one counts from zero."""

    draws = 0

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        self.draws += 1
        return Proposal(self.genome.unrank(0) if self.draws % 4 == 0 else self._new(rng))


@final
class KeepsTheGenerator(Plain):
    """Draws from the first generator it ever got."""

    kept: np.random.Generator | None = None

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        if self.kept is None:
            self.kept = rng
        return Proposal(self._new(self.kept))


@final
class RemembersWhatItDrew(Plain):
    """One draw for each number of asks, whatever generator comes next."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._drawn: dict[int, Genotype] = {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        number = len(self.history.asked)
        if number not in self._drawn:
            self._drawn[number] = self._new(rng)
        return Proposal(self._drawn[number])


@final
class UsesGlobalChance(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self._new(np.random.default_rng(random.getrandbits(32))))


@final
class AnswersInactiveDecisions(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(Genotype((*self._new(rng).answers, ("kernel_9", 3))))


@final
class AnswersByTheWrongType(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        answers = self._new(rng).answers
        return Proposal(Genotype(tuple((k, 1 if v == 1.0 else v) for k, v in answers)))


@final
class TrainsTooLong(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self._new(rng), fidelity=1.5)


@final
class IgnoresLimits(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self.genome.sample_options(rng))


@final
class WaitsForTells(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        waits = len(self.history.asked) > 4 and not self.history.successes
        return None if waits else Proposal(self._new(rng))


@final
class RecommendsTheUntold(Plain):
    def recommend(self) -> Genotype:
        self.history.best()
        return self.genome.unrank(0)


@final
class RecommendsFailures(Plain):
    def recommend(self) -> Genotype:
        return self.history.asked[0].genotype if self.history.asked else self.history.best()


@final
class DerivesFromProgress(Plain):
    def derived(self) -> dict[str, int | float | str]:
        return {"population_size": len(self.history.asked)}


@final
class DivesIntoSmallBudgets(Plain):
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        return Proposal(self._new(rng)) if self.budget > 3 else None


@final
class RecommendsTheFirst(Plain):
    """With several objectives: not one that nothing dominates."""

    def recommend(self) -> Genotype:
        self.history.best()
        return self.history.successes[0].proposal.genotype


@final
class ForgetsWithSeveralObjectives(Plain):
    draws = 0

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        self.draws += len(self.directions) > 1
        return Proposal(self.genome.unrank(7) if self.draws % 7 == 3 else self._new(rng))


FAULTS: list[tuple[StrategyFactory, str]] = [
    (CountsItsDraws, "must go on as the first one did"),
    (KeepsTheGenerator, "must go on as the first one did"),
    (RemembersWhatItDrew, "what is foreseen must change nothing"),
    (UsesGlobalChance, "drawn from the generator handed to ask"),
    (AnswersInactiveDecisions, "ask must return valid proposals"),
    (AnswersByTheWrongType, "ask must return valid proposals"),
    (TrainsTooLong, r"fidelity must be in \(0, 1\]"),
    (IgnoresLimits, "proposals must be feasible"),
    (WaitsForTells, "asks must not wait for tells"),
    (RecommendsTheUntold, "recommend must return a genotype told with rewards"),
    (RecommendsFailures, "recommend must raise ValueError before anything succeeded"),
    (DerivesFromProgress, "derived must stay as it was resolved"),
    (RecommendsTheFirst, "what nothing told dominates"),
    (ForgetsWithSeveralObjectives, "with several objectives a fresh strategy"),
    (DivesIntoSmallBudgets, "a strategy with budget 1 must propose"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS)
def test_a_planted_fault_is_found(fault: StrategyFactory, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_strategy(fault)


def test_the_strategy_that_faults_are_planted_in_has_none() -> None:
    check_strategy(Plain)


def test_a_slow_ask_is_found() -> None:
    with pytest.raises(AssertionError, match=r"ask must take at most 0\.0 ms"):
        check_strategy(Plain, ask_limit_ms=0.0)


GENOME = Genome((Decision.of("width", (1, 2, 3)),))


def asked_once() -> tuple[Strategy, Proposal]:
    strategy = Plain(GENOME, 3, ("maximize",), None)
    proposal = strategy.ask(np.random.default_rng(0))
    assert proposal is not None
    return strategy, proposal


def test_a_proposal_is_told_once() -> None:
    strategy, proposal = asked_once()
    strategy.tell(proposal, (1.0,))
    with pytest.raises(ValueError, match="asked and not yet told"):
        strategy.tell(proposal, (1.0,))


def test_what_was_never_asked_cannot_be_told() -> None:
    strategy, proposal = asked_once()
    with pytest.raises(ValueError, match="asked and not yet told"):
        strategy.tell(Proposal(proposal.genotype, 0.5), None)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ((1.0, 2.0), "rewards must be 1 numbers"),
        ((), "rewards must be 1 numbers"),
        ((float("nan"),), "rewards must be finite"),
        ((float("inf"),), "rewards must be finite"),
    ],
)
def test_rewards_that_cannot_be_ranked_are_refused(
    rewards: tuple[float, ...], message: str
) -> None:
    strategy, proposal = asked_once()
    with pytest.raises(ValueError, match=message):
        strategy.tell(proposal, rewards)
    strategy.tell(proposal, (1.0,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Plain(GENOME, 0, ("maximize",), None), "budget must be at least 1, got 0"),
        (lambda: Plain(GENOME, 1, (), None), "directions must be maximize or minimize"),
        (lambda: Plain(GENOME, 1, ("up",), None), "directions must be maximize or minimize"),
        (lambda: Proposal(GENOME.unrank(0), 0.0), r"fidelity must be in \(0, 1\], got 0.0"),
    ],
)
def test_mistakes_at_construction_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_best_prefers_fidelity_then_reward_then_who_was_told_first() -> None:
    history = History()
    told = [(0, 0.5, 9.0), (1, 1.0, 1.0), (2, 1.0, 3.0), (0, 1.0, 3.0)]
    for rank, fidelity, reward in told:
        proposal = Proposal(GENOME.unrank(rank), fidelity)
        history.record_asked(proposal)
        history.record_told(proposal, (reward,))
    assert history.best() == GENOME.unrank(2)


def test_what_runs_is_what_was_asked_and_not_told() -> None:
    history = History()
    proposals = [Proposal(GENOME.unrank(rank)) for rank in range(3)]
    for proposal in [*proposals, proposals[0]]:
        history.record_asked(proposal)
    history.record_told(proposals[1], None)
    history.record_told(proposals[0], (1.0,))
    assert sorted(history.running, key=proposals.index) == [proposals[0], proposals[2]]
    history.record_told(proposals[0], None)
    assert history.running == (proposals[2],)


@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_those_that_rank_by_several_objectives_are_named(name: str) -> None:
    def make() -> Strategy:
        return built_in(name)(GENOME, 3, ("maximize", "minimize"), None)

    if name in strategies.SEVERAL_OBJECTIVES:
        assert make().directions == ("maximize", "minimize")
        return
    with pytest.raises(ValueError, match="got 2; several are for evolution, grid"):
        make()
