"""Scores of thousands of untrained networks at once: estimated, from a few that are known."""

from collections.abc import Sequence
from typing import final

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.encodings import Encodings
from strategies.gaussian_process import Array
from strategies.strategy import ScoredFeatures

PROBES = 48  # as each takes up to a second
RIDGE = 1.0
NORMAL = 1.349  # deviations from the lower to the upper quartile of a normal distribution


@final
class CheapScores:
    """Standardised scores of genotypes, estimated where looking them up would take too long.

    They are known for a probe of the space within the limits, always the same draws, and estimated
    for others as a sum over the answers, by ridge regression. Scores are of any unit and some span
    many powers of ten, so they are counted in quartile distances from the median of the probe, and
    beyond a few of these by their logarithm: ``arcsinh``. A network without a finite score is taken
    for a median one.
    """

    def __init__(self, genome: Genome, features: ScoredFeatures, encodings: Encodings) -> None:
        """Probe the space.

        Args:
            genome: The space.
            features: What knows scores.
            encodings: Of the genome.
        """
        self._features = features
        codes = encodings.draw(PROBES, np.random.default_rng(0))
        drawn = [features.repaired(genome.decode(row)) for row in codes]
        raw = self._scores(drawn)
        self.count = raw.shape[1]
        self._median, self._deviation = np.zeros(self.count), np.ones(self.count)
        for column, scores in enumerate(raw.T):
            known = scores[np.isfinite(scores)]
            if len(known):
                low, self._median[column], high = np.quantile(known, (0.25, 0.5, 0.75))
                self._deviation[column] = (high - low) / NORMAL or known.std() or 1.0
        one_hot = encodings.one_hot(np.array([genome.encode(one) for one in drawn]))
        normal = one_hot.T @ one_hot + RIDGE * np.eye(one_hot.shape[1])
        self._effects = np.linalg.solve(normal, one_hot.T @ self._standard(raw))

    def exact(self, genotypes: Sequence[Genotype]) -> Array:
        """What they really score, shape ``(genotypes, scores)``."""
        return self._standard(self._scores(genotypes).reshape(-1, self.count))

    def estimate(self, one_hot: Array) -> Array:
        """What they probably score, shape ``(genotypes, scores)``."""
        return one_hot @ self._effects

    def _scores(self, genotypes: Sequence[Genotype]) -> Array:
        rows = [self._features.scores(genotype) for genotype in genotypes]
        return np.array(rows, dtype=np.float64)

    def _standard(self, raw: Array) -> Array:
        standard: Array = np.arcsinh((raw - self._median) / self._deviation)
        return np.where(np.isfinite(standard), standard, 0.0)
