"""Equal scores at the graph's own size, a map of them on larger images."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from search_spaces import graph_json
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.fully_convolutional import fully_convolutional, is_global_inside
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec, GraphBuilder, ScopeBuilder, Value
from search_spaces.modules import build
from search_spaces.primitives import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Multiply,
)
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source

Liven = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True, slots=True)
class Crowned(BlockSpec):
    """The head of VGG and AlexNet: fully connected layers over the flattened map."""

    parts: int = 3

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = (
            scope.add("pool", AdaptiveAvgPool2d(self.parts), inputs[-1])
            if self.parts
            else inputs[-1]
        )
        x = scope.add("flatten", Flatten(), x)
        x = scope.add("dropout", Dropout(0.5), x)
        x = scope.add("hidden", Linear(scope.argument("hidden_channels", 12)), x)
        x = scope.activation("act", x, "relu")
        return scope.add("linear", Linear(scope.argument("num_classes", 5)), x)


class Valid(BlockSpec):
    """Convolutions without padding, so that a window sees nothing beyond itself."""

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = scope.activation("act", scope.add("first", Conv2d(6, 3), inputs[-1]), "relu")
        return scope.add("pool", MaxPool2d(2, 2), scope.add("second", Conv2d(8, 3, 2), x))


def network(head: BlockSpec, *, shape: tuple[int, int, int] = (2, 17, 17)) -> Graph:
    return lower(Architecture("Net", shape, Valid(), ((ConvNormAct(8, 1),),), head))


HEADS = [Crowned(0), Crowned(3), Classifier(5), Classifier(5, width=7, dropout=0.3)]


def pair(graph: Graph, liven: Liven) -> tuple[nn.Module, Graph, nn.Module]:
    """The network, its fully convolutional form as graph and as module with the same weights."""
    model = liven(build(graph))
    converted = fully_convolutional(graph)
    other = build(converted)
    shapes = {name: value.shape for name, value in other.state_dict().items()}
    state = {name: value.reshape(shapes[name]) for name, value in model.state_dict().items()}
    other.load_state_dict(state, strict=True)
    return model, converted, other.eval()


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("head", HEADS)
def test_scores_are_equal_at_the_size_of_the_graph(head: BlockSpec, liven: Liven) -> None:
    graph = network(head)
    model, converted, sliding = pair(graph, liven)
    images = torch.randn(3, *graph.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        scores = sliding(images)
        assert scores.shape == (3, 5, 1, 1)
        assert relative(scores.flatten(1), model(images)) <= 1e-5
    assert converted.output_shape == (5, 1, 1)
    assert (converted.params, converted.macs) == (graph.params, graph.macs)
    assert not is_global_inside(converted)


@pytest.mark.parametrize("head", HEADS)
def test_a_larger_image_yields_what_a_moved_window_yields(head: BlockSpec, liven: Liven) -> None:
    model, _, sliding = pair(network(head), liven)
    image = torch.randn(1, 2, 29, 25, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        scores = sliding(image)
        assert scores.shape[2:] == (4, 3)  # steps of four pixels: a stride of two, and a pool
        for row in range(4):
            for column in range(3):
                window = image[:, :, 4 * row : 4 * row + 17, 4 * column : 4 * column + 17]
                assert relative(scores[:, :, row, column], model(window)) <= 1e-5
        with pytest.raises(RuntimeError):
            sliding(image[:, :, :14, :14])


def test_squeeze_excite_stays_global(liven: Liven) -> None:
    stages = ((MBConv(8, stride=2), MBConv(8)), (MBConv(12, stride=2),))
    # The last map is one pixel: its gates are means over one pixel, and stay means all the same.
    graph = lower(Architecture("Net", (3, 4, 4), ConvNormAct(8), stages, Classifier(4)))
    assert graph.nodes[-4].input_shapes[0][1:] == (1, 1)
    model, converted, sliding = pair(graph, liven)
    ops = {node.name: node.primitive.op for node in converted.nodes}
    assert ops["head.pool"] == "avg_pool2d"
    gates = [name for name in ops if name.endswith("squeeze_excite.pool")]
    assert {ops[name] for name in gates} == {"global_avg_pool2d"}
    assert len(gates) == 3
    assert is_global_inside(converted)
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert relative(sliding(images).flatten(1), model(images)) <= 1e-5
        assert sliding(torch.randn(1, 3, 9, 13)).shape == (1, 4, 3, 4)


def test_efficientnet_b0_keeps_its_costs() -> None:
    graph = lower(REFERENCES["efficientnet_b0"]())
    converted = fully_convolutional(graph)
    assert (converted.params, converted.macs) == (5_288_548, 385_814_752)
    source = model_source(converted)
    assert "pool=nn.AvgPool2d(7, stride=1)" in source
    assert "linear=nn.Conv2d(1280, 1000, 1)" in source
    assert "Flatten" not in source
    assert "nn.Linear(" not in source
    assert graph_json.from_document(graph_json.to_document(converted)) == converted


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_heads_over_a_whole_map_become_kernels_of_its_size(name: str) -> None:
    graph = lower(REFERENCES[name]())
    converted = fully_convolutional(graph)
    assert (converted.params, converted.macs) == (graph.params, graph.macs)
    found = {node.name: node.primitive for node in converted.nodes if node.scope == "head"}
    side = graph.nodes[-8].input_shapes[0][1]
    assert found["head.first_linear"] == Conv2d(4096, side, bias=True)
    assert found["head.linear"] == Conv2d(1000, bias=True)
    assert {"head.pool", "head.flatten"}.isdisjoint(found)


def test_parts_of_several_pixels_become_windows(liven: Liven) -> None:
    model, converted, sliding = pair(network(Crowned(3), shape=(2, 29, 29)), liven)
    assert AvgPool2d(2, 2) in [node.primitive for node in converted.nodes]
    images = torch.randn(2, 2, 29, 29, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert relative(sliding(images).flatten(1), model(images)) <= 1e-5


def test_any_network_is_refused_or_equal(fixed_networks: list[Graph], liven: Liven) -> None:
    done = 0
    for graph in fixed_networks:
        try:
            fully_convolutional(graph)
        except ValueError:
            continue
        model, _, sliding = pair(graph, liven)
        images = torch.randn(2, *graph.input_shape, generator=torch.Generator().manual_seed(3))
        with torch.inference_mode():
            one, other = sliding(images).flatten(1), model(images)
            scale = float(other.abs().max())
            assert float((one - other).abs().max()) <= 1e-5 * max(scale, 1e-30)
            assert sliding(torch.nn.functional.pad(images, (0, 40, 0, 40)))[0, 0].numel() > 1
        done += 1
    assert done >= 1  # the others' maps are not square, or nothing is flattened


def by_hand(*, flat: bool, gate: bool) -> Graph:
    """A mean that is flattened, and gates a map as well."""
    builder = GraphBuilder((2, 6, 6), title="Net")
    root, x = builder.root, builder.image
    mean = root.add("pool", GlobalAvgPool2d(), x)
    y = root.add("gate", Multiply(), x, mean) if gate else x
    y = root.add("second", GlobalAvgPool2d(), y)
    y = root.add("both", Multiply(), root.add("conv", Conv2d(2), y), mean)
    if flat:
        y = root.add("linear", Linear(3), root.add("flatten", Flatten(), y))
    return builder.graph(y)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (network(Classifier(5), shape=(2, 17, 21)), r"head\.pool: its map must be square, got 3x4"),
        (network(Crowned(0), shape=(2, 17, 21)), r"head\.hidden: its map must be square, got 3x4"),
        (network(Crowned(2)), r"head\.pool: its map's side must be a multiple of 2, got 3"),
        (by_hand(flat=False, gate=False), "must flatten a map"),
        (by_hand(flat=True, gate=True), "must yield a map of scores for larger images, got one"),
        (fully_convolutional(network(Classifier(5))), "is fully convolutional already"),
    ],
)
def test_what_cannot_slide_is_refused(graph: Graph, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fully_convolutional(graph)


def test_a_flattening_that_a_sequence_counts_stays_as_an_identity() -> None:
    builder = GraphBuilder((2, 6, 6), title="Net")

    def parts(scope: ScopeBuilder) -> Value:
        x = scope.add("0", Flatten(), scope.inputs[-1])
        return scope.add("1", Linear(4), x)

    graph = builder.graph(builder.root.sequence("head", parts, builder.image))
    converted = fully_convolutional(graph)
    assert [node.primitive.op for node in converted.nodes] == ["input", "identity", "conv2d"]
    assert build(converted)(torch.zeros(1, 2, 8, 9)).shape == (1, 4, 3, 4)


def test_a_flattening_that_a_block_puts_out_stays_as_an_identity() -> None:
    builder = GraphBuilder((2, 6, 6), title="Net")

    def flat(scope: ScopeBuilder) -> Value:
        kept = scope.add("conv", Conv2d(2), scope.inputs[-1])
        return scope.add("flatten", Flatten(), scope.activation("act", kept, "relu"))

    features = builder.root.enter("features", "Features", flat, builder.image)
    graph = builder.graph(builder.root.add("linear", Linear(4), features))
    converted = fully_convolutional(graph)
    assert [node.primitive.op for node in converted.nodes][-2:] == ["identity", "conv2d"]
    assert converted.output_shape == (4, 1, 1)
