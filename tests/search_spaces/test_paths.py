"""Paths through a network: what is drawn, what is computed, and what is left alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import reduce

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, FractalBlock, MBConv
from search_spaces.graph import Graph
from search_spaces.modules import build, choose_paths
from search_spaces.paths import PathChoice, Paths
from search_spaces.primitives import Conv2d
from search_spaces.reference import REFERENCES

EveryOutput = Callable[[Graph, nn.Module, Tensor], list[Tensor]]
Liven = Callable[[nn.Module], nn.Module]


def fractal(*columns: int) -> Graph:
    stages = tuple((FractalBlock(4, number),) for number in columns)
    return lower(Architecture("Net", (2, 16, 16), ConvNormAct(3), stages, Classifier(5)))


def residual(blocks: int = 4) -> Graph:
    """As many sums as blocks, between two blocks that add nothing."""
    stage = (MBConv(6, stride=2), *[MBConv(6, expansion=2)] * blocks, MBConv(8))
    return lower(Architecture("Net", (2, 12, 12), ConvNormAct(3), (stage,), Classifier(5)))


def draws(
    paths: Paths, count: int, *, drop_path: float = 0.15, stochastic_depth: float = 0.0
) -> Iterator[PathChoice]:
    for number in range(count):
        rng = np.random.default_rng((7, number))
        yield paths.draw(rng, drop_path=drop_path, stochastic_depth=stochastic_depth, batch=32)


def deterministic(model: nn.Module) -> nn.Module:
    """In training mode, without dropout."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return model


# What is drawn -------------------------------------------------------------------------------


def test_a_draw_is_a_function_of_its_generator() -> None:
    paths = Paths(fractal(3, 4))
    one, other = ([(choice.kept, choice.scales) for choice in draws(paths, 20)] for _ in range(2))
    assert one == other
    assert len({tuple(kept.items()) for kept, _ in one}) > 5


def test_half_of_the_steps_take_one_column_each_as_likely() -> None:
    # Binomial over 4,000 draws: each bound is five standard deviations or more, so that a right
    # program fails with a probability below 1e-5.
    paths = Paths(fractal(3, 3))
    columns = [paths.column(number).kept for number in range(3)]
    found = Counter(
        next((number for number, kept in enumerate(columns) if kept == choice.kept), -1)
        for choice in draws(paths, 4_000, drop_path=1e-9)
    )
    assert abs(found[-1] / 4_000 - 0.5) < 0.04
    assert all(abs(found[number] / 4_000 - 1 / 6) < 0.03 for number in range(3))


def test_local_sampling_drops_each_input_at_its_rate_and_keeps_one() -> None:
    paths = Paths(fractal(4))
    columns = [paths.column(number).kept for number in range(4)]
    inputs = {2: 0, 3: 0, 4: 0}
    kept = dict(inputs)
    for choice in draws(paths, 4_000, drop_path=0.3):
        if choice.kept in columns:
            continue
        for name, ports in choice.kept.items():
            assert ports
            assert ports == tuple(sorted(set(ports)))
            reads = 4 if name.endswith("mean8") else 3 if name.endswith("mean4") else 2
            inputs[reads] += reads
            kept[reads] += len(ports)
    for reads, every in inputs.items():
        expected = 0.7 + 0.3**reads / reads  # the last one is kept
        # Draws that equal a column are left out above: at most 1 % of the local ones.
        assert kept[reads] / every == pytest.approx(expected, abs=0.03)


def test_where_everything_is_dropped_any_input_may_be_the_one_that_is_kept() -> None:
    paths = Paths(fractal(2))
    found = Counter(
        ports for choice in draws(paths, 1_000, drop_path=0.999) for ports in choice.kept.values()
    )
    assert set(found) <= {(0,), (1,), (0, 1)}
    assert min(found[0,], found[1,]) > 350  # 250 each by columns, the rest by what is kept


def test_rates_of_zero_take_the_whole_network() -> None:
    for graph in (fractal(3), residual()):
        for choice in draws(Paths(graph), 5, drop_path=0.0):
            assert not choice.kept
            assert not choice.scales


def test_a_network_without_means_has_no_columns() -> None:
    paths = Paths(residual())
    assert paths.columns == 0
    assert not any(choice.kept for choice in draws(paths, 10))
    with pytest.raises(ValueError, match="number must be a column"):
        paths.column(0)


