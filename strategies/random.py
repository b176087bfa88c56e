"""Random search: the baseline every other strategy has to beat."""

from typing import Literal, final, get_args

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.history import History, Proposal
from strategies.strategy import Features, Strategy

MAX_DRAWS = 200
MAX_INFEASIBLE = 32  # of them, before one is repaired

Uniform = Literal["genotypes", "options"]


@final
class RandomSearch(Strategy):
    """Independent draws without repeats; works with any number of objectives.

    ``recommend`` ranks by the first objective.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        uniform: Uniform = "genotypes",
    ) -> None:
        """Set up an empty search.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``.
            features: See ``Strategy``.
            uniform: Whether all genotypes are equally likely, so that the best of n draws is
                a known quantile of the space, or all options of each decision, so that shallow
                networks come up as often as deep ones.

        Raises:
            ValueError: If ``uniform`` is neither.
        """
        super().__init__(genome, budget, directions, features)
        if uniform not in get_args(Uniform):
            raise ValueError(f"uniform must be {' or '.join(get_args(Uniform))}, got {uniform!r}")
        self._uniform: Uniform = uniform

    def recommend(self) -> Genotype:
        """The best told, by the first reward; ties: told first."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """Nothing."""
        return {}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        genotype = draw_new(
            self.genome, self.history, features=self.features, rng=rng, uniform=self._uniform
        )
        return None if genotype is None else Proposal(genotype)


def draw_new(
    genome: Genome,
    history: History,
    *,
    features: Features | None,
    rng: np.random.Generator,
    uniform: Uniform,
) -> Genotype | None:
    """A genotype never asked before and feasible, if one is found.

    Where ``MAX_INFEASIBLE`` draws are beyond the limits, the last of them is repaired, and may
    then be one that was asked before. If none of ``MAX_DRAWS`` draws is new, which happens where
    nearly all were asked, the first new one after a random rank is returned.

    Returns:
        None once every genotype of the genome was asked.
    """
    seen = history.genotypes
    if len(seen) >= genome.size:
        return None
    draw = genome.sample_genotype if uniform == "genotypes" else genome.sample_options
    infeasible = 0
    for _ in range(MAX_DRAWS):
        genotype = draw(rng)
        if genotype in seen:
            continue
        if features is None or features.feasible(genotype):
            return genotype
        infeasible += 1
        if infeasible == MAX_INFEASIBLE:
            return features.repaired(genotype)
    rank = genome.rank(genome.sample_genotype(rng))
    following = (genome.unrank((rank + step) % genome.size) for step in range(len(seen) + 1))
    return next(genotype for genotype in following if genotype not in seen)
