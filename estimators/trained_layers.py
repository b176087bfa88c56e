"""Layers of networks that are trained, where torch's own take long on a CPU."""

from torch import nn

from estimators.depthwise import DepthwiseConv2d, is_depthwise, numbers_of
from estimators.pooling import GlobalPool
from search_spaces.graph import Node
from search_spaces.modules import layer_of
from search_spaces.primitives import Conv2d, GlobalAvgPool2d


def trained_layer(node: Node) -> nn.Module | None:
    """The layer of ``layer_of`` for a network that is trained; same names and initial values."""
    spec = node.primitive
    if isinstance(spec, GlobalAvgPool2d):
        return GlobalPool()
    if isinstance(spec, Conv2d) and is_depthwise(spec, node.input_shapes[0][0]):
        channels, kernel = int(spec.out_channels), int(spec.kernel_size)
        return DepthwiseConv2d(channels, channels, kernel, bias=spec.bias, **numbers_of(spec))
    return layer_of(node)
