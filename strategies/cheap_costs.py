"""Costs of thousands of genotypes at once: estimated, from a few that are known."""

from collections.abc import Sequence
from typing import final

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.encodings import Encodings
from strategies.gaussian_process import Array
from strategies.improvement import log_chance_below
from strategies.strategy import Features

PROBES = 128
RIDGE = 1.0
SOFTNESS = 0.05  # least deviation of an estimate, in deviations of the cost


@final
class CheapCosts:
    """Standardised log-costs of genotypes, and the chance that they are within the limits.

    A network's costs take about a millisecond, too long for thousands of candidates. So they are
    known for a probe of the space, always the same draws, and estimated for others as a sum over
    the answers, by ridge regression. Whoever picks one of the best looks up what it really costs.
    """

    def __init__(self, genome: Genome, features: Features, encodings: Encodings) -> None:
        """Probe the space.

        Args:
            genome: The space.
            features: What knows costs and limits.
            encodings: Of the genome.
        """
        self._features = features
        codes = encodings.draw(PROBES, np.random.default_rng(0))
        drawn = [genome.decode(row) for row in codes]
        raw = np.array([features.costs(genotype) for genotype in drawn], dtype=np.float64)
        self._mean = raw.mean(axis=0)
        deviation = raw.std(axis=0)
        self._deviation = np.where(deviation > 0.0, deviation, 1.0)
        self.count = raw.shape[1]
        costs = (raw - self._mean) / self._deviation
        one_hot = encodings.one_hot(codes)
        normal = one_hot.T @ one_hot + RIDGE * np.eye(one_hot.shape[1])
        self._effects = np.linalg.solve(normal, one_hot.T @ costs)
        residuals = costs - one_hot @ self._effects
        self._error = np.maximum(residuals.std(axis=0), SOFTNESS)
        feasible = np.array([features.feasible(genotype) for genotype in drawn])
        self._limited = not feasible.all()
        dearest = np.max(costs[feasible], axis=0, initial=-np.inf)
        self._dearest = np.where(deviation > 0.0, dearest, np.inf)

    def exact(self, genotypes: Sequence[Genotype]) -> Array:
        """What they really cost, shape ``(genotypes, costs)``."""
        raw = [self._features.costs(genotype) for genotype in genotypes]
        costs = np.array(raw, dtype=np.float64).reshape(-1, self.count)
        standard: Array = (costs - self._mean) / self._deviation
        return standard

    def estimate(self, one_hot: Array) -> Array:
        """What they probably cost, shape ``(genotypes, costs)``."""
        return one_hot @ self._effects

    def log_chance_feasible(self, estimated: Array, known: Array) -> Array:
        """Logarithm of the chance to be within the limits; 0 where the probe met none.

        A limit is taken to lie at the largest cost that is known to be within it.

        Args:
            estimated: Costs of candidates, shape ``(genotypes, costs)``.
            known: Exact costs of feasible networks beside the probe's, shape ``(known, costs)``.
        """
        if not self._limited:
            return np.zeros(len(estimated))
        limit = np.maximum(self._dearest, known.max(axis=0, initial=-np.inf))
        return log_chance_below(estimated, self._error, limit)
