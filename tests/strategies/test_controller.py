"""The REINFORCE controller: an even start, updates by the history alone, and that it learns."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.genome import Decision, Genome, Genotype, Option
from strategies.controller import MAX_SAMPLES, Reinforce, _Policy
from strategies.random import RandomSearch
from strategies.strategy import Proposal, Strategy

KERNEL = Decision.of("kernel", (3, 5, 7))
TREE = Genome((Decision("op", (Option("conv", (KERNEL,)), Option("pool"))), Decision.of("w", "ab")))
GENOME = Genome(tuple(Decision.of(f"d{n}", range(3)) for n in range(8)))


def reinforce(budget: int = 100, *, genome: Genome = GENOME) -> Reinforce:
    return Reinforce(genome, budget, ("maximize",), None)


def ask(strategy: Strategy, number: int) -> Proposal:
    proposal = strategy.ask(np.random.default_rng((29, number)))
    assert proposal is not None
    return proposal


@pytest.mark.parametrize(
    ("budget", "batch", "rate"),
    [(1, 1, 0.2), (20, 1, 0.158), (100, 2, 0.1), (1000, 8, 0.0632), (99999, 8, 0.02)],
)
def test_batch_and_rate_follow_the_budget(budget: int, batch: int, rate: float) -> None:
    derived = reinforce(budget).derived()
    assert derived == {"batch_size": batch, "learning_rate": pytest.approx(rate, rel=1e-2)}


def test_a_hundred_trials_are_more_than_twenty_updates() -> None:
    strategy = reinforce(100)
    for number in range(100):
        strategy.tell(ask(strategy, number), (float(number % 7),))
    ask(strategy, 100)
    assert strategy._learner.updates == 50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Reinforce(GENOME, 9, ("maximize",), None, batch_size=0),
            "batch_size must be at least 1, got 0",
        ),
        (
            lambda: Reinforce(GENOME, 9, ("maximize",), None, learning_rate=0.0),
            "learning_rate must be above 0, got 0.0",
        ),
        (
            lambda: Reinforce(GENOME, 9, ("maximize", "minimize"), None),
            "reinforce: objectives must be exactly one, got 2",
        ),
    ],
)
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_it_starts_even_over_options_and_inactive_decisions_are_never_visited() -> None:
    # Of 400 samples a half each is pool and conv, and a third of the latter has each kernel:
    # 200 +- 10 and 67 +- 7.5; six deviations are never seen.
    policy = reinforce(genome=TREE)._learner.policy
    rng = np.random.default_rng(0)
    drawn: Counter[Genotype] = Counter(policy.sample(rng, temperature=1.0) for _ in range(400))
    pools = sum(count for genotype, count in drawn.items() if genotype["op"] == "pool")
    assert 140 < pools < 260
    for kernel in (3, 5, 7):
        assert 22 < sum(n for one, n in drawn.items() if one.get("kernel") == kernel) < 112


def test_chances_of_all_genotypes_sum_to_one_before_and_after_learning() -> None:
    strategy = reinforce(20, genome=TREE)
    genotypes = [TREE.unrank(rank) for rank in range(TREE.size)]
    chances, entropies = strategy._learner.policy.score(genotypes)
    assert chances.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    conv = next(at for at, genotype in enumerate(genotypes) if genotype["op"] == "conv")
    assert entropies[conv].item() == pytest.approx(np.log(2) + np.log(3) + np.log(2), abs=1e-4)
    for number in range(6):
        proposal = ask(strategy, number)
        strategy.tell(proposal, (float(proposal.genotype["op"] == "pool"),))
    ask(strategy, 6)
    learnt = strategy._learner.policy.score(genotypes)[0].exp().detach().numpy()
    assert learnt.sum() == pytest.approx(1.0, abs=1e-5)
    assert sum(p for p, one in zip(learnt, genotypes, strict=True) if one["op"] == "pool") > 0.55


def test_a_replay_leaves_bit_identical_weights_whenever_it_is_asked() -> None:
    first = reinforce()
    for number in range(31):
        proposal = ask(first, number)
        first.tell(proposal, (float(GENOME.rank(proposal.genotype) % 13),))
    second = reinforce()
    for success in first.history.successes:
        second.asked(success.proposal)
        second.tell(success.proposal, success.rewards)
    assert ask(first, 31) == ask(second, 31)
    for mine, theirs in zip(
        first._learner.policy.parameters(), second._learner.policy.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_neither_construction_nor_asking_draws_from_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    strategy = reinforce()
    for number in range(5):
        strategy.tell(ask(strategy, number), (float(number),))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_score_does_not_matter(unit: float) -> None:
    proposed = []
    for scale in (1.0, unit):
        strategy = reinforce(20)
        for number in range(20):
            proposal = ask(strategy, number)
            strategy.tell(proposal, (scale * (GENOME.rank(proposal.genotype) % 11),))
        proposed.append([one.genotype for one in strategy.history.asked])
    assert proposed[0] == proposed[1]


def test_a_policy_that_has_made_up_its_mind_goes_on_with_new_genotypes() -> None:
    strategy = reinforce()
    with torch.no_grad():
        strategy._learner.policy.head.bias[::3] = 200.0
    asked = [ask(strategy, number).genotype for number in range(12)]
    assert asked[0].to_dict() == {f"d{n}": 0 for n in range(8)}
    assert len(set(asked)) == 12


def test_a_space_without_anything_feasible_is_given_up_on_after_a_few_samples() -> None:
    class Nothing:
        repairs = checks = 0

        def costs(self, genotype: Genotype) -> tuple[float, ...]:
            return (0.0,)

        def feasible(self, genotype: Genotype) -> bool:
            self.checks += 1
            return False

        def repaired(self, genotype: Genotype) -> Genotype:
            self.repairs += 1
            return genotype

    features = Nothing()
    assert ask(Reinforce(GENOME, 10, ("maximize",), features), 0) is not None
    assert (features.checks, features.repairs) == (MAX_SAMPLES, 1)


def test_a_small_space_is_asked_to_the_end() -> None:
    strategy = reinforce(20, genome=TREE)
    asked = set()
    for number in range(TREE.size):
        proposal = ask(strategy, number)
        asked.add(proposal.genotype)
        strategy.tell(proposal, None if number % 3 else (1.0,))
    assert len(asked) == TREE.size
    assert strategy.ask(np.random.default_rng(0)) is None


@pytest.mark.slow
def test_it_beats_random_search_on_additive_landscapes() -> None:
    # Sixteen landscapes, fixed seeds, 60 queries. A strategy no better than random search would
    # win 13 or more with probability 0.011.
    wins = 0
    for seed in range(16):
        effects = np.random.default_rng(seed).normal(size=(8, 3))
        best = []
        for cls in (Reinforce, RandomSearch):
            strategy = cls(GENOME, 60, ("maximize",), None)
            for number in range(60):
                proposal = ask(strategy, number)
                codes = GENOME.encode(proposal.genotype) - 1
                strategy.tell(proposal, (float(effects[np.arange(8), codes].sum()),))
            best.append(max(success.rewards[0] for success in strategy.history.successes))
        wins += best[0] > best[1]
    assert wins >= 13


def test_it_computes_in_one_thread_and_leaves_torch_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = set()
    before, sample = torch.get_num_threads(), _Policy.sample

    def watched(*arguments: Any, **options: Any) -> Genotype:
        seen.add(torch.get_num_threads())
        return sample(*arguments, **options)

    monkeypatch.setattr(_Policy, "sample", watched)
    torch.set_num_threads(3)
    try:
        ask(Reinforce(GENOME, 60, ("maximize",), None), 0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


def test_listing_strategies_and_the_others_do_without_torch() -> None:
    program = (
        "import sys, strategies, strategies.predictor, strategies.evolution, strategies.tpe\n"
        "print('torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "False"
