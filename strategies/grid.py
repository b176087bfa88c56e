"""Grid search: every genotype exactly once, in a shuffled order."""

from typing import final

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal
from strategies.strategy import Features, Strategy

MAX_SKIPS = 100


@final
class GridSearch(Strategy):
    """Walks through the whole genome, however large; works with any number of objectives.

    Each ask goes on behind the genotype asked last, so the position needs no counter. Infeasible
    genotypes are skipped, up to ``MAX_SKIPS`` in one ask; after that one of them is proposed for
    the run to count. ``recommend`` ranks by the first objective.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        seed: int = 0,
    ) -> None:
        """Set up a walk that starts at the first position.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``.
            features: See ``Strategy``.
            seed: Of the order; the walk uses no other chance.
        """
        super().__init__(genome, budget, directions, features)
        self._grid = genome.grid(seed)

    def recommend(self) -> Genotype:
        """The best told, by the first reward; ties: told first."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """Nothing."""
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        asked = self.history.asked
        start = self._grid.position(asked[-1].genotype) + 1 if asked else 0
        genotype: Genotype | None = None
        for position in range(start, min(start + MAX_SKIPS + 1, self.genome.size)):
            genotype = self._grid.at(position)
            if self.features is None or self.features.feasible(genotype):
                break
        return None if genotype is None else Proposal(genotype)
