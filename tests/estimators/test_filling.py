"""Shared weights filled from a trained network: its function is kept, and prefixes are its best."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from estimators.filling import covered, fill, read_source, shares_of, sorted_by_channel
from estimators.supernet import Supernet
from estimators.weight_bank import WeightBank
from search_spaces import graph_json
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Bottleneck, Classifier, ConvNormAct, DenseLayer, MBConv, Transition
from search_spaces.cell import CellSpace
from search_spaces.dense import DenseSpace
from search_spaces.fractal import FractalSpace
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec
from search_spaces.mbconv import MBConvSpace
from search_spaces.mixed import MixedSpace
from search_spaces.modules import build
from search_spaces.primitives import Conv2d
from search_spaces.reference import REFERENCES
from search_spaces.residual import ResidualSpace
from search_spaces.space import SearchSpace

ELASTIC_SPACES = [MBConvSpace, ResidualSpace, DenseSpace, FractalSpace, MixedSpace]
ERROR = 1e-5  # of the largest logit


def network(*blocks: BlockSpec, classes: int = 10, channels: int = 1) -> Graph:
    stem = ConvNormAct(16, activation="silu")
    return lower(Architecture("Net", (channels, 8, 8), stem, (blocks,), Classifier(classes)))


def large() -> Graph:
    return network(MBConv(16, 5, expansion=3), MBConv(16, 5, expansion=3), MBConv(16, 5))


def trained(graph: Graph) -> dict[str, Tensor]:
    """Weights whose batch norms and biases tell channels from each other."""
    torch.manual_seed(3)
    model = build(graph)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    for value in model.parameters():  # rows and columns that differ in size
        if value.ndim > 1:
            value.data.mul_(torch.rand(1, value.shape[1], *[1] * (value.ndim - 2)) + 0.5)
    return dict(model.state_dict())


def outputs(graph: Graph, state: dict[str, Tensor], *, training: bool = False) -> Tensor:
    model = build(graph)
    model.load_state_dict(state, strict=True)
    for module in model.train(training).modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    images = torch.randn(4, *graph.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: Tensor = model(images)
    return found


def error(mine: Tensor, theirs: Tensor) -> float:
    assert float(theirs.std()) > 1e-3
    return float((mine - theirs).abs().max() / theirs.abs().max())


def exported(folder: Path, graph: Graph, weights: dict[str, Tensor]) -> Path:
    folder.mkdir()
    document = {"schema_version": 1, "graph": graph_json.to_document(graph)}
    (folder / "architecture.json").write_text(json.dumps(document))
    save_file(weights, folder / "model.safetensors")
    return folder


def drawn(space: type[SearchSpace], count: int) -> list[Graph]:
    made, rng = space((1, 8, 8), 10), np.random.default_rng(1)
    return [lower(made.architecture(made.genome.sample_options(rng))) for _ in range(count)]


def check(graph: Graph, folder: Path) -> None:
    """That the source and the child that equals it compute the same."""
    weights = trained(graph)
    source = read_source(str(exported(folder, graph, weights)))
    assert error(outputs(graph, dict(source.weights)), outputs(graph, weights)) <= ERROR
    bank = WeightBank(sharing="elastic")
    fill(bank, source, graph.output_shape)
    child = bank.state_dict(graph)
    theirs = outputs(graph, weights, training=True)
    assert error(outputs(graph, child, training=True), theirs) <= ERROR
    statistics = {key: value for key, value in source.weights.items() if "running" in key}
    assert error(outputs(graph, child | statistics), outputs(graph, weights)) <= ERROR
    assert covered(source, graph) == 1


@pytest.mark.parametrize("space", [MBConvSpace, ResidualSpace])
def test_the_child_that_equals_the_source_computes_what_it_did(
    space: type[SearchSpace], tmp_path: Path
) -> None:
    check(drawn(space, 1)[0], tmp_path / "source")


@pytest.mark.slow
@pytest.mark.parametrize("space", ELASTIC_SPACES)
def test_many_sources_of_every_space_are_reproduced(
    space: type[SearchSpace], tmp_path: Path
) -> None:
    for number, graph in enumerate(drawn(space, 6)):
        check(graph, tmp_path / str(number))


def test_channels_that_are_read_most_come_first() -> None:
    graph = network(*[MBConv(16, 5, expansion=3, squeeze_ratio=0.0)] * 2)
    weights = trained(graph)
    found = sorted_by_channel(graph, weights)
    for name in ("stages.0.0.project_conv.weight", "stages.0.1.expand_conv.weight"):
        before, after = (one[name].abs().sum(dim=(0, 2, 3)) for one in (weights, found))
        assert not torch.equal(before, after)
        assert torch.allclose(after.sort().values, before.sort().values, rtol=1e-5)
    hidden = found["stages.0.0.project_conv.weight"].abs().sum(dim=(0, 2, 3))
    assert bool((hidden.diff() <= 1e-6).all())


def test_channels_of_groups_keep_their_places() -> None:
    graph = network(Bottleneck(32, groups=4), Bottleneck(32, groups=4))
    weights = trained(graph)
    found = sorted_by_channel(graph, weights)
    grouped = [
        f"{node.name}.weight"
        for node in graph.nodes
        if isinstance(node.primitive, Conv2d) and node.primitive.groups == 4
    ]
    assert len(grouped) == 2
    assert all(torch.equal(found[name], weights[name]) for name in grouped)
    assert not torch.equal(found["stem.conv.weight"], weights["stem.conv.weight"])
    assert error(outputs(graph, found), outputs(graph, weights)) <= ERROR


def test_a_smaller_child_has_prefixes_and_centres_of_the_source(tmp_path: Path) -> None:
    source = read_source(str(exported(tmp_path / "source", large(), trained(large()))))
    bank = WeightBank(sharing="elastic")
    fill(bank, source, (10,))
    small = network(MBConv(8, 3, expansion=3), MBConv(8, 3, expansion=3))
    child = bank.state_dict(small)
    name = "stages.0.0.depthwise_conv.weight"
    assert torch.equal(child[name], source.weights[name][:48, :, 1:4, 1:4])
    name = "stages.0.1.project_conv.weight"
    assert torch.equal(child[name], source.weights[name][:8, :24])
    assert covered(source, small) == 1
    assert 0 < covered(source, network(MBConv(24, 7), MBConv(24, 7), MBConv(24, 7))) < 1


def test_other_classes_leave_the_last_layer_fresh(tmp_path: Path) -> None:
    source = read_source(str(exported(tmp_path / "source", large(), trained(large()))))
    two = network(MBConv(16, 5, expansion=3), MBConv(16, 5, expansion=3), MBConv(16, 5), classes=2)
    bank, fresh = WeightBank(sharing="elastic"), WeightBank(sharing="elastic")
    fill(bank, source, (2,))
    last = f"{two.nodes[-1].name}.weight"
    assert torch.equal(bank.state_dict(two)[last], fresh.state_dict(two)[last])
    assert 0.9 < covered(source, two) < 1


def test_a_reference_network_is_taken_from_its_state_dict(tmp_path: Path) -> None:
    graph = lower(REFERENCES["densenet_40_12"]())
    save_file(trained(graph), tmp_path / "weights.safetensors")
    source = read_source(f"densenet_40_12:{tmp_path / 'weights.safetensors'}")
    assert source.graph.output_shape == graph.output_shape
    assert covered(source, graph) == 1


def test_what_does_not_fit_is_one_clear_line(tmp_path: Path) -> None:
    folder = exported(tmp_path / "source", large(), trained(large()))
    source = read_source(str(folder))
    dense = network(*[DenseLayer(16, 1)] * 8, Transition(1.0, 1, width=64))
    with pytest.raises(ValueError, match=r"must be like networks of the space, .* has at most"):
        shares_of(source, [dense])
    with pytest.raises(ValueError, match=r"must read images of 3 channels, .* reads 1"):
        shares_of(source, [network(MBConv(16), channels=3)])
    cell = CellSpace((1, 8, 8), 10)
    child = lower(cell.architecture(cell.genome.sample_options(np.random.default_rng(0))))
    with pytest.raises(ValueError, match="needs sharing elastic, which networks of cells"):
        shares_of(source, [child])
    with pytest.raises(ValueError, match="must be an exported folder or REFERENCE:FILE"):
        read_source(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="filled_from: aaa"):
        read_source("a" * 300)
    with pytest.raises(ValueError, match=r"filled_from: .*nothing"):
        read_source(f"resnet18:{tmp_path / 'nothing'}")
    weights = folder / "model.safetensors"
    save_file(trained(network(MBConv(8))), weights)
    with pytest.raises(ValueError, match=r"is of another network|must have shape"):
        read_source(str(folder))
    weights.write_bytes(b"pickled?")
    with pytest.raises(ValueError, match=r"filled_from: .*model\.safetensors: "):
        read_source(str(folder))
    (folder / "architecture.json").write_text("{")
    with pytest.raises(ValueError, match=r"filled_from: .*architecture\.json"):
        read_source(str(folder))
    with pytest.raises(ValueError, match="filled_from needs sharing elastic, got separate"):
        Supernet(filled_from="x", sharing="separate")
    with pytest.raises(ValueError, match="epochs must be at least 0, got -1"):
        Supernet(filled_from="x", epochs=-1)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        Supernet(epochs=0)


def test_the_digest_is_of_network_and_weights(tmp_path: Path) -> None:
    weights = trained(large())
    other = network(*[MBConv(16, 5, expansion=3, activation="relu")] * 2, MBConv(16, 5))
    assert set(build(other).state_dict()) == set(weights)
    folders = [exported(tmp_path / "one", large(), weights)]
    folders += [exported(tmp_path / "same", large(), weights)]
    folders += [exported(tmp_path / "other", other, weights)]
    one, same, unlike = (read_source(str(folder)).digest for folder in folders)
    assert one == same != unlike


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weights = trained(large())
    weights["stem.conv.weight"][0] = torch.nan
    folder = exported(tmp_path / "source", large(), weights)
    with pytest.raises(ValueError, match=r"stem\.conv\.weight holds values that are not finite"):
        read_source(str(folder))
