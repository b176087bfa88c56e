"""Grid search: everything once, from any size of genome, and on from any record."""

import numpy as np

from search_spaces.genome import Decision, Genome, Genotype, Option
from strategies.grid import MAX_SKIPS, GridSearch
from strategies.strategy import Features, Strategy

RNG = np.random.default_rng(0)


def tree() -> Genome:
    kernel = Decision.of("kernel", (3, 5, 7))
    op = Decision("op", (Option("conv", (kernel,)), Option("pool")))
    return Genome((op, Decision.of("width", range(50))))


class OnlyPools:
    """A quarter of the tree."""

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (0.0,)

    def feasible(self, genotype: Genotype) -> bool:
        return genotype["op"] == "pool"


class Nothing:
    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (0.0,)

    def feasible(self, genotype: Genotype) -> bool:
        return False


def walked(strategy: Strategy) -> list[Genotype]:
    genotypes = []
    while (proposal := strategy.ask(RNG)) is not None:
        genotypes.append(proposal.genotype)
    return genotypes


def grid(features: Features | None = None, *, seed: int = 0) -> GridSearch:
    return GridSearch(tree(), 10, ("maximize",), features, seed=seed)


def test_every_genotype_is_asked_once_then_nothing() -> None:
    genotypes = walked(grid())
    assert len(genotypes) == len(set(genotypes)) == tree().size == 200


def test_the_seed_sets_the_order_and_the_generator_does_not() -> None:
    assert walked(grid(seed=1)) == walked(grid(seed=1)) != walked(grid(seed=2))


def test_every_feasible_genotype_is_asked_and_few_others() -> None:
    genotypes = walked(grid(OnlyPools()))
    pools = [genotype for genotype in genotypes if genotype["op"] == "pool"]
    assert len(set(pools)) == 50
    assert len(genotypes) - len(pools) <= 1  # what is left behind the last feasible one


def test_limits_that_nothing_meets_end_the_walk() -> None:
    genome = Genome(tuple(Decision.of(f"d{n}", range(10)) for n in range(3)))
    strategy = GridSearch(genome, 10, ("maximize",), Nothing())
    assert len(walked(strategy)) == -(-1000 // (MAX_SKIPS + 1))


def test_a_genome_of_1e35_genotypes_is_walked_without_repeats() -> None:
    genome = Genome(tuple(Decision.of(f"d{n}", range(10)) for n in range(36)))
    assert genome.size > 10**35
    strategy = GridSearch(genome, 300, ("maximize",), None)
    proposals = [strategy.ask(RNG) for _ in range(300)]
    assert len(set(proposals)) == 300
    digits = {p.genotype[f"d{n}"] for p in proposals[:40] if p is not None for n in (0, 35)}
    assert digits == set(range(10))
