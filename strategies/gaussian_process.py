"""A Gaussian process over genotypes: what they probably score, and how sure that is."""

from dataclasses import dataclass
from typing import Self, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize

from search_spaces.genome import Genome

Array: TypeAlias = npt.NDArray[np.float64]

MAX_STEPS = 40  # of the optimiser
JITTER = 1e-6  # on the diagonal, in variances of the scores

# Medians and log-deviations of the priors, for scores of deviation 1. Those of a decision are
# divided by the number of decisions.
ADDITIVE = (1.0, 1.0)
INVERSE_LENGTH = (1.0, 1.0)
HAMMING = (0.5, 1.0)
FEATURE = (1.0, 1.0)
FEATURE_LENGTH = (2.0, 0.7)
NOISE = (0.01, 1.5)


@final
@dataclass(frozen=True, slots=True)
class Points:
    """Genotypes as the kernel takes them.

    Attributes:
        one_hot: 1 at the level of each decision, shape ``(points, levels of all decisions)``.
        features: Standardised; log-costs, then scores of untrained networks, shape
            ``(points, features)``.
    """

    one_hot: Array
    features: Array

    def joined(self, others: "Points") -> "Points":
        """These points, then those."""
        return Points(
            np.concatenate((self.one_hot, others.one_hot)),
            np.concatenate((self.features, others.features)),
        )


