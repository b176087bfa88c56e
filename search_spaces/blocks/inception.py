"""The inception module."""

from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.blocks.conv import ConvNormAct
from search_spaces.blocks.pool import MaxPool
from search_spaces.blocks.squeeze_excite import INPUT, SCALED, check_squeeze, squeeze_excite
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value, chain
from search_spaces.primitives import Concat


@final
@dataclass(frozen=True, slots=True)
class Inception(BlockSpec):
    """Four branches that look around differently, side by side.

    A 1x1 convolution; a 1x1 and a 3x3 one; a 1x1 and a larger one; max pooling and a 1x1 one.
    Each has batch norm and activation; the outputs are concatenated.

    Attributes:
        point: Channels of the first branch.
        reduce3: Channels of the 1x1 convolution in the second branch.
        width3: Output channels of the second branch.
        reduce5: Channels of the 1x1 convolution in the third branch.
        width5: Output channels of the third branch.
        pooled: Output channels of the fourth branch.
        kernel_size: Side of the third branch's kernel.
        norm_eps: What batch norm adds to the variance.
        squeeze_ratio: Squeezed channels of squeeze-excite, which scales the concatenation, as a
            share of others (at least one channel); 0 leaves it out.
        squeeze_of: Those others: ``scaled``, the output's, or ``input``, the input's channels.
        activation: A key of ``primitives.ACTIVATIONS``; squeeze-excite has it, too.

    Source: GoogLeNet (arXiv:1409.4842), figure 2 (b); batch norm: arXiv:1502.03167;
    squeeze-excite: arXiv:1709.01507, figure 2.
    """

    family: ClassVar[str] = "inception"

    point: int
    reduce3: int
    width3: int
    reduce5: int
    width5: int
    pooled: int
    kernel_size: int = 5
    norm_eps: float = 1e-5
    squeeze_ratio: float = 0.0
    squeeze_of: str = SCALED
    activation: str = "relu"

    def __post_init__(self) -> None:
        check_squeeze(self.squeeze_ratio, self.squeeze_of)

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        """See the class."""
        x = inputs[-1]
        kernel = scope.argument("kernel", self.kernel_size)
        point = self._conv(scope, "point", self.point)
        reduce3 = self._conv(scope, "reduce3", self.reduce3)
        conv3 = self._conv(scope, "width3", self.width3, 3)
        reduce5 = self._conv(scope, "reduce5", self.reduce5)
        conv5 = self._conv(scope, "width5", self.width5, kernel)
        pooled = self._conv(scope, "pooled", self.pooled)
        y = scope.add(
            "concat",
            Concat(),
            scope.block("branch1", point, x),
            scope.sequence("branch2", chain((reduce3, conv3)), x),
            scope.sequence("branch3", chain((reduce5, conv5)), x),
            scope.sequence("branch4", chain((MaxPool(), pooled)), x),
        )
        if self.squeeze_ratio == 0:
            return y
        of = x.channels if self.squeeze_of == INPUT else y.channels
        return squeeze_excite(scope, y, ratio=self.squeeze_ratio, of=of, activation=self.activation)

    def _conv(self, scope: ScopeBuilder, name: str, width: int, kernel: int = 1) -> ConvNormAct:
        width = scope.argument(f"{name}_channels", width)
        return ConvNormAct(width, kernel, activation=self.activation, norm_eps=self.norm_eps)
