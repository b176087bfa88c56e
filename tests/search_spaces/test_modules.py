"""The built module: the layers, names and outputs of the graph."""

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.architecture import lower
from search_spaces.arguments import Argument
from search_spaces.graph import Graph
from search_spaces.lowering import GraphBuilder, ScopeBuilder, Value
from search_spaces.mbconv import MBConvSpace
from search_spaces.modules import build
from search_spaces.primitives import Activation, Add, Concat, Conv2d, Identity, Multiply
from search_spaces.reference import REFERENCES

EveryOutput = Callable[[Graph, nn.Module, Tensor], list[Tensor]]
Liven = Callable[[nn.Module], nn.Module]


def network(emit: Callable[[ScopeBuilder, Value], Value]) -> Graph:
    builder = GraphBuilder((4, 6, 5), title="Network")
    return builder.graph(emit(builder.root, builder.image))


@settings(max_examples=80)
@given(data=st.data())
def test_values_freed_early_do_not_change_the_output(
    data: st.DataObject,
    networks: st.SearchStrategy[Graph],
    every_output_of: EveryOutput,
    liven: Liven,
) -> None:
    graph = data.draw(networks)
    model = liven(build(graph))
    images = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        assert torch.equal(model(images), every_output_of(graph, model, images)[-1])


def test_a_wrong_wire_is_found_by_that_comparison(every_output_of: EveryOutput) -> None:
    def sums(*, of_first: bool) -> Graph:
        def emit(root: ScopeBuilder, x: Value) -> Value:
            y = root.conv("one", x, 4, 3)
            return root.add("join", Add(), root.conv("two", y, 4, 3), x if of_first else y)

        return network(emit)

    model = build(sums(of_first=True))
    images = torch.randn(2, 4, 6, 5)
    right = every_output_of(sums(of_first=True), model, images)[-1]
    wrong = every_output_of(sums(of_first=False), model, images)[-1]
    assert torch.equal(model(images), right)
    assert not torch.allclose(right, wrong, atol=1e-2)


def test_registers_that_are_read_late_hold_until_then() -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        y = root.activation("a", x, "relu")
        z = root.activation("b", y, "relu6")
        return root.add("join", Concat(), x, y, z, y, x)

    images = torch.randn(2, 4, 6, 5)
    y = images.relu()
    expected = torch.cat([images, y, y.clamp(max=6), y, images], dim=1)
    assert torch.equal(build(network(emit))(images), expected)


def test_a_value_is_dropped_once_it_has_been_read() -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        y = root.activation("first", x, "relu")
        z = root.activation("second", y, "relu")
        return root.add("join", Add(), root.activation("third", z, "relu"), z)

    model = build(network(emit)).eval()
    first: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []
    model.get_submodule("first").register_forward_hook(
        lambda _, __, output: first.append(weakref.ref(output))
    )
    model.get_submodule("third").register_forward_pre_hook(
        lambda _, __: alive.append(first[0]() is not None)
    )
    with torch.no_grad():
        model(torch.randn(1, 4, 6, 5))
    gc.collect()
    assert alive == [False]


def test_submodules_are_named_as_in_the_graph() -> None:
    graph = lower(REFERENCES["efficientnet_b0"]())
    with torch.device("meta"):
        model = build(graph)
    names = dict(model.named_modules())
    for node in graph.nodes[1:]:
        assert (node.name in names) == (node.primitive.op not in {"add", "multiply"})
    assert "stages.1.0.expand_conv.weight" in model.state_dict()


def plain_values(model: nn.Module) -> list[object]:
    values: list[object] = []
    for module in model.modules():
        for value in vars(module).values():
            values += value if isinstance(value, tuple) else (value,)
    return values


def test_layers_hold_plain_numbers_not_named_ones() -> None:
    graph = lower(REFERENCES["efficientnet_b0"]())
    assert any(isinstance(node.shape[0], Argument) for node in graph.nodes)
    with torch.device("meta"):
        model = build(graph)
    assert not any(isinstance(value, Argument) for value in plain_values(model))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert {type(value) for value in (*module.stride, *module.kernel_size)} == {int}
            assert type(module.in_channels) is type(module.groups) is int
            assert type(module.bias is None) is bool


