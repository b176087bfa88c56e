"""Random search: the baseline every other strategy has to beat."""

from typing import Literal, final, get_args

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.history import History, Proposal
from strategies.strategy import Features, Strategy

MAX_DRAWS = 200

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
    """A genotype never asked before and, if one is found within ``MAX_DRAWS`` draws, feasible.

    If none is feasible, the last new draw is returned. If no draw is new either, which happens
    where nearly all were asked, the first new one after a random rank is.

    Returns:
        None once every genotype of the genome was asked.
    """
    seen = history.genotypes
    if len(seen) >= genome.size:
        return None
    draw = genome.sample_genotype if uniform == "genotypes" else genome.sample_options
    infeasible: Genotype | None = None
    for _ in range(MAX_DRAWS):
        genotype = draw(rng)
        if genotype in seen:
            continue
        if features is None or features.feasible(genotype):
            return genotype
        infeasible = genotype
    if infeasible is not None:
        return infeasible
    rank = genome.rank(genome.sample_genotype(rng))
    following = (genome.unrank((rank + step) % genome.size) for step in range(len(seen) + 1))
    return next(genotype for genotype in following if genotype not in seen)
