"""What is asked of the images: outputs, loss and metrics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional

Direction = Literal["maximize", "minimize"]


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """What the values of a metric mean.

    Attributes:
        direction: Which values are better.
        lowest: Least value there can be.
        highest: Largest value there can be.
    """

    direction: Direction
    lowest: float = -math.inf
    highest: float = math.inf


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
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean training loss of a batch, a scalar.

        Args:
            outputs: ``(batch, *output_shape)``.
            targets: ``(batch,)`` as in ``Split.labels``.
        """

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric over a whole split; arguments as for ``loss``."""


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
        """Accuracy, a fraction in [0, 1], and log-loss in nats."""
        return {"accuracy": Metric("maximize", 0, 1), "log_loss": Metric("minimize", 0)}

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy in nats."""
        return functional.cross_entropy(outputs, targets)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Accuracy and log-loss."""
        right = (outputs.argmax(dim=1) == targets).to(torch.float64).mean()
        log_loss = functional.cross_entropy(outputs.double(), targets)
        return {"accuracy": float(right), "log_loss": float(log_loss)}
