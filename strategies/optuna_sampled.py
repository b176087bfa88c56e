"""Strategies for one objective whose proposals one of Optuna's samplers makes."""

import warnings
from abc import abstractmethod
from typing import ClassVar, final

import numpy as np
from optuna.samplers import BaseSampler

from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal
from strategies.optuna_study import OptunaStudy
from strategies.spread import draw_spread
from strategies.strategy import Features, Strategy, require_one_objective


class OptunaSampled(Strategy):
    """Proposals of one of Optuna's samplers; the first ``starts`` asks span cost.

    A subclass says which sampler. Deviations from all of them: genotypes are not proposed twice,
    limits are respected, the first ones span cost.

    Attributes:
        name: What messages call the strategy.
        flat: See ``OptunaStudy``.
    """

    name: ClassVar[str]
    flat: ClassVar[bool]

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
            starts: Asks before the sampler's, at least 1. None: 10 as in Optuna, but at most a
                quarter of the budget and at least 2.

        Raises:
            ValueError: If ``starts`` is below 1, or there are several objectives.
        """
        super().__init__(genome, budget, directions, features)
        require_one_objective(directions, self.name)
        if starts is None:
            starts = max(2, min(10, budget // 4))
        if starts < 1:
            raise ValueError(f"starts must be at least 1, got {starts}")
        self._starts = starts
        self._study = OptunaStudy(genome, self.history, objectives=1, flat=self.flat)

    @final
    def recommend(self) -> Genotype:
        """The best told; ties: told first."""
        return self.history.best()

    @final
    def derived(self) -> dict[str, int | float | str]:
        """The number of starts."""
        return {"starts": self._starts}

    @abstractmethod
    def _sampler(self, *, starts: int, seed: int) -> BaseSampler:
        """A sampler for one ask."""

    @final
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        if len(self.history.asked) < self._starts:
            genotype = draw_spread(self.genome, self.history, features=self.features, rng=rng)
        else:
            seed = int(rng.integers(2**32))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some samplers and options are experimental
                sampler = self._sampler(starts=self._starts, seed=seed)
            genotype = self._study.propose(sampler, features=self.features, rng=rng)
        return None if genotype is None else Proposal(genotype)
