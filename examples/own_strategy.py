"""A search strategy of your own, checked by the contract tests, and a search with it."""

import sys

import numpy as np

import nas
from nas.testing import check_strategy
from search_spaces.genome import Genotype
from strategies.strategy import Proposal, Strategy


class Climber(Strategy):
    """Mutates the best child so far; starts with random ones."""

    def recommend(self) -> Genotype:
        """The best told."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """Nothing depends on the budget."""
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        for _ in range(100):
            if self.history.successes:
                genotype = self.genome.mutate(self.history.best(), rng)
            else:
                genotype = self.genome.sample_genotype(rng)
            if self.features is None or self.features.feasible(genotype):
                break
        return Proposal(genotype)


if __name__ == "__main__":
    check_strategy(Climber)
    print(nas.search(strategy=Climber, budget=int(sys.argv[1]), out=sys.argv[2]).best.trial)
