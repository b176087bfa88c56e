"""The winner of a search beside the best published network: which is better, and how sure that is.

Which of them is handed over is decided by validation images. Test images then say what came of it,
image by image, as both have read the same ones.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from torch import Tensor

from nas.limits import format_quantity
from search_spaces.strict_json import dumps

QUANTILE = 1.959964  # of the normal distribution, for 95 %


@final
@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: ``trial 7``, or the name of a published network.
        params: Parameters.
        macs: Multiply-accumulates for one image.
        latency_ms: Median milliseconds for one image, both measured one after the other.
        epochs: Of its final training; None where there was none, or other weights are better.
        score: The metric of the comparison on validation images.
        test: Every metric on test images.
    """

    name: str
    params: int
    macs: int
    latency_ms: float
    epochs: int | None
    score: float
    test: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """What ``summary.json`` has."""
        return {**asdict(self), "test": dict(self.test)}

    def text(self, metric: str) -> str:
        """In a line."""
        test = f"{self.test[metric]:.4f} on test images"
        return (
            f"{self.name} ({format_quantity(self.params)} parameters, "
            f"{format_quantity(self.macs)} MACs, {self.latency_ms:.3g} ms): "
            f"{metric} {self.score:.4f} on validation images, {test}"
        )


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        metric: By which it was decided, on validation images.
        searched: The winner of the search.
        reference: The published network.
        considered: All that were in question, by name.
        is_reference: Whether the published network is better, and was handed over.
        difference: Accuracy of the winner of the search less that of the published network on test
            images, with the ends of its 95 % interval; None if a run of old has not written down
            which images were recognised.
    """

    metric: str
    searched: Side
    reference: Side
    considered: tuple[str, ...]
    is_reference: bool
    difference: tuple[float, float, float] | None

    @property
    def digest(self) -> str:
        """SHA-256 of ``document``."""
        return hashlib.sha256(dumps(self.document()).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """What ``summary.json`` has."""
        return {
            "metric": self.metric,
            "handed_over": self.reference.name if self.is_reference else self.searched.name,
            "searched": self.searched.document(),
            "reference": self.reference.document(),
            "considered": list(self.considered),
            "accuracy_difference": None if self.difference is None else self.difference[0],
            "interval": None if self.difference is None else list(self.difference[1:]),
        }


def text(document: Mapping[str, Any]) -> list[str]:
    """The comparison of a ``summary.json`` in lines."""
    metric = document["metric"]
    sides = [Side(**document[name]) for name in ("searched", "reference")]
    lines = [side.text(metric) for side in sides]
    if document["accuracy_difference"] is not None:
        low, high = document["interval"]
        lines.append(
            f"accuracy on test images, {sides[0].name} less {sides[1].name}: "
            f"{document['accuracy_difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
        )
    return lines


def times_read(reads: int, *, compared: bool) -> str:
    """How often test images were read, in words.

    Args:
        reads: How often, by all networks of a run, each once with the same weights.
        compared: Whether a published network was compared with the winner.
    """
    if compared and reads == 2:
        return "read once by each of the two that were compared"
    return "read once" if reads == 1 else f"read {reads} times, each time by other weights"


def packed(hits: Tensor) -> str:
    """One bit for each image as hexadecimal digits, the first image's highest.

    Args:
        hits: ``(images,)``, whether each answer is right.
    """
    return np.packbits(hits.numpy()).tobytes().hex()


def difference(one: str, other: str, images: int) -> tuple[float, float, float] | None:
    """By how much one network is right more often than another, over the same images.

    Args:
        one: Its answers, from ``packed``.
        other: Those of the other.
        images: How many there are.

    Returns:
        Share of right answers of the one less that of the other, and the ends of its 95 %
        interval; None if there are not as many bits as images.

    Source: the interval of Agresti and Min, Statistics in Medicine 24 (2005) 729: Wald's for
    matched proportions, with half an image added to each of the four cells.
    """
    bits = [np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in (one, other)]
    if any(len(some) != 8 * math.ceil(images / 8) for some in bits) or not images:
        return None
    mine, theirs = (some[:images].astype(bool) for some in bits)
    only_one, only_other = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    b, c, n = only_one + 0.5, only_other + 0.5, images + 2
    middle, half = (b - c) / n, QUANTILE * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return (only_one - only_other) / images, max(-1.0, middle - half), min(1.0, middle + half)
