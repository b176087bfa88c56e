"""Shape, cost and layer of every primitive are held together over random networks."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.graph import Graph, Node
from search_spaces.modules import build
from search_spaces.primitives import (
    ACTIVATIONS,
    JOINS,
    MAX_CHANNELS,
    MAX_SIDE,
    PRIMITIVES,
    Activation,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Cost,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    Input,
    Join,
    Linear,
    MaxPool2d,
    Mean,
    Multiply,
    Primitive,
    Shape,
    SidePad2d,
    ZeroPad2d,
)

EveryOutput = Callable[[Graph, nn.Module, Tensor], list[Tensor]]


def layer_of(primitive: Primitive, *inputs: Shape) -> nn.Module:
    """The torch layer on the meta device, in evaluation mode."""
    layer = primitive.layer(inputs)
    assert layer is not None
    with torch.device("meta"):
        made: nn.Module = getattr(nn, layer.cls)(*layer.positional, **layer.keywords)
    return made.eval()


def torch_shape(primitive: Primitive, shape: Shape) -> Shape:
    """What torch makes of one image; raises what torch raises."""
    output = layer_of(primitive, shape)(torch.empty((1, *shape), device="meta"))
    return tuple(output.shape[1:])


def compare_with_torch(graph: Graph, model: nn.Module, every_output_of: EveryOutput) -> None:
    """Assert that shapes, parameters and MACs of every node are those of torch."""
    images = torch.empty((1, *graph.input_shape), device="meta")
    with FlopCounterMode(display=False) as counter:
        outputs = every_output_of(graph, model, images)
    for node, output in zip(graph.nodes, outputs, strict=True):
        assert tuple(output.shape[1:]) == node.shape, node
    assert counter.get_total_flops() == 2 * graph.macs
    assert sum(values.numel() for values in model.parameters()) == graph.params
    for node in graph.nodes[1:]:
        if node.primitive.op not in {cls.op for cls in JOINS}:
            own = model.get_submodule(node.name).parameters()
            assert sum(values.numel() for values in own) == node.cost.params, node
    assert graph.output_shape == tuple(model(images).shape[1:])
    assert graph.activation_bytes == sum(4 * output.numel() for output in outputs)
    assert graph.largest_map_bytes == max(4 * output.numel() for output in outputs)


@settings(max_examples=120)
@given(data=st.data())
def test_torch_computes_the_inferred_shapes_and_the_counted_costs(
    data: st.DataObject,
    networks: st.SearchStrategy[Graph],
    every_output_of: EveryOutput,
) -> None:
    graph = data.draw(networks)
    with torch.device("meta"):
        model = build(graph).eval()
    compare_with_torch(graph, model, every_output_of)


@pytest.mark.parametrize(
    "fault",
    [
        lambda node: replace(node, cost=Cost(node.cost.params + 1, node.cost.macs)),
        lambda node: replace(node, cost=Cost(node.cost.params, node.cost.macs - 1)),
        lambda node: replace(node, shape=(node.shape[0], node.shape[1] + 1, node.shape[2])),
        lambda node: replace(node, shape=(node.shape[0] + 1, *node.shape[1:])),
    ],
)
def test_a_planted_fault_is_found(
    fault: Callable[[Node], Node], fixed_networks: list[Graph], every_output_of: EveryOutput
) -> None:
    for graph in fixed_networks[:10]:
        with torch.device("meta"):
            model = build(graph).eval()
        compare_with_torch(graph, model, every_output_of)
        position = next(at for at, node in enumerate(graph.nodes) if at and len(node.shape) == 3)
        nodes = (
            *graph.nodes[:position],
            fault(graph.nodes[position]),
            *graph.nodes[position + 1 :],
        )
        with pytest.raises(AssertionError):
            compare_with_torch(replace(graph, nodes=nodes), model, every_output_of)


def test_random_networks_reach_every_primitive(fixed_networks: list[Graph]) -> None:
    found = {node.primitive.op for graph in fixed_networks for node in graph.nodes}
    assert found == set(PRIMITIVES)
    convs = [
        node.primitive
        for graph in fixed_networks
        for node in graph.nodes
        if isinstance(node.primitive, Conv2d)
    ]
    for name in ("stride", "padding", "dilation", "groups", "bias"):
        assert len({getattr(conv, name) for conv in convs}) > 1
    assert {int(conv.kernel_size) for conv in convs} >= {1, 2, 3, 4, 5}
    assert any(graph.input_shape[1] != graph.input_shape[2] for graph in fixed_networks)


@settings(max_examples=300)
@given(
    kind=st.sampled_from([MaxPool2d, AvgPool2d]),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 5),
    padding=st.integers(0, 3),
    ceil_mode=st.booleans(),
    sides=st.tuples(st.integers(1, 11), st.integers(1, 11)),
)
def test_pooling_agrees_with_torch_wherever_it_is_allowed(
    kind: type[MaxPool2d],
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,  # noqa: FBT001 - drawn
    sides: tuple[int, int],
) -> None:
    if padding > kernel // 2:
        with pytest.raises(ValueError, match="padding must be from 0"):
            kind(kernel, stride, padding, ceil_mode)
        return
    pool = kind(kernel, stride, padding, ceil_mode)
    try:
        expected = torch_shape(pool, (3, *sides))
    except RuntimeError:
        with pytest.raises(ValueError, match="smaller than the window"):
            pool.infer((3, *sides))
    else:
        assert pool.infer((3, *sides)) == expected


@settings(max_examples=300)
@given(
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 11), st.integers(1, 11)),
)
def test_a_convolution_is_refused_exactly_where_torch_refuses_it(
    kernel: int, stride: int, padding: int, dilation: int, sides: tuple[int, int]
) -> None:
    conv = Conv2d(4, kernel, stride, padding, dilation)
    try:
        expected = torch_shape(conv, (2, *sides))
    except RuntimeError:
        with pytest.raises(ValueError, match="smaller than the window"):
            conv.infer((2, *sides))
    else:
        assert conv.infer((2, *sides)) == expected


def test_batch_norm_statistics_are_not_parameters() -> None:
    norm = BatchNorm2d()
    assert norm.cost(((7, 2, 2),), (7, 2, 2)) == (14, 0)


def test_every_activation_is_a_torch_layer() -> None:
    for kind, cls in ACTIVATIONS.items():
        assert Activation(kind).layer(((1, 1, 1),)).cls == cls
        assert issubclass(getattr(nn, cls), nn.Module)


def test_layers_that_print_nothing_for_a_default_state_torchs_default() -> None:
    shapes: dict[type[Primitive], tuple[Primitive, Shape]] = {
        Conv2d: (Conv2d(4), (4, 5, 5)),
        BatchNorm2d: (BatchNorm2d(), (4, 5, 5)),
        MaxPool2d: (MaxPool2d(2), (4, 5, 5)),
        AvgPool2d: (AvgPool2d(2), (4, 5, 5)),
        GlobalAvgPool2d: (GlobalAvgPool2d(), (4, 5, 5)),
        AdaptiveAvgPool2d: (AdaptiveAvgPool2d(3), (4, 5, 5)),
        ZeroPad2d: (ZeroPad2d(1, 1), (4, 5, 5)),
        SidePad2d: (SidePad2d(1, 0, 2, 1), (4, 5, 5)),
        Flatten: (Flatten(), (4, 5, 5)),
        Linear: (Linear(3), (4,)),
        Dropout: (Dropout(0.5), (4,)),
        Identity: (Identity(), (4,)),
        Activation: (Activation("relu"), (4,)),
    }
    assert set(shapes) | JOINS | {Input} == set(PRIMITIVES.values())
    for primitive, shape in shapes.values():
        layer = primitive.layer((shape,))
        assert layer is not None
        parameters = inspect.signature(getattr(nn, layer.cls)).parameters
        for name, default in layer.defaults.items():
            assert parameters[name].default == default
            assert name in layer.keywords


def test_primitives_are_frozen_plain_values() -> None:
    for cls in PRIMITIVES.values():
        assert dataclasses.is_dataclass(cls)
        assert {field.type for field in dataclasses.fields(cls)} <= {int, float, bool, str}
        assert (cls in JOINS) == issubclass(cls, Join)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Conv2d(4).stride = 2  # type: ignore[misc]


A_MAP = (4, 6, 6)
OUT_OF_RANGE: list[tuple[Callable[[], Any], str]] = [
    (lambda: Input(0, 8, 8), "channels must be from 1"),
    (lambda: Input(3, 0, 8), "height must be from 1"),
    (lambda: Input(3, 8, MAX_SIDE + 1), "width must be from 1"),
    (lambda: Conv2d(0), "out_channels must be from 1"),
    (lambda: Conv2d(10**12), "out_channels must be from 1 to 65536, got 1000000000000"),
    (lambda: Conv2d(4, 0), "kernel_size must be from 1"),
    (lambda: Conv2d(4, 3, 0), "stride must be from 1"),
    (lambda: Conv2d(4, 3, 1, -1), "padding must be from 0"),
    (lambda: Conv2d(4, 3, 1, 1, 0), "dilation must be from 1"),
    (lambda: Conv2d(4, groups=0), "groups must be from 1"),
    (lambda: Conv2d(4, groups=3), "out_channels must be a multiple of groups=3, got 4"),
    (lambda: Conv2d(9, groups=3).infer(A_MAP), "input channels must be a multiple of groups=3"),
    (lambda: Conv2d(4, 7).infer(A_MAP), "height 6 with padding 0 is smaller than the window 7"),
    (lambda: Conv2d(4, 3).infer((4, 6, 2)), "width 2 with padding 0 is smaller than the window 3"),
    (lambda: Conv2d(4).infer((4,)), "conv2d needs a map"),
    (lambda: Conv2d(4).infer(A_MAP, A_MAP), "conv2d needs one input, got 2"),
    (lambda: BatchNorm2d(eps=0.0), "eps must be from"),
    (lambda: BatchNorm2d(eps=math.nan), "eps must be from"),
    (lambda: BatchNorm2d(momentum=1.5), "momentum must be from"),
    (lambda: BatchNorm2d().infer((4,)), "batch_norm2d needs a map"),
    (lambda: Activation("tanhh"), "kind must be one of relu, relu6"),
    (lambda: MaxPool2d(0), "kernel_size must be from 1"),
    (lambda: MaxPool2d(2, 0), "stride must be from 1"),
    (lambda: AvgPool2d(3, 1, 2), "padding must be from 0 to 1, got 2"),
    (lambda: GlobalAvgPool2d().infer((4,)), "global_avg_pool2d needs a map"),
    (lambda: AdaptiveAvgPool2d(1), "size must be from 2"),
    (lambda: AdaptiveAvgPool2d(3).infer((4,)), "adaptive_avg_pool2d needs a map"),
    (lambda: SidePad2d(0, -1, 0, 0), "right must be from 0 to 16384"),
    (lambda: ZeroPad2d(-20_000, 0), "before must be from -16384"),
    (lambda: ZeroPad2d(0, -20_000), "after must be from -16384"),
    (lambda: Flatten().infer((4,)), "flatten needs a map"),
    (lambda: Dropout(1.0), "rate must be from 0.0"),
    (lambda: Dropout(-0.1), "rate must be from 0.0"),
    (lambda: Dropout(math.nan), "rate must be from 0.0"),
    (lambda: Linear(0), "out_features must be from 1"),
    (lambda: Linear(4).infer(A_MAP), "linear needs a vector, got the map 4x6x6; flatten it first"),
    (lambda: Identity().infer(), "identity needs one input, got 0"),
    (lambda: Add().infer(A_MAP, (4, 6, 5)), "add needs equal shapes, got 4x6x6, 4x6x5"),
    (lambda: Add().infer(), "add needs equal shapes, got none"),
    (lambda: Mean().infer(A_MAP, (3, 6, 6)), "mean needs equal shapes"),
    (lambda: Multiply().infer(A_MAP), "multiply needs two inputs, got 1"),
    (lambda: Multiply().infer(A_MAP, (3, 6, 6)), "multiply needs equal channels"),
    (lambda: Multiply().infer(A_MAP, (4, 6, 1)), "multiply cannot spread 4x6x1 over 4x6x6"),
    (lambda: Multiply().infer((4, 1, 1), A_MAP), "multiply cannot spread 4x6x6 over 4x1x1"),
    (lambda: Multiply().infer(A_MAP, (4,)), "multiply needs equal channels"),
    (lambda: Concat().infer(A_MAP, (4, 6, 5)), "concat needs maps of one height and width"),
    (lambda: Concat().infer((4,), (4,)), "concat needs maps of one height and width"),
    (lambda: Concat().infer(), "got none"),
    (lambda: Concat().infer((MAX_CHANNELS, 1, 1), (1, 1, 1)), "channels must be at most 65536"),
    (lambda: Input(1, 1, 1).infer(A_MAP), "input takes no inputs, got 1"),
]


@pytest.mark.parametrize(("make", "message"), OUT_OF_RANGE)
def test_what_does_not_fit_is_refused_with_the_reason(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
