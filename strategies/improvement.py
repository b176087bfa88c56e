"""How much better than the best a network can be expected to be."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr, ndtr

Array: TypeAlias = npt.NDArray[np.float64]

_LOG_ROOT_2_PI = 0.5 * np.log(2.0 * np.pi)
_DIRECT = -1.0  # standardised improvements above this need no care
_FAR = -1e4  # below this the quotient of Mills is -1 / z to the last digit


def log_expected_improvement(mean: Array, variance: Array, best: float) -> Array:
    """Logarithm of the expectation of ``max(f - best, 0)`` for normal ``f``.

    Ranks what has hardly a chance too, where the expectation itself would be 0.

    Args:
        mean: Of any shape.
        variance: Above 0, of the same shape.
        best: What is to be exceeded.

    Source: Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization
    (arXiv:2310.20708), Eq. (9), with the scaled complementary error function.
    """
    deviation = np.sqrt(variance)
    z = (mean - best) / deviation
    direct = np.maximum(z, _DIRECT)
    log_density = -0.5 * np.square(direct) - _LOG_ROOT_2_PI
    near = np.log(np.exp(log_density) + direct * ndtr(direct))
    below = np.clip(z, _FAR, _DIRECT)
    mills = np.sqrt(0.5 * np.pi) * erfcx(-below / np.sqrt(2.0))
    tail = np.where(z < _FAR, -2.0 * np.log(-np.minimum(z, _FAR)), np.log1p(below * mills))
    far = -0.5 * np.square(z) - _LOG_ROOT_2_PI + tail
    logs: Array = np.where(z > _DIRECT, near, far) + np.log(deviation)
    return logs


def log_chance_below(mean: Array, deviation: Array, limit: Array) -> Array:
    """Logarithm of the chance that normal costs are all within their limits.

    Args:
        mean: Shape ``(points, costs)``.
        deviation: Above 0, shape ``(costs,)``.
        limit: Infinite where there is none, shape ``(costs,)``.

    Source: Gelbart et al., Bayesian Optimization with Unknown Constraints (arXiv:1403.5607).
    """
    chances: Array = log_ndtr((limit - mean) / deviation).sum(axis=1)
    return chances
