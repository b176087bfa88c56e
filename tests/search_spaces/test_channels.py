"""Which channels of a network may change places, and which only together."""

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import BasicBlock, Bottleneck, Classifier, ConvNormAct, DenseLayer, MBConv
from search_spaces.channels import Channels, channels
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec
from search_spaces.primitives import Conv2d


def network(*blocks: BlockSpec) -> Graph:
    return lower(Architecture("Net", (3, 8, 8), ConvNormAct(16), (blocks,), Classifier(10)))


def at(graph: Graph, name: str) -> int:
    return next(place for place, node in enumerate(graph.nodes) if node.name == name)


def group(graph: Graph, found: Channels, name: str) -> int:
    """The group of a layer's output that is made of one."""
    (piece,) = found.of[at(graph, name)]
    return piece


def test_images_and_outputs_are_tied_and_the_rest_is_free() -> None:
    graph = network(ConvNormAct(8))
    found = channels(graph)
    assert found.fixed[found.of[0][0]]
    assert found.fixed[found.of[-1][0]]
    stem, inner = group(graph, found, "stem.conv"), group(graph, found, "stages.0.0.conv")
    assert not found.fixed[stem]
    assert not found.fixed[inner]
    assert (found.sizes[stem], found.sizes[inner]) == (16, 8)
    assert found.columns[at(graph, "stages.0.0.conv")] == (stem,)


def test_what_is_added_moves_together() -> None:
    graph = network(BasicBlock(16), BasicBlock(16))
    found = channels(graph)
    convolutions = [
        place for place, node in enumerate(graph.nodes) if isinstance(node.primitive, Conv2d)
    ]
    stem, first, second, third, fourth = (found.of[place] for place in convolutions)
    assert stem == second == fourth
    assert len({stem, first, third}) == 3


def test_a_gate_moves_with_what_it_scales_and_depthwise_hands_on() -> None:
    graph = network(MBConv(24, squeeze_ratio=0.25))
    found = channels(graph)
    hidden = group(graph, found, "stages.0.0.expand_conv")
    assert group(graph, found, "stages.0.0.depthwise_conv") == hidden
    assert group(graph, found, "stages.0.0.squeeze_excite.expand") == hidden
    assert group(graph, found, "stages.0.0.squeeze_excite.reduce") != hidden
    assert at(graph, "stages.0.0.depthwise_conv") not in found.columns


def test_a_concatenation_is_made_of_several() -> None:
    graph = network(DenseLayer(4, 0), DenseLayer(4, 0))
    found = channels(graph)
    last = max(found.columns.values(), key=len)
    assert [found.sizes[piece] for piece in last] == [16, 4, 4]
    assert len(set(last)) == 3


def test_convolutions_with_groups_tie_both_sides() -> None:
    graph = network(Bottleneck(32, groups=4))
    found = channels(graph)
    (place,) = (
        place
        for place, node in enumerate(graph.nodes)
        if isinstance(node.primitive, Conv2d) and node.primitive.groups == 4
    )
    (source,) = graph.nodes[place].inputs
    assert all(found.fixed[piece] for piece in (*found.of[place], *found.of[source]))
