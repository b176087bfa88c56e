"""Regularized evolution: the best of a few young networks is mutated, the oldest is forgotten."""

from collections.abc import Sequence
from typing import final

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal, Success
from strategies.pareto import crowding, ranks
from strategies.random import draw_new
from strategies.spread import draw_spread
from strategies.strategy import Features, Strategy

MAX_MUTATIONS = 100


@final
class Evolution(Strategy):
    """Evolution without generations: aging for one objective, elitist for several.

    The first ``population_size`` asks are random; with features they span cost, from the largest
    to the smallest of a pool and then between them. Later asks mutate the best of a tournament in
    the population. With one objective that is the newest ``population_size`` successes, and the
    best has the largest reward. With several, the most dominated of the population and the newest
    success dies, of equals the most crowded; the best is the other end. Failed children take no
    place in the population and hold nothing up. Fresh draws are uniform over options.

    ``recommend`` ranks by the first objective; ties go to the next ones.

    Source: Real et al., Regularized Evolution for Image Classifier Architecture Search
    (arXiv:1802.01548), Algorithm 1; tournaments are drawn with replacement, as there. Deviations:
    asynchronous, so a child dies when newer ones are told, not when they are started; genotypes
    are not proposed twice; the first ones span cost; sizes follow the budget, since a population
    as large as the budget is random search, and with some hundred children a strong pull to the
    best paid on the tables measured, least where the noise is high (``docs/bench.md``). With
    several objectives ranking and survival are those of NSGA-II (see ``strategies.pareto``), after
    each child instead of each generation: a front that dies of age would have to be found again.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        population_size: int | None = None,
        tournament_size: int | None = None,
    ) -> None:
        """Set up an empty population.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``.
            features: See ``Strategy``.
            population_size: Successes that can become parents, at least 1. None: a fifth of the
                budget, but at least 6 and at most 50.
            tournament_size: Candidates for each parent, in [1, population_size]. None: as many as
                the population has, of which about two thirds are drawn at least once.

        Raises:
            ValueError: If a size is out of range.
        """
        super().__init__(genome, budget, directions, features)
        if population_size is None:
            population_size = min(max(budget // 5, 6), 50)
        if population_size < 1:
            raise ValueError(f"population_size must be at least 1, got {population_size}")
        if tournament_size is None:
            tournament_size = population_size
        if not 1 <= tournament_size <= population_size:
            raise ValueError(
                f"tournament_size must be in [1, population_size={population_size}], "
                f"got {tournament_size}"
            )
        self._population_size = population_size
        self._tournament_size = tournament_size
        # With several objectives: the population after the first ``_seen`` successes.
        self._elite: list[Success] = []
        self._seen = 0

    def recommend(self) -> Genotype:
        """The best told, by the first reward."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """Both sizes."""
        return {
            "population_size": self._population_size,
            "tournament_size": self._tournament_size,
        }

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        genotype: Genotype | None = None
        if len(self.history.asked) < self._population_size:
            genotype = draw_spread(self.genome, self.history, features=self.features, rng=rng)
        elif self.history.successes:
            genotype = self._child(rng)
        if genotype is None:
            genotype = draw_new(
                self.genome, self.history, features=self.features, rng=rng, uniform="options"
            )
        return None if genotype is None else Proposal(genotype)

    def _child(self, rng: np.random.Generator) -> Genotype | None:
        """A new, feasible mutation of a tournament's winner; None if none was found."""
        if self.genome.size <= len(self.history.genotypes):
            return None
        population = self._population()
        for _ in range(MAX_MUTATIONS):
            drawn = rng.integers(len(population), size=self._tournament_size)
            parent = max((population[at] for at in drawn), key=lambda member: member[1])[0]
            child = self.genome.mutate(parent, rng)
            if child in self.history.genotypes:
                continue
            if self.features is None or self.features.feasible(child):
                return child
        return None

    def _population(self) -> list[tuple[Genotype, tuple[float, ...]]]:
        """Those that can become parents, each with what larger is better in."""
        successes = self.history.successes
        if len(self.directions) == 1:
            newest = successes[-self._population_size :]
            return [(told.proposal.genotype, told.rewards) for told in newest]
        for told in successes[self._seen :]:
            self._elite = _fittest([*self._elite, told], self._population_size)
        self._seen = len(successes)
        return [
            (told.proposal.genotype, fitness)
            for told, fitness in zip(self._elite, _fitness(self._elite), strict=True)
        ]


def _fitness(members: Sequence[Success]) -> list[tuple[float, float]]:
    """How little dominated each is, and of equals how little crowded; larger is better."""
    rewards = np.array([told.rewards for told in members])
    rank = ranks(rewards)
    return list(zip((-rank).tolist(), crowding(rewards, rank).tolist(), strict=True))


def _fittest(members: Sequence[Success], size: int) -> list[Success]:
    """The ``size`` fittest, in their order; of equals the last one goes first."""
    if len(members) <= size:
        return list(members)
    fitness = _fitness(members)
    kept = sorted(range(len(members)), key=fitness.__getitem__, reverse=True)[:size]
    return [members[at] for at in sorted(kept)]
