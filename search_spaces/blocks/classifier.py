"""From feature maps to class scores."""

from dataclasses import dataclass
from typing import final

from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import Dropout, Flatten, GlobalAvgPool2d, Linear


@final
@dataclass(frozen=True, slots=True)
class Classifier(BlockSpec):
    """Widens the features, averages them over the map and scores the classes.

    Attributes:
        num_classes: Number of scores (logits).
        width: Channels of the 1x1 convolution before pooling; 0 leaves it out.
        dropout: Probability of dropping a pooled feature while training; 0 leaves it out.
        activation: Non-linearity after the 1x1 convolution, and before it with pre-activation.
        pre_activation: Whether batch norm and activation come first, as blocks with
            pre-activation leave them to their successor.
        norm_eps: What batch norms add to the variance.
    """

    num_classes: int
    width: int = 0
    dropout: float = 0.0
    activation: str = "relu"
    pre_activation: bool = False
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError(f"width must be at least 0, got {self.width}")

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        if self.pre_activation:
            x = scope.norm("pre_norm", x, eps=self.norm_eps)
            x = scope.activation("pre_act", x, self.activation)
        if self.width:
            x = scope.conv("conv", x, scope.argument("hidden_channels", self.width))
            x = scope.activation("act", scope.norm("norm", x, eps=self.norm_eps), self.activation)
        x = scope.add("flatten", Flatten(), scope.add("pool", GlobalAvgPool2d(), x))
        if self.dropout:
            x = scope.add("dropout", Dropout(self.dropout), x)
        return scope.add("linear", Linear(scope.argument("num_classes", self.num_classes)), x)
