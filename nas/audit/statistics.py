"""Ranking quality and what can be told from few children: pure functions of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
DRAWS = 2000  # of a bootstrap
CHUNK = 2**20  # signs in hand at a time

Numbers: TypeAlias = NDArray[np.float64]
Pairs: TypeAlias = NDArray[np.bool_]


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes:
        value: From the whole sample; NaN if it cannot be computed.
        low: Lower end; NaN likewise.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the sign is known; False where there is no interval."""
        return self.low > 0 or self.high < 0


def tau_b(first: Numbers, second: Numbers, pairs: Pairs | None = None) -> float:
    """Kendall's tau-b: how far two rankings agree, from -1 to 1, ties allowed.

    Args:
        first: One figure per child, shape (children,).
        second: Another, of the same shape.
        pairs: Which pairs of children count, shape (children, children), symmetric; None for all.

    Returns:
        NaN if one of them is the same for all children that are compared.

    Source: Kendall, The treatment of ties in ranking problems (Biometrika 33, 1945).
    """
    return _tau(_signs(first, pairs), _signs(second, pairs))


def tau_interval(
    truth: Numbers,
    scores: Numbers,
    *,
    rng: np.random.Generator,
    pairs: Pairs | None = None,
    draws: int = DRAWS,
) -> Interval:
    """Tau-b with a percentile interval of the bootstrap over children."""
    drawn = rng.integers(len(truth), size=(draws, len(truth)))
    right, said = _signs(truth, pairs), _signs(scores, pairs)
    return _interval(_tau(right, said), _taus(right, said, drawn))


def tau_difference(
    truth: Numbers,
    scores: Numbers,
    baseline: Numbers,
    *,
    rng: np.random.Generator,
    pairs: Pairs | None = None,
    draws: int = DRAWS,
) -> Interval:
    """Tau-b of scores minus that of a baseline, on the same children, with a paired interval.

    Both are computed from the same bootstrap sample of children each time, so that what is common
    to them cancels. Only where the interval excludes 0 can it be told which one is better.

    Args:
        truth: What children reach, shape (children,).
        scores: What an estimator says of them.
        baseline: What a cheaper one says.
        rng: For the bootstrap.
        pairs: As for ``tau_b``.
        draws: Bootstrap samples.

    Source: percentile intervals, Efron and Tibshirani, An Introduction to the Bootstrap (1993),
    chapter 13.
    """
    drawn = rng.integers(len(truth), size=(draws, len(truth)))
    right, said, cheap = (_signs(figures, pairs) for figures in (truth, scores, baseline))
    value = _tau(right, said) - _tau(right, cheap)
    return _interval(value, _taus(right, said, drawn) - _taus(right, cheap, drawn))


def within(groups: Sequence[str]) -> Pairs:
    """Pairs of children of the same group; the rest are pairs between groups."""
    names = np.array(groups)
    return np.asarray(names[:, None] == names[None, :])


def top_half(truth: Numbers) -> NDArray[np.int64]:
    """Positions of the better half of the children, the larger half of an odd number."""
    order = np.argsort(-truth, kind="stable")
    return np.sort(order[: (len(truth) + 1) // 2])


def regret(truth: Numbers, scores: Numbers, count: int) -> float:
    """How far the best of an estimator's first ``count`` children is below the best of all.

    Children with equal scores are taken in the order of the sample, which is random.

    Args:
        truth: What children reach, larger is better.
        scores: What the estimator says of them.
        count: How many of its best are trained in full, at least 1.
    """
    chosen = np.argsort(-scores, kind="stable")[:count]
    return float(truth.max() - truth[chosen].max())


def expected_regret(truth: Numbers, count: int) -> float:
    """The mean regret of ``count`` children that are chosen blindly.

    From order statistics: the i-th best is the best chosen one with probability
    C(n - i, count - 1) / C(n, count).
    """
    n, best_first = len(truth), np.sort(truth)[::-1]
    places = np.arange(1, n + 1)
    chances = stats.hypergeom.pmf(0, n, places - 1, count) * np.clip(
        count / np.maximum(n - places + 1, 1), 0, 1
    )
    return float(truth.max() - (chances * best_first).sum())


def seed_noise(scores: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation of a child's score over seeds, pooled over children.

    Args:
        scores: For each child its scores, one per seed.

    Returns:
        The deviation and its degrees of freedom; NaN and 0 where no child has two scores.
    """
    repeated = [np.array(one) for one in scores if len(one) > 1]
    freedom = sum(len(one) - 1 for one in repeated)
    if freedom == 0:
        return float("nan"), 0
    total = sum(float(((one - one.mean()) ** 2).sum()) for one in repeated)
    return float(np.sqrt(total / freedom)), freedom


def not_told_apart(means: Numbers, counts: Sequence[int], noise: float, freedom: int) -> Pairs:
    """Which children cannot be told from the best one.

    A child is told apart if it is further below the best mean than the range of as many equal
    children would be in 95 % of cases. So if all are equal, all are kept with a probability of
    0.95, however many they are.

    Args:
        means: Mean score of each child over seeds, larger is better, shape (children,).
        counts: Over how many seeds.
        noise: Standard deviation over seeds, from ``seed_noise``.
        freedom: Its degrees of freedom; 0 where it is not known, and nothing is told apart.

    Source: Tukey's honestly significant difference, by the studentised range; with unequal counts
    Kramer, Extension of multiple range tests to group means with unequal numbers of replications
    (Biometrics 12, 1956).
    """
    if len(means) < 2 or freedom == 0:
        return np.ones(len(means), dtype=np.bool_)
    range_ = _studentised_range(len(means), freedom)
    best = int(np.argmax(means))
    share = 1 / np.array(counts, dtype=np.float64)
    allowed = range_ * noise * np.sqrt((share + share[best]) / 2)
    return np.asarray(means >= means[best] - allowed)


@cache
def _studentised_range(count: int, freedom: int) -> float:
    """What the range of so many equal children stays below in 95 % of cases, in deviations."""
    return float(stats.studentized_range.ppf(CONFIDENCE, count, freedom))


def _signs(figures: Numbers, pairs: Pairs | None) -> Numbers:
    """1 where the first of a pair is larger, -1 where smaller, 0 where equal or not counted."""
    signs = np.sign(figures[:, None] - figures[None, :])
    return signs if pairs is None else np.where(pairs, signs, 0.0)


def _tau(one: Numbers, other: Numbers) -> float:
    return float(_of_pairs(one, other))


def _taus(one: Numbers, other: Numbers, drawn: NDArray[np.int64]) -> Numbers:
    """Tau-b of each bootstrap sample: children by position, shape (draws, children)."""
    parts = [
        _of_pairs(one[part[:, :, None], part[:, None, :]], other[part[:, :, None], part[:, None]])
        for part in np.array_split(drawn, max(1, drawn.size * drawn.shape[1] // CHUNK))
    ]
    return np.concatenate(parts)


def _of_pairs(one: Numbers, other: Numbers) -> Numbers:
    """Tau-b from the signs of pairs, over the last two dimensions; NaN where one has none."""
    weight = np.abs(one).sum((-2, -1)) * np.abs(other).sum((-2, -1))
    agreement = (one * other).sum((-2, -1))
    usable = np.where(weight > 0, weight, 1.0)
    return np.asarray(np.where(weight > 0, agreement / np.sqrt(usable), np.nan))


def _interval(value: float, draws: Numbers) -> Interval:
    """Percentiles of what a bootstrap gave; samples in which it cannot be computed are left out."""
    found = draws[np.isfinite(draws)]
    if len(found) < len(draws) / 2 or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
