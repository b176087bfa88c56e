"""EfficientNet against its published counts and against torchvision's."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import efficientnet_b0

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import MBConv
from search_spaces.modules import build
from search_spaces.reference import REFERENCES
from search_spaces.reference.efficientnet import efficientnet, round_channels
from search_spaces.source import model_source

ModelFromSource = Callable[[str], nn.Module]

# Parameters: the released networks, as torchvision states them. MACs of convolutions and linear
# layers at the released resolution: torch.utils.flop_counter, halved.
RELEASED = {
    "efficientnet_b0": (5_288_548, "385.8 M"),
    "efficientnet_b1": (7_794_184, "686.8 M"),
    "efficientnet_b2": (9_109_994, "993.6 M"),
    "efficientnet_b3": (12_233_232, "1.827 G"),
    "efficientnet_b4": (19_341_616, "4.394 G"),
    "efficientnet_b5": (30_389_784, "10.27 G"),
    "efficientnet_b6": (43_040_704, "19.07 G"),
    "efficientnet_b7": (66_347_960, "37.75 G"),
}
LARGEST_ERROR = 1e-5  # relative to the largest logit


def rounded(macs: int) -> str:
    """Four digits, as the table of the released networks gives them."""
    value, unit = (macs / 1e9, "G") if macs >= 1e9 else (macs / 1e6, "M")
    return f"{value:.4g} {unit}"


@pytest.mark.parametrize("name", RELEASED)
def test_parameters_and_macs_are_those_of_the_released_networks(name: str) -> None:
    graph = lower(REFERENCES[name]())
    assert (graph.params, rounded(graph.macs)) == RELEASED[name]
    with torch.device("meta"):
        model = build(graph).eval()
        images = torch.empty(1, *graph.input_shape)
    with FlopCounterMode(display=False) as counter:
        model(images)
    assert counter.get_total_flops() == 2 * graph.macs
    assert sum(values.numel() for values in model.parameters()) == graph.params


def test_b0_has_the_macs_of_its_convolutions_and_linear_layers_exactly() -> None:
    assert lower(REFERENCES["efficientnet_b0"]()).macs == 385_814_752


def test_there_are_eight_members_and_no_others() -> None:
    assert set(REFERENCES) == set(RELEASED)
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


# Against torchvision -------------------------------------------------------------------------


def unit_scale(model: nn.Module, images: Tensor) -> nn.Module:
    """Random weights and batch-norm statistics under which activations keep unit scale.

    Weights have a variance of one over the fan-in. The statistics of each batch norm are those of
    what it reads for ``images``, moved and stretched at random channel by channel; its scales and
    shifts are random.
    """
    generator = torch.Generator().manual_seed(0)

    def around(values: Tensor, least: float, most: float) -> Tensor:
        return values * torch.empty_like(values).uniform_(least, most, generator=generator)

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        shift = torch.empty_like(mean).normal_(0, 0.3, generator=generator)
        norm.running_mean = mean + shift * variance.sqrt()
        norm.running_var = around(variance, 0.5, 2.0)
        norm.weight.copy_(around(torch.ones_like(mean), 0.5, 1.5))
        norm.bias.normal_(0, 0.3, generator=generator)

    hooks = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.5, generator=generator)
            if isinstance(module, nn.BatchNorm2d):
                hooks.append(module.register_forward_pre_hook(measure))
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return model


def outputs_by_layer(model: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, float]]:
    """The logits, and the standard deviation of what each leaf layer puts out."""
    scales: dict[str, float] = {}

    def record(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            scales[name] = output.std().item()

        return hook

    hooks = [
        module.register_forward_hook(record(name))
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        logits = model(images)
    for handle in hooks:
        handle.remove()
    return logits, scales


def copied(source: nn.Module, target: nn.Module) -> nn.Module:
    """``target`` with the weights and statistics of ``source``, in order."""
    values, names = list(source.state_dict().values()), list(target.state_dict())
    target.load_state_dict(dict(zip(names, values, strict=True)))
    return target.eval()


def error(logits: Tensor, expected: Tensor) -> float:
    return ((logits - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture(scope="module")
def oracle(images: Tensor) -> nn.Module:
    return unit_scale(efficientnet_b0(), images)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def expected(oracle: nn.Module, images: Tensor) -> Tensor:
    logits, scales = outputs_by_layer(oracle, images)
    assert min(scales.values()) > 0.05
    assert max(scales.values()) < 5
    assert 0.1 < logits.std() < 5
    assert (logits[0] - logits[1]).std() > 0.1  # the images matter
    return logits


def b0(change: Callable[[Architecture], Architecture] | None = None) -> Architecture:
    architecture = efficientnet("efficientnet_b0")
    return architecture if change is None else change(architecture)


def with_stride(architecture: Architecture, stage: int, block: int, stride: int) -> Architecture:
    """The same weights, one block with another stride."""
    stages = [list(blocks) for blocks in architecture.stages]
    old = stages[stage][block]
    assert isinstance(old, MBConv)
    stages[stage][block] = replace(old, stride=stride)
    return replace(architecture, stages=tuple(map(tuple, stages)))


def test_b0_computes_what_torchvisions_does(
    oracle: nn.Module, images: Tensor, expected: Tensor
) -> None:
    model = copied(oracle, build(lower(b0())))
    with torch.no_grad():
        assert error(model(images), expected) <= LARGEST_ERROR


def test_the_source_of_b0_computes_what_torchvisions_does(
    oracle: nn.Module, images: Tensor, expected: Tensor, model_from_source: ModelFromSource
) -> None:
    model = copied(oracle, model_from_source(model_source(lower(b0()))))
    with torch.no_grad():
        assert error(model(images), expected) <= LARGEST_ERROR


@pytest.mark.parametrize(("stage", "block", "stride"), [(4, 0, 2), (3, 0, 1), (6, 0, 2)])
def test_a_planted_stride_is_found(
    oracle: nn.Module, images: Tensor, expected: Tensor, stage: int, block: int, stride: int
) -> None:
    faulty = lower(with_stride(b0(), stage, block, stride))
    with torch.no_grad():
        assert error(copied(oracle, build(faulty))(images), expected) > 1_000 * LARGEST_ERROR


def test_planted_statistics_are_found(oracle: nn.Module, images: Tensor, expected: Tensor) -> None:
    model = copied(oracle, build(lower(b0())))
    norm = model.get_submodule("stages.3.1.depthwise_norm")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var[:] = norm.running_var.flip(0)
    with torch.no_grad():
        assert error(model(images), expected) > 100 * LARGEST_ERROR


def test_a_freshly_initialised_b0_would_show_nothing(images: Tensor) -> None:
    """Why weights are randomised: as it comes, the logits say next to nothing."""
    torch.manual_seed(0)
    with torch.no_grad():
        logits = efficientnet_b0().eval()(images)
    assert math.isfinite(logits.abs().max().item())
    assert (logits[0] - logits[1]).abs().max() < 1e-6
