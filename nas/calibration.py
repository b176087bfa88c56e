"""What one child costs, from as little of its training as tells."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

from estimators.data import ImageData, Split
from estimators.estimator import Estimator, Evaluation
from estimators.lazy_images import subset
from nas.errors import NasError
from nas.workers import Failure

LIMIT = 15.0  # seconds that one evaluation may be expected to take
LOWEST = 2**-14  # of the fidelity: a step, as a rule
GROWTH = 4
SCORED = 256  # validation images of a short evaluation, where there are more than twice as many

Score = Callable[[Estimator, float], Evaluation | Failure]


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """What a child costs.

    Attributes:
        seconds: Of its whole training and scoring on this machine.
        fidelity: How far it was trained to find out, in (0, the run's fidelity]; ``seconds`` are
            measured where that is the run's fidelity, else extrapolated.
        metrics: What it scored there; on some of the validation images where ``seconds`` are
            extrapolated.
    """

    seconds: float
    fidelity: float
    metrics: Mapping[str, float]


def calibrated(
    estimator: Estimator,
    images: ImageData,
    *,
    prepared: Callable[[ImageData], Estimator],
    score: Score,
    fidelity: float,
) -> Calibration:
    """Time a child, whole if that takes ``LIMIT`` seconds at most, else a part of it.

    Seconds are taken to be linear in the fidelity and in the number of validation images. So few
    of these are scored at first, after a step or so; then a longer part is trained, and longer
    ones, until training shows beside what every evaluation takes.

    Args:
        estimator: Prepared with ``images``.
        images: The data.
        prepared: Another one with the same options, prepared with what it is handed.
        score: Evaluates the child with an estimator, up to a fidelity.
        fidelity: What is asked about, in (0, 1].

    Raises:
        NasError: If an evaluation fails (exit code 3).
    """
    watch, least = _Watch(score), LOWEST * fidelity
    short, scoring, number = estimator, 0.0, len(images.validation)
    cut = number > 2 * SCORED
    if cut:
        short = prepared(_fewer(images, SCORED))
    watch.seconds(short, least)  # the first evaluation of a process takes longer
    begin = seconds = watch.seconds(short, least)
    if cut:
        twice = watch.seconds(prepared(_fewer(images, 2 * SCORED)), least)
        scoring = max(0.0, twice - begin) * (number - SCORED) / SCORED
    share = least
    while share < fidelity and seconds < 2 * begin:
        share = min(GROWTH * share, fidelity)
        seconds = watch.seconds(short, share)
    slope = max(0.0, seconds - begin) / (share - least)
    if begin + scoring + slope * (fidelity - least) <= LIMIT:
        return Calibration(watch.seconds(estimator, fidelity), fidelity, watch.metrics)
    longest = fidelity if slope == 0 else min(fidelity, least + (LIMIT - begin) / slope)
    if longest > share:
        share = longest
        slope = max(0.0, watch.seconds(short, share) - begin) / (share - least)
    return Calibration(begin + scoring + slope * (fidelity - least), share, watch.metrics)


class _Watch:
    """Times evaluations of one child, and keeps the metrics of the last."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.metrics: Mapping[str, float] = {}

    def seconds(self, estimator: Estimator, fidelity: float) -> float:
        """How long an evaluation takes.

        Raises:
            NasError: If it fails (exit code 3).
        """
        begin = time.monotonic()
        result = self._score(estimator, fidelity)
        seconds = time.monotonic() - begin
        if isinstance(result, Failure):
            raise NasError(
                f"dry run: the child failed: {result.cause}: {result.message}", exit_code=3
            )
        self.metrics = dict(result.metrics)
        return seconds


def _fewer(images: ImageData, count: int) -> ImageData:
    """The same data with some of the validation images, spread over all of them."""
    validation = images.validation
    every = len(validation) // count
    spread = slice(0, every * count, every)
    few = Split(subset(validation.images, spread), validation.labels[spread])
    return replace(images, validation=few, groups=None)