@final
@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What is fitted; all above 0.

    Attributes:
        additive: Variance that each decision adds by itself, shape ``(decisions,)``.
        inverse_lengths: Of each decision in the Hamming kernel, shape ``(decisions,)``.
        hamming: Variance of the Hamming kernel.
        feature: Variance of the smooth function of the features.
        feature_lengths: Its lengths, shape ``(features,)``.
        noise: Variance of what nothing above explains.
    """

    additive: Array
    inverse_lengths: Array
    hamming: float
    feature: float
    feature_lengths: Array
    noise: float

    @classmethod
    def of_logs(cls, logs: Array, decisions: int) -> Self:
        """Hyperparameters from the vector of their logarithms, in the order of the fields."""
        values = np.exp(logs)
        return cls(
            additive=values[:decisions],
            inverse_lengths=values[decisions : 2 * decisions],
            hamming=float(values[2 * decisions]),
            feature=float(values[2 * decisions + 1]),
            feature_lengths=values[2 * decisions + 2 : -1],
            noise=float(values[-1]),
        )


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """The parts of a covariance, each of shape ``(left points, right points)``.

    Attributes:
        additive: Sum over decisions.
        hamming: Interactions of any order.
        features: Smooth in them.
        squares: Squared differences of each feature in lengths, with a last axis of features.
    """

    additive: Array
    hamming: Array
    features: Array
    squares: Array

    def total(self) -> Array:
        """The covariance of the function, without noise; the 1 is that of an unknown mean."""
        return 1.0 + self.additive + self.hamming + self.features


@final
class Kernel:
    """How alike two genotypes are expected to score.

    ``k = 1 + sum_d a_d (1 - t_d) + h exp(-sum_d t_d / l_d) + c exp(-|z - z'|^2 / 2)``, where
    ``t_d`` in [0, 1] says how far two answers to decision d are apart and z are features in
    their lengths. Inactive is a level of its own, at 1 from every answer. Options that are
    numbers are ``|rank - rank'|`` of the largest such difference apart, so that the effect of the
    decision is a random walk over them; any other two options are 1 apart.

    Source: first-order additive kernels: Duvenaud et al. (arXiv:1112.4394); exponential of a
    weighted Hamming distance: Hutter et al. (arXiv:1211.0906), section on Gaussian processes;
    weights that shrink with the number of decisions: Hvarfner et al. (arXiv:2402.02229).
    Deviations: both kernels in one sum with a third one of the features; ordered options.
    """

    def __init__(self, genome: Genome, num_features: int) -> None:
        """Tabulate how far levels are apart.

        Args:
            genome: Of the genotypes.
            num_features: Number of features, 0 if there are none.
        """
        levels = np.array(genome.levels, dtype=np.int64)
        self.decisions = len(levels)
        self.num_features = num_features
        self._decision = np.repeat(np.arange(self.decisions), levels)
        self._apart = linalg.block_diag(*(_apart(genome, name) for name in genome.names))
        each = max(1, self.decisions)
        priors = [
            *[(ADDITIVE[0] / each, ADDITIVE[1])] * self.decisions,
            *[(INVERSE_LENGTH[0] / each, INVERSE_LENGTH[1])] * self.decisions,
            HAMMING,
            FEATURE,
            *[FEATURE_LENGTH] * num_features,
            NOISE,
        ]
        medians, self.prior_deviations = np.array(priors).T
        self.prior_logs: Array = np.log(medians)

    def terms(self, at: Hyperparameters, left: Points, right: Points) -> Terms:
        """The parts of the covariance between all left and all right points."""
        one_hot = right.one_hot.T
        weights = at.additive[self._decision]
        additive = at.additive.sum() - left.one_hot @ ((self._apart * weights) @ one_hot)
        rates = at.inverse_lengths[self._decision]
        distance = left.one_hot @ ((self._apart * rates) @ one_hot)
        scaled = [points.features / at.feature_lengths for points in (left, right)]
        squares = np.square(scaled[0][:, None, :] - scaled[1][None, :, :])
        near = np.exp(-0.5 * squares.sum(axis=-1)) if self.num_features else np.zeros(())
        return Terms(additive, at.hamming * np.exp(-distance), at.feature * near, squares)

    def variance(self, at: Hyperparameters) -> float:
        """The covariance of any point with itself."""
        feature = at.feature if self.num_features else 0.0
        return 1.0 + float(at.additive.sum()) + at.hamming + feature

    def log_gradient(self, at: Hyperparameters, terms: Terms, points: Points, by: Array) -> Array:
        """Derivatives of ``sum(by * covariance)`` by the logarithm of each hyperparameter.

        Args:
            at: Where.
            terms: Of ``points`` with themselves.
            points: All of them.
            by: Weights of the covariance's entries, noise included; symmetric.
        """
        hamming, features = by * terms.hamming, by * terms.features
        return np.concatenate(
            (
                at.additive * (by.sum() - self._apart_sums(points, by)),
                -at.inverse_lengths * self._apart_sums(points, hamming),
                [hamming.sum(), features.sum()],
                (features[:, :, None] * terms.squares).sum(axis=(0, 1)),
                [at.noise * np.trace(by)],
            )
        )

    def _apart_sums(self, points: Points, by: Array) -> Array:
        """``sum(by * t_d)`` over pairs of points for each decision d."""
        pairs = points.one_hot.T @ by @ points.one_hot
        sums = np.bincount(self._decision, (pairs * self._apart).sum(axis=1), self.decisions)
        return np.asarray(sums, dtype=np.float64)


def fit(kernel: Kernel, points: Points, scores: Array) -> Hyperparameters:
    """The most probable hyperparameters: marginal likelihood times log-normal priors.

    Args:
        kernel: Of the process.
        points: Where scores are known.
        scores: Of mean 0 and deviation 1, shape ``(points,)``.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, equations 5.8 and 5.9;
    maximised by L-BFGS-B from the medians of the priors.
    """
    centre, width = kernel.prior_logs, kernel.prior_deviations

    def loss(logs: Array) -> tuple[float, Array]:
        at = Hyperparameters.of_logs(logs, kernel.decisions)
        terms = kernel.terms(at, points, points)
        lower = _cholesky(terms.total(), at.noise)
        inverse = linalg.cho_solve((lower, True), np.eye(len(scores)), check_finite=False)
        weights = inverse @ scores
        value = 0.5 * scores @ weights + np.log(np.diag(lower)).sum()
        by = 0.5 * (inverse - np.outer(weights, weights))
        gradient = kernel.log_gradient(at, terms, points, by)
        off = (logs - centre) / width
        return float(value + 0.5 * off @ off), gradient + off / width

    bounds = optimize.Bounds(centre - 4.0 * width, centre + 4.0 * width)
    options = {"maxiter": MAX_STEPS}
    found = optimize.minimize(
        loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return Hyperparameters.of_logs(found.x, kernel.decisions)


@final
class GaussianProcess:
    """The process given scores at some points.

    Source: Rasmussen and Williams, equations 2.25 and 2.26.
    """

    def __init__(self, kernel: Kernel, at: Hyperparameters, points: Points, scores: Array) -> None:
        """Condition on scores.

        Args:
            kernel: Of the process.
            at: Its hyperparameters.
            points: Where scores are known, at least one.
            scores: Shape ``(points,)``.
        """
        self.at = at
        self.points = points
        self._kernel = kernel
        self._covariance = kernel.terms(at, points, points).total()
        self._lower = _cholesky(self._covariance, at.noise)
        self._weights = linalg.cho_solve((self._lower, True), scores, check_finite=False)

    def known(self, *, share: float) -> Array:
        """Means at the known points, if ``share`` of the noise belongs to the function there."""
        means: Array = (self._covariance @ self._weights) + share * self.at.noise * self._weights
        return means

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Means and variances at other points, without noise, each of shape ``(points,)``."""
        covariance = self._kernel.terms(self.at, points, self.points).total()
        explained = linalg.solve_triangular(
            self._lower, covariance.T, lower=True, check_finite=False
        )
        variance = self._kernel.variance(self.at) - np.square(explained).sum(axis=0)
        return covariance @ self._weights, np.maximum(variance, JITTER)


def _apart(genome: Genome, name: str) -> Array:
    """How far the levels of one decision are apart, shape ``(levels, levels)``, in [0, 1]."""
    values = genome.values(name)
    apart: Array = 1.0 - np.eye(len(values) + 1)
    if len(values) > 2 and all(type(value) in (int, float) for value in values):
        ranks = np.argsort(np.argsort(np.array(values, dtype=np.float64)))
        apart[1:, 1:] = np.abs(ranks[:, None] - ranks) / (len(values) - 1)
    return apart


def _cholesky(covariance: Array, noise: float) -> Array:
    """The lower factor of a covariance with noise."""
    noisy = covariance + (noise + JITTER) * np.eye(len(covariance))
    lower: Array = linalg.cholesky(noisy, lower=True, check_finite=False)
    return lower
