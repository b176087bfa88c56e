"""Networks over weights that are there already: no initial values, no running statistics."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from search_spaces.graph import Graph, Node
from search_spaces.modules import build, layer_of
from search_spaces.primitives import BatchNorm2d, Conv2d, Linear


def assemble(graph: Graph, parameters: Mapping[str, nn.Parameter]) -> nn.Module:
    """A network with the given parameters; its batch norms take the statistics of each batch.

    It computes what ``build(graph)`` with these weights computes while training, but costs a
    fraction of the time to make: nothing is drawn.

    Args:
        graph: The network.
        parameters: By the names of its state dict.
    """

    def layer(node: Node) -> nn.Module | None:
        if not isinstance(node.primitive, Conv2d | BatchNorm2d | Linear):
            return layer_of(node)
        weight, bias = parameters[f"{node.name}.weight"], parameters.get(f"{node.name}.bias")
        if isinstance(node.primitive, Conv2d):
            return GivenConv(weight, bias, node.primitive)
        assert bias is not None  # noqa: S101 - both have one
        if isinstance(node.primitive, Linear):
            return _Linear(weight, bias)
        return _BatchNorm(weight, bias, node.primitive.eps)

    return build(graph, layer)


@final
class GivenConv(nn.Module):
    """A convolution over weights that are there already.

    Args:
        weight: ``(out_channels, in_channels / groups, kernel, kernel)``, not copied.
        bias: ``(out_channels,)``, or None.
        spec: All else.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, spec: Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self._numbers = (
            *(int(spec.stride), int(spec.padding)),
            *(int(spec.dilation), int(spec.groups)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps for feature maps, ``(batch, channels, height, width)``."""
        return functional.conv2d(x, self.weight, self.bias, *self._numbers)


@final
class _BatchNorm(nn.Module):
    def __init__(self, weight: nn.Parameter, bias: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, None, None, self.weight, self.bias, training=True, eps=self._eps
        )


@final
class _Linear(nn.Module):
    def __init__(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)
