"""Which of a network's parts are fitted anew: what ``auto`` stands for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MODES = ("auto", "linear", "probe", "last", "full")
FEW, MANY = 1_000, 5_000  # training images


@dataclass(frozen=True, slots=True)
class Probed:
    """A linear classifier on the features of one stage.

    Attributes:
        stage: From 1 on; what follows the last one is the input of the last layer.
        channels: Number of features.
        accuracy: Share of the validation images it classifies rightly.
    """

    stage: int
    channels: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What is done with a network, and why.

    Attributes:
        mode: One of ``MODES``, not ``auto``.
        stages: Of the network: those kept (``probe``), or those trained (``last``, ``full``).
        why: The reason, for people.
    """

    mode: str
    stages: int
    why: str


def choose(curve: Sequence[Probed], *, training_images: int, validation_images: int) -> Choice:
    """What ``auto`` stands for.

    The curve says how similar the images are to those the network was trained on: they are where
    the features of the last layer are the best, or not to be told from the best by one standard
    error. Few similar images ask for a new last layer, few others for one on an earlier stage's
    features. Many ask for all weights at a tenth of the rate; between ``FEW`` and ``MANY``
    similar images for the later half of the stages.

    Args:
        curve: A classifier for each stage and for the last layer, in their order.
        training_images: How many there are.
        validation_images: How many the curve was read on.
    """
    last, best = curve[-1], max(curve, key=lambda probed: probed.accuracy)
    error = math.sqrt(best.accuracy * (1 - best.accuracy) / validation_images)
    similar = last.accuracy >= best.accuracy - error
    stages = len(curve) - 1
    seen = (
        f"the last features are the best ({last.accuracy:.3f})"
        if similar
        else f"stage {best.stage} is better than the last features "
        f"({best.accuracy:.3f} and {last.accuracy:.3f})"
    )
    count = f"{training_images:,} training images are"
    if training_images < FEW:
        mode, kept = ("linear", stages) if similar else ("probe", best.stage)
        return Choice(mode, kept, f"{count} fewer than {FEW:,}, and {seen}")
    if training_images < MANY and similar:
        return Choice("last", max(1, stages // 2), f"{count} fewer than {MANY:,}, and {seen}")
    enough = f"{count} at least {MANY if similar else FEW:,}"
    return Choice("full", stages, f"{enough}, and {seen}")
