"""Heads that keep the map: hidden linear layers, and a vector for comparison."""

from dataclasses import dataclass
from typing import final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import AdaptiveAvgPool2d, Dropout, Flatten, Linear


@final
@dataclass(frozen=True, slots=True)
class HiddenClassifier(BlockSpec):
    """Averages to a small map and scores the classes through hidden layers.

    Attributes:
        num_classes: Number of scores (logits).
        width: Features of each of the two hidden linear layers.
        map_size: Side of the small map, in pixels, at least 2.
        dropout: Probability of dropping a hidden feature while training; 0 leaves it out.
        activation: Non-linearity after each hidden layer.

    Source: VGG (arXiv:1409.1556), table 1; the small map as in torchvision, so that images of
    any size have the same weights.
    """

    num_classes: int
    width: int = 4096
    map_size: int = 7
    dropout: float = 0.5
    activation: str = "relu"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        width = scope.argument("hidden", self.width)
        x = scope.add("pool", AdaptiveAvgPool2d(self.map_size), inputs[-1])
        x = scope.add("flatten", Flatten(), x)
        for name in ("first", "second"):
            x = scope.add(f"{name}_linear", Linear(width), x)
            x = scope.activation(f"{name}_act", x, self.activation)
            if self.dropout:
                x = scope.add(f"{name}_dropout", Dropout(self.dropout), x)
        return scope.add("linear", Linear(scope.argument("num_classes", self.num_classes)), x)


@final
@dataclass(frozen=True, slots=True)
class Embedding(BlockSpec):
    """Flattens the map and turns it into a vector of features.

    Vectors of several images are compared with each other.

    Attributes:
        width: Number of features.
        activation: Non-linearity that yields them.

    Source: Koch, Zemel and Salakhutdinov, "Siamese neural networks for one-shot image
    recognition" (2015), section 3.1.
    """

    width: int = 4096
    activation: str = "sigmoid"

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = scope.add("flatten", Flatten(), inputs[-1])
        x = scope.add("linear", Linear(scope.argument("features", self.width)), x)
        return scope.activation("act", x, self.activation)
