"""First proposals that span cost: the largest network, the smallest, and a spread between."""

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.history import History
from strategies.random import MAX_DRAWS, MAX_INFEASIBLE, draw_new
from strategies.strategy import Features

POOL_SIZE = 32


def draw_spread(
    genome: Genome, history: History, *, features: Features | None, rng: np.random.Generator
) -> Genotype | None:
    """A genotype never asked before whose cost is where the ask's number wants it.

    Of a pool of feasible draws, uniform over options, ask n takes the one at quantile n of the
    first cost: 1, 0, 1/2, 3/4, 1/4, 7/8, ... Without features, or where hardly anything is
    feasible, it is ``draw_new``.

    Returns:
        None once every genotype of the genome was asked.
    """
    pool: list[Genotype] = []
    if features is not None:
        for draws in range(MAX_DRAWS):
            if draws == MAX_INFEASIBLE and not pool:
                break
            genotype = genome.sample_options(rng)
            if genotype not in history.genotypes and features.feasible(genotype):
                pool.append(genotype)
                if len(pool) == POOL_SIZE:
                    break
    if features is None or not pool:
        return draw_new(genome, history, features=features, rng=rng, uniform="options")
    pool.sort(key=lambda genotype: features.costs(genotype)[0])
    return pool[round(spread_quantile(len(history.asked)) * (len(pool) - 1))]


def spread_quantile(position: int) -> float:
    """1, 0, 1/2, 3/4, 1/4, 7/8, ...: the ends, then a van der Corput sequence from above."""
    if position < 2:
        return 1.0 - position
    digits = f"{position - 1:b}"
    return 1.0 - int(digits[::-1], 2) / (1 << len(digits))
