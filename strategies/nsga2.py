"""Optuna's NSGA-II: generations of the least dominated, crossed and mutated."""

from typing import final

import numpy as np
from optuna.samplers import NSGAIISampler

from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal
from strategies.optuna_study import OptunaStudy
from strategies.spread import draw_spread
from strategies.strategy import Features, Strategy


@final
class NSGA2(Strategy):
    """A genetic algorithm for one objective or several.

    The first ``population_size`` asks span cost. The parents of a generation are the least
    dominated of the one before and of its parents, the least crowded first among equals; children
    cross two of them, decision by decision, and change one in the number of decisions. What two
    parents leave open, because neither has that decision, is drawn.

    ``recommend`` ranks by the first objective; ties go to the next ones.

    Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II (IEEE
    Transactions on Evolutionary Computation 6, 2002), by Optuna's ``NSGAIISampler``. Deviations: a
    generation is the next ``population_size`` successes, whenever they were asked; genotypes are
    not proposed twice; limits are respected; the first ones span cost.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        population_size: int | None = None,
    ) -> None:
        """Set up an empty study.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``.
            features: See ``Strategy``.
            population_size: Successes of one generation, at least 2. None: a fifth of the budget,
                but at least 4 and at most 50.

        Raises:
            ValueError: If ``population_size`` is below 2.
        """
        super().__init__(genome, budget, directions, features)
        if population_size is None:
            population_size = min(max(budget // 5, 4), 50)
        if population_size < 2:
            raise ValueError(f"population_size must be at least 2, got {population_size}")
        self._population_size = population_size
        self._study = OptunaStudy(genome, self.history, objectives=len(directions), flat=True)

    def recommend(self) -> Genotype:
        """The best told, by the first reward."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """The size of the population."""
        return {"population_size": self._population_size}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        if len(self.history.asked) < self._population_size:
            genotype = draw_spread(self.genome, self.history, features=self.features, rng=rng)
        else:
            sampler = NSGAIISampler(
                population_size=self._population_size, seed=int(rng.integers(2**32))
            )
            # Parents come in another order when they are selected than when they are looked up:
            # so they are always looked up.
            generation = len(self.history.successes) // self._population_size
            genotype = self._study.propose(
                sampler,
                features=self.features,
                rng=rng,
                note=sampler.get_trial_generation,
                prepare=lambda study: sampler.get_parent_population(study, generation),
            )
        return None if genotype is None else Proposal(genotype)