def test_padding_of_a_lopsided_window_is_plain_as_well() -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        def inside(scope: ScopeBuilder) -> Value:
            return scope.conv("conv", scope.inputs[-1], 4, scope.argument("kernel", 4))

        return root.enter("block", "Block", inside, x)

    model = build(network(emit))
    assert not any(isinstance(value, Argument) for value in plain_values(model))


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],  # noqa: S301 - our own
    ids=["deep copy", "pickle"],
)
def test_copies_compute_the_same_and_share_no_weights(
    duplicate: Callable[[nn.Module], nn.Module], fixed_networks: list[Graph], liven: Liven
) -> None:
    for graph in fixed_networks[:6]:
        model = liven(build(graph))
        again = duplicate(model)
        images = torch.randn(2, *graph.input_shape)
        with torch.no_grad():
            assert torch.equal(model(images), again(images))
        ours, theirs = model.state_dict(), again.state_dict()
        assert list(ours) == list(theirs)
        assert all(ours[name].data_ptr() != theirs[name].data_ptr() for name in ours)


def test_a_whole_module_can_be_saved_and_loaded() -> None:
    model = build(network(lambda root, x: root.norm("norm", root.conv("conv", x, 4, 3))))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    images = torch.randn(2, 4, 6, 5)
    assert torch.equal(model.eval()(images), again.eval()(images))


def test_the_global_generator_decides_the_initial_weights() -> None:
    graph = network(lambda root, x: root.conv("conv", x, 4, 3))
    torch.manual_seed(3)
    first = build(graph).state_dict()["conv.weight"]
    torch.manual_seed(3)
    assert torch.equal(build(graph).state_dict()["conv.weight"], first)
    assert not torch.equal(build(graph).state_dict()["conv.weight"], first)


def test_one_graph_can_be_built_many_times() -> None:
    graph = network(lambda root, x: root.conv("conv", x, 4, 3))
    first, second = build(graph), build(graph)
    with torch.no_grad():
        second.get_submodule("conv").weight.zero_()  # type: ignore[operator]
    assert first.state_dict()["conv.weight"].abs().sum() > 0


def test_training_reaches_every_parameter() -> None:
    space = MBConvSpace((1, 12, 9), 3)
    graph = lower(space.architecture(space.genome.unrank(space.genome.size // 2)))
    model = build(graph)
    model(torch.randn(4, *graph.input_shape)).square().mean().backward()
    assert all(values.grad is not None for values in model.parameters())


@pytest.mark.parametrize("join", [Add(), Multiply(), Concat()])
def test_a_join_may_read_one_value_twice(join: Add | Multiply | Concat) -> None:
    images = torch.randn(2, 4, 6, 5)
    model = build(network(lambda root, x: root.add("join", join, x, x)))
    expected = {
        Add: images + images,
        Multiply: images * images,
        Concat: torch.cat([images, images], dim=1),
    }[type(join)]
    assert torch.equal(model(images), expected)


def test_a_value_from_inside_another_block_is_refused() -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        leaked: list[Value] = []

        def inside(scope: ScopeBuilder) -> Value:
            leaked.append(scope.add("first", Activation("relu"), scope.inputs[-1]))
            return scope.add("second", Identity(), leaked[0])

        y = root.enter("block", "Block", inside, x)
        return root.add("join", Add(), y, leaked[0])

    with pytest.raises(ValueError, match="block: must put out one value, got 2"):
        build(network(emit))


def test_a_value_that_a_block_was_not_handed_is_refused() -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        y = root.activation("act", x, "relu")

        def inside(scope: ScopeBuilder) -> Value:
            return scope.add("join", Add(), scope.inputs[-1], x)

        return root.enter("block", "Block", inside, y)

    with pytest.raises(ValueError, match="block: reads input, which it was not handed"):
        build(network(emit))


@pytest.mark.parametrize(
    ("emit", "message"),
    [
        (
            lambda scope: scope.add("1", Identity(), scope.inputs[-1]),
            "numbered, from 0 on",
        ),
        (
            lambda scope: scope.add(
                "1", Add(), scope.add("0", Identity(), scope.inputs[-1]), scope.inputs[-1]
            ),
            "a sequence must be a chain",
        ),
        (
            lambda scope: scope.add("b", Identity(), scope.add("0", Identity(), scope.inputs[-1])),
            "numbered, from 0 on",
        ),
    ],
)
def test_a_sequence_is_a_numbered_or_named_chain(
    emit: Callable[[ScopeBuilder], Value], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(network(lambda root, x: root.sequence("body", emit, x)))


def test_only_parts_of_a_sequence_are_numbered() -> None:
    with pytest.raises(ValueError, match="the network: only the parts of a plain sequence"):
        build(network(lambda root, x: root.add("0", Conv2d(3), x)))
    with pytest.raises(ValueError, match="block: only the parts of a plain sequence"):
        build(
            network(
                lambda root, x: root.enter(
                    "block", "Block", lambda scope: scope.add("0", Conv2d(3), x), x
                )
            )
        )
