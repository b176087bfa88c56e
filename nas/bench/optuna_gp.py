"""Optuna's Gaussian process: a peer to compare with, too slow for a search."""

import warnings
from typing import final

import numpy as np
from optuna.samplers import GPSampler

from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal
from strategies.optuna_study import OptunaStudy
from strategies.spread import draw_spread
from strategies.strategy import Features, Strategy, require_one_objective


@final
class OptunaGP(Strategy):
    """Proposes the largest expected improvement by Optuna's process, for one objective.

    The first ``starts`` asks span cost. All decisions are categorical to it, with an option more
    for what is not open. An ask takes some tenths of a second, so it lives here and not among the
    strategies.

    Source: Optuna's ``GPSampler``, as it comes. Deviations: genotypes are not proposed twice,
    limits are respected, the first ones span cost.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        starts: int | None = None,
    ) -> None:
        """Set up an empty study.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``; exactly one.
            features: See ``Strategy``.
            starts: Asks before the process's, at least 1. None: 10 as in Optuna, but at most a
                quarter of the budget and at least 2.

        Raises:
            ValueError: If ``starts`` is below 1, or there are several objectives.
        """
        super().__init__(genome, budget, directions, features)
        require_one_objective(directions, "optuna-gp")
        if starts is None:
            starts = max(2, min(10, budget // 4))
        if starts < 1:
            raise ValueError(f"starts must be at least 1, got {starts}")
        self._starts = starts
        self._study = OptunaStudy(genome, self.history, objectives=1, flat=True)

    def recommend(self) -> Genotype:
        """The best told; ties: told first."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """The number of starts."""
        return {"starts": self._starts}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        if len(self.history.asked) < self._starts:
            genotype = draw_spread(self.genome, self.history, features=self.features, rng=rng)
        else:
            genotype = self._study.propose(self._sampler(rng), features=self.features, rng=rng)
        return None if genotype is None else Proposal(genotype)

    def _sampler(self, rng: np.random.Generator) -> GPSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is experimental
            return GPSampler(n_startup_trials=self._starts, seed=int(rng.integers(2**32)))
