"""Scores as a model wants them: centred, of deviation 1, and without a long tail of bad ones."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Array: TypeAlias = npt.NDArray[np.float64]

FLOOR = 20.0  # in the unit of warped scores


def warped(rewards: Array) -> Array:
    """Rewards with the lower half replaced by normal quantiles of their ranks, standardised.

    Differences above the median are kept to scale, since the search is about them; how bad the
    bad ones are is not. Equal rewards stay equal and their order is kept.

    Args:
        rewards: At least one, finite; shape ``(rewards,)``.

    Returns:
        Mean 0 and deviation 1, or all 0 where all rewards are equal.

    Source: the half-rank warping of Song et al., The Vizier Gaussian Process Bandit Algorithm
    (arXiv:2408.11527), section on output warping. Deviation: tied ranks are averaged.
    """
    median = np.median(rewards)
    upper = rewards >= median
    spread = np.sqrt(np.mean(np.square(rewards[upper] - median)))
    if spread == 0.0:  # the best are all equal
        spread = max(float(np.ptp(rewards)), np.finfo(np.float64).tiny)
    _, place, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[place]  # from 0, of ties the mean
    quantiles = ndtri(np.minimum((ranks + 0.5) / len(rewards), 0.5))
    scores: Array = np.where(upper, (rewards - median) / spread, quantiles)
    deviation = scores.std()
    if np.ptp(rewards) == 0.0 or not deviation > 0.0:
        return np.zeros(len(rewards))
    standard: Array = (scores - scores.mean()) / deviation
    return standard


def straight(rewards: Array) -> Array:
    """Rewards on a straight scale, on which differences above the median are as in ``warped``.

    They are cut off ``FLOOR`` below the median: a few networks may not have learned at all.

    Args:
        rewards: At least one, finite; shape ``(rewards,)``.

    Returns:
        Mean 0; all 0 where the better half of the rewards is equal.
    """
    upper = rewards >= np.median(rewards)
    height = np.ptp(rewards[upper])
    if height == 0.0:
        return np.zeros(len(rewards))
    unit = np.ptp(warped(rewards)[upper]) / height
    scaled = np.maximum(unit * (rewards - np.median(rewards)), -FLOOR)
    centred: Array = scaled - scaled.mean()
    return centred