def test_columns_that_are_not_there_are_refused() -> None:
    for number in (-1, 3):
        with pytest.raises(ValueError, match=f"number must be a column from 0 to 2, got {number}"):
            Paths(fractal(3, 1)).column(number)


def test_residual_sums_are_those_whose_shortcut_is_the_input() -> None:
    graph = residual(4)
    expected = tuple((f"stages.0.{place}.residual", 1) for place in range(1, 5))
    assert Paths(graph).residuals == expected
    b0 = lower(REFERENCES["efficientnet_b0"]())
    assert len(Paths(b0).residuals) == 9  # 16 blocks in 7 stages, of which the first one has 1
    resnet = Paths(lower(REFERENCES["resnet50"]()))
    assert len(resnet.residuals) == 16 - 4  # the first block of each stage has a projection
    assert resnet.residuals[0] == ("stages.0.1.sum", 0)
    for others in (fractal(3), lower(REFERENCES["densenet121"]())):
        assert not Paths(others).residuals


def test_branches_are_left_out_more_often_the_deeper_they_are() -> None:
    # 400 draws of 32 images: standard errors are below 0.005.
    paths = Paths(residual(4))
    dropped = dict.fromkeys(paths.residuals, 0.0)
    mean = dict(dropped)
    for choice in draws(paths, 400, stochastic_depth=0.4):
        assert tuple(choice.scales) == paths.residuals
        for name, scale in choice.scales.items():
            assert scale.shape == (32,)
            dropped[name] += float((scale == 0).mean()) / 400
            mean[name] += float(scale.mean()) / 400
    assert list(dropped.values()) == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.025)
    assert list(mean.values()) == pytest.approx([1.0] * 4, abs=0.04)


# What is computed ----------------------------------------------------------------------------


def along(
    graph: Graph, model: nn.Module, images: Tensor, kept: Mapping[str, tuple[int, ...]]
) -> Tensor:
    """The output of a network, node by node, with means of the kept inputs."""
    outputs = [images]
    operators: dict[str, Callable[..., Tensor]] = {
        "add": lambda *values: reduce(torch.add, values),
        "mean": lambda *values: reduce(torch.add, values) / len(values),
        "multiply": torch.mul,
        "zeros": lambda value: value * 0,
        "concat": lambda *values: torch.cat(values, dim=1),
    }
    for node in graph.nodes[1:]:
        reads = [outputs[source] for source in node.inputs]
        reads = [reads[port] for port in kept.get(node.name, range(len(reads)))]
        layer = operators.get(node.primitive.op)
        outputs.append((layer or model.get_submodule(node.name))(*reads))
    return outputs[-1]


@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 1_000))
def test_any_network_computes_the_means_of_what_is_kept(
    data: st.DataObject, seed: int, networks: st.SearchStrategy[Graph], liven: Liven
) -> None:
    graph = data.draw(networks)
    rng = np.random.default_rng(seed)
    choice = Paths(graph).draw(rng, drop_path=0.5, stochastic_depth=0.0, batch=2)
    model = liven(build(graph))
    images = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        expected = along(graph, model, images, choice.kept)  # in eval mode, as ``liven`` left it
        for module in model.modules():
            module.training = not isinstance(module, nn.BatchNorm2d | nn.Dropout)
        choose_paths(model, choice)
        assert torch.equal(model(images), expected)


def runs(graph: Graph, model: nn.Module) -> set[str]:
    """The convolutions that one training step runs; each once."""
    ran: Counter[str] = Counter()
    hooks = [
        model.get_submodule(node.name).register_forward_hook(
            lambda _, __, ___, name=node.name: ran.update([name])
        )
        for node in graph.nodes
        if isinstance(node.primitive, Conv2d)
    ]
    model(torch.randn(2, *graph.input_shape)).square().mean().backward()
    for hook in hooks:
        hook.remove()
    assert set(ran.values()) == {1}
    return set(ran)


def on_the_way(graph: Graph, choice: PathChoice) -> set[str]:
    """The convolutions that the output depends on, by networkx."""
    digraph = graph.digraph()
    for position, node in enumerate(graph.nodes):
        if node.name in choice.kept:
            dropped = set(range(len(node.inputs))) - set(choice.kept[node.name])
            digraph.remove_edges_from([(node.inputs[port], position) for port in dropped])
    needed = nx.ancestors(digraph, len(graph.nodes) - 1)
    return {
        graph.nodes[place].name
        for place in needed
        if isinstance(graph.nodes[place].primitive, Conv2d)
    }


