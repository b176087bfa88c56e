"""What is asked of the images: outputs, loss and metrics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from estimators.class_figures import ClassFigures
from estimators.metrics import (
    TOP,
    auroc,
    balanced_accuracy,
    by_class,
    macro_f1,
    top_accuracy,
)

Direction = Literal["maximize", "minimize"]


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """What the values of a metric mean.

    Attributes:
        direction: Which values are better.
        lowest: Least value there can be.
        highest: Largest value there can be.
        required: Whether an evaluation must have it; a run requires what ranks trials or finalists.
    """

    direction: Direction
    lowest: float = -math.inf
    highest: float = math.inf
    required: bool = False


class Task(ABC):
    """What a network is trained for and judged by."""

    __slots__ = ()

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """What the network must return for one image."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """Every metric that ``measure`` returns, by name."""

    @abstractmethod
    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Mean training loss of a batch, a scalar.

        Args:
            outputs: ``(batch, *output_shape)``.
            targets: ``(batch,)`` as in ``Split.labels``.
            weights: What ``balanced`` returns, on the device of the outputs: the mean is weighted
                by that of each image's class. None for equal weights.
            smoothing: Share of each label that goes to all classes, in [0, 1).
        """

    @abstractmethod
    def balanced(self, targets: Tensor) -> Tensor:
        """Weights with which all classes count the same over some training images.

        Args:
            targets: Those of the images, as for ``loss``; every class is among them.
        """

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric over a whole split; arguments as for ``loss``."""

    @abstractmethod
    def hits(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """``(images,)``: whether each answer is right; arguments as for ``loss``."""

    @abstractmethod
    def by_class(self, outputs: Tensor, targets: Tensor) -> tuple[ClassFigures, ...]:
        """Figures of each class over a whole split, for the reader; arguments as for ``loss``."""


@final
@dataclass(frozen=True, slots=True)
class Classification(Task):
    """One class per image.

    Attributes:
        num_classes: Number of classes, at least 2.
    """

    num_classes: int

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}")

    @property
    def output_shape(self) -> tuple[int, ...]:
        """One score (logit) per class."""
        return (self.num_classes,)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """All but log-loss, in nats, are fractions in [0, 1], and better the higher.

        ``accuracy``: share of images whose highest output is that of their class.
        ``balanced_accuracy``, ``macro_f1``, ``auroc``: see ``estimators.metrics``.
        ``top5_accuracy``: likewise; from 6 classes on, as it is 1 with fewer.
        ``log_loss``: mean negative logarithm of the probability of the right class.
        """
        share = Metric("maximize", 0, 1)
        names = ["accuracy", "balanced_accuracy", "macro_f1", "auroc"]
        if self.num_classes > TOP:
            names.append("top5_accuracy")
        return {**dict.fromkeys(names, share), "log_loss": Metric("minimize", 0)}

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Cross entropy in nats, its mean over images; smoothed labels as in arXiv:1512.00567, 7.

        Weights are of images, by their class. So they do not move what a smoothed label asks for,
        as PyTorch's do, which weight each class that a label is spread over.
        """
        if weights is None:
            return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)
        each = functional.cross_entropy(
            outputs, targets, label_smoothing=smoothing, reduction="none"
        )
        of_images = weights[targets]
        return (of_images * each).sum() / of_images.sum()

    def balanced(self, targets: Tensor) -> Tensor:
        """``(num_classes,)``: images / (classes x images of the class), 1 on average.

        Source: ``class_weight="balanced"`` of scikit-learn, after King and Zeng (2001).
        """
        counts = torch.bincount(targets, minlength=self.num_classes)
        return len(targets) / (self.num_classes * counts.to(torch.float32))

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric: 15 ms for 10,000 images of 10 classes, 75 ms for 100 classes."""
        predicted = outputs.argmax(dim=1)
        figures = by_class(predicted, targets, self.num_classes)
        exact = outputs.double()
        found = {
            "accuracy": float((predicted == targets).to(torch.float64).mean()),
            "balanced_accuracy": balanced_accuracy(figures),
            "macro_f1": macro_f1(figures, predicted),
            "auroc": auroc(exact.softmax(dim=1).numpy(), targets.numpy()),
            "log_loss": float(functional.cross_entropy(exact, targets)),
        }
        if self.num_classes > TOP:
            found["top5_accuracy"] = top_accuracy(outputs, targets)
        return found

    def hits(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the highest output is that of the class."""
        return outputs.argmax(dim=1) == targets

    def by_class(self, outputs: Tensor, targets: Tensor) -> tuple[ClassFigures, ...]:
        """Support, recall, precision and F1 of each class."""
        return by_class(outputs.argmax(dim=1), targets, self.num_classes)
