"""Networks over weights that are there already: no initial values, no running statistics."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from estimators.depthwise import depthwise_conv2d, is_depthwise, numbers_of
from estimators.pooling import mean_of_pixels
from search_spaces.graph import Graph, Node
from search_spaces.modules import Function, flat, layer_of, primitive_layer
from search_spaces.primitives import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear

# Layers that have neither weights nor modes are the same in all networks.
_without_state = lru_cache(maxsize=1024)(primitive_layer)


def assemble(graph: Graph, parameters: Mapping[str, nn.Parameter]) -> nn.Module:
    """A network with the given parameters; its batch norms take the statistics of each batch.

    It computes what ``build(graph)`` with these weights computes while training, but costs a
    fraction of the time to make: nothing is drawn, and a layer with weights is no module.

    Args:
        graph: The network.
        parameters: By the names of its state dict.
    """

    def function(node: Node) -> Function | None:
        spec = node.primitive
        if isinstance(spec, GlobalAvgPool2d):
            return mean_of_pixels
        if not isinstance(spec, Conv2d | BatchNorm2d | Linear):
            fresh = isinstance(spec, Dropout)  # as it has modes
            return layer_of(node) if fresh else _without_state(spec, node.input_shapes)
        weight, bias = parameters[f"{node.name}.weight"], parameters.get(f"{node.name}.bias")
        if isinstance(spec, Conv2d):
            depthwise = is_depthwise(spec, node.input_shapes[0][0])
            call = depthwise_conv2d if depthwise else functional.conv2d
            return partial(call, weight=weight, bias=bias, **numbers_of(spec))
        if isinstance(spec, Linear):
            return partial(functional.linear, weight=weight, bias=bias)
        return partial(
            functional.batch_norm,
            running_mean=None,
            running_var=None,
            weight=weight,
            bias=bias,
            training=True,
            eps=spec.eps,
        )

    return flat(graph, function)


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
        self._numbers = numbers_of(spec)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps for feature maps, ``(batch, channels, height, width)``."""
        return functional.conv2d(x, self.weight, self.bias, **self._numbers)