@pytest.mark.parametrize("number", range(4))
def test_a_column_runs_its_own_convolutions_and_no_others(number: int) -> None:
    graph = fractal(4, 4, 2)
    model = build(graph).train()
    choice = Paths(graph).column(number)
    choose_paths(model, choice)
    ran = runs(graph, model)
    assert len(ran) == 1 + 2 * 2**number + 2 ** min(number, 1)
    assert ran == on_the_way(graph, choice)
    for block in range(2):
        names = {name.split(".")[3] for name in ran if name.startswith(f"stages.{block}.")}
        assert names == {f"conv{number}_{place}" for place in range(2**number)}


def test_what_no_mean_reads_is_not_run_and_has_no_gradient() -> None:
    graph = fractal(4, 3)
    model = build(graph).train()
    every = {node.name for node in graph.nodes if isinstance(node.primitive, Conv2d)}
    left_out = 0
    for choice in draws(Paths(graph), 30, drop_path=0.4):
        choose_paths(model, choice)
        model.zero_grad(set_to_none=True)
        ran = runs(graph, model)
        assert ran == on_the_way(graph, choice)
        left_out += len(every - ran)
        for name in every:
            gradient = model.get_parameter(f"{name}.weight").grad
            assert (gradient is not None) == (name in ran)
    assert left_out > 0


def test_the_whole_network_is_back_when_the_choice_is_none() -> None:
    graph = fractal(3)
    model = build(graph).train()
    choose_paths(model, Paths(graph).column(0))
    assert len(runs(graph, model)) == 2
    choose_paths(model, None)
    assert len(runs(graph, model)) == 1 + 7


def test_an_image_whose_branch_is_left_out_passes_by_it() -> None:
    graph = residual(1)
    model = deterministic(build(graph))
    seen: list[Tensor] = []
    block = model.get_submodule("stages.0.1")
    block.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
    name = "stages.0.1.residual"
    images = torch.randn(3, *graph.input_shape)
    choose_paths(model, None)
    model(images)
    scale = np.array([0, 1, 2], dtype=np.float32)
    choose_paths(model, PathChoice(scales={(name, 1): scale}))
    model(images)
    _, whole, x, scaled = seen
    assert torch.equal(scaled[0], x[0])
    assert torch.allclose(scaled[1], whole[1], atol=1e-6)
    assert torch.allclose(scaled[2], whole[2] + (whole[2] - x[2]), atol=1e-5)


# What is left alone --------------------------------------------------------------------------


def test_eval_mode_and_the_state_dict_know_nothing_of_paths(liven: Liven) -> None:
    for graph in (fractal(3, 2), residual()):
        paths = Paths(graph)
        model = liven(build(graph))
        images = torch.randn(2, *graph.input_shape)
        with torch.no_grad():
            before, keys = model(images), list(model.state_dict())
            for choice in draws(paths, 5, stochastic_depth=0.5):
                choose_paths(model, choice)
                assert torch.equal(model(images), before)
                assert list(model.state_dict()) == keys


def test_a_choice_of_another_network_is_refused() -> None:
    model = build(fractal(2))
    for choice in (
        PathChoice({"stages.9.0.mean2": (0,)}),
        PathChoice(scales={("stem.conv", 0): np.ones(1)}),
    ):
        with pytest.raises(ValueError, match="choice must be of joins of the network, got 'st"):
            choose_paths(model, choice)


def test_ports_of_a_column_are_counted_from_the_deepest() -> None:
    graph = fractal(3)
    assert Paths(graph).column(2).kept == {"stages.0.0.mean2": (1,), "stages.0.0.mean4": (2,)}
    assert Paths(graph).column(1).kept == {"stages.0.0.mean2": (0,), "stages.0.0.mean4": (1,)}
    assert Paths(graph).column(0).kept["stages.0.0.mean4"] == (0,)


def test_the_paths_of_some_images_keep_their_own_scales() -> None:
    scales = {("a.join", 1): np.array([0, 2, 3, 4], np.float32)}
    choice = PathChoice({"b.mean": (0,)}, scales).of_images(1, 3)
    assert choice.kept == {"b.mean": (0,)}
    assert choice.scales["a.join", 1].tolist() == [2, 3]
