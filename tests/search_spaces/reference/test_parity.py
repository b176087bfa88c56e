"""One member of every family computes what torchvision's does, weight for weight."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from search_spaces.architecture import Architecture, lower
from search_spaces.lowering import BlockSpec
from search_spaces.modules import build
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source

ModelFromSource = Callable[[str], nn.Module]

LARGEST_ERROR = 1e-5  # relative to the largest logit
POOL = 1_000_003  # random numbers that weights repeat; a prime, so that no two rows are alike


@dataclass(frozen=True)
class Case:
    """One network, and how it may be spoilt without a change of its weights' shapes.

    Attributes:
        side: Pixels of the square images it is compared on.
        place: Stage and block of the fault.
        fault: What the faulty block has in place of the right value.
        options: For torchvision's constructor.
    """

    side: int
    place: tuple[int, int]
    fault: dict[str, Any]
    options: dict[str, Any]


CASES = {
    "alexnet": Case(96, (1, 0), {"padding": "same"}, {}),
    "vgg11": Case(48, (4, 2), {"padding": "ceil"}, {"init_weights": False}),
    "vgg11_bn": Case(48, (2, 1), {"activation": "silu"}, {"init_weights": False}),
    "googlenet": Case(
        64, (1, 0), {"padding": "same"}, {"init_weights": False, "aux_logits": False}
    ),
    "resnet18": Case(64, (2, 1), {"activation": "silu"}, {}),
    "resnet50": Case(64, (2, 0), {"stride_first": True}, {}),
    "wide_resnet50_2": Case(64, (1, 0), {"stride_first": True}, {}),
    "resnext50_32x4d": Case(64, (3, 0), {"stride_first": True}, {}),
    "densenet121": Case(64, (2, 3), {"activation": "silu"}, {}),
    "mobilenet_v2": Case(64, (3, 0), {"stride": 1}, {}),
    "efficientnet_b0": Case(96, (4, 0), {"stride": 2}, {}),
}

LARGE = {"vgg11", "vgg11_bn", "wide_resnet50_2"}


def theirs(name: str) -> nn.Module:
    """Torchvision's network with memory for its weights, which nobody has set."""
    make = getattr(torchvision.models, name, None)
    if make is None:
        pytest.skip(f"torchvision {torchvision.__version__} has no {name}")
    with torch.device("meta"):
        model: nn.Module = make(**CASES[name].options)
    return model.to_empty(device="cpu").eval()


def unit_scale(model: nn.Module, images: Tensor) -> nn.Module:
    """Random weights and batch-norm statistics under which activations keep unit scale.

    Weights have a variance of one over the fan-in, or of two without batch norms, since ReLU
    halves it. The statistics of each batch norm are those of what it reads for ``images``, moved
    and stretched at random channel by channel; its scales and shifts are random.
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

    pool = torch.randn(POOL, generator=generator)
    gain = 1 if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) else 2
    hooks = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                count, fan_in = module.weight.numel(), module.weight[0].numel()
                values = pool.roll(count).repeat(-(-count // POOL))[:count]
                module.weight.copy_(values.view_as(module.weight) * (gain / fan_in) ** 0.5)
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


def with_weights(source: nn.Module, target: nn.Module) -> nn.Module:
    """``target`` with the weights and statistics of ``source``, in order, not copied."""
    values, names = list(source.state_dict().values()), list(target.state_dict())
    target.load_state_dict(dict(zip(names, values, strict=True)), assign=True)
    return target.eval()


def error(model: nn.Module, images: Tensor, expected: Tensor) -> float:
    with torch.no_grad():
        return ((model(images) - expected).abs().max() / expected.abs().max()).item()


def ours(name: str) -> Architecture:
    side = CASES[name].side
    return replace(REFERENCES[name](), input_shape=(3, side, side))


def built(architecture: Architecture) -> nn.Module:
    with torch.device("meta"):
        return build(lower(architecture))


def printed(architecture: Architecture, model_from_source: ModelFromSource) -> nn.Module:
    with torch.device("meta"):
        return model_from_source(model_source(lower(architecture)))


def with_block(
    architecture: Architecture, stage: int, block: int, change: Callable[[BlockSpec], BlockSpec]
) -> Architecture:
    stages = [list(blocks) for blocks in architecture.stages]
    stages[stage][block] = change(stages[stage][block])
    return replace(architecture, stages=tuple(map(tuple, stages)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in CASES],
)
def test_a_network_and_its_source_compute_what_torchvisions_does(
    name: str, model_from_source: ModelFromSource
) -> None:
    side = CASES[name].side
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    oracle = unit_scale(theirs(name), images)
    expected, scales = outputs_by_layer(oracle, images)
    assert min(scales.values()) > 0.05
    assert max(scales.values()) < 10
    assert 0.1 < expected.std() < 10
    assert (expected[0] - expected[1]).std() > 0.1  # the images matter

    assert error(with_weights(oracle, built(ours(name))), images, expected) <= LARGEST_ERROR
    source = with_weights(oracle, printed(ours(name), model_from_source))
    assert error(source, images, expected) <= LARGEST_ERROR
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_weights(oracle, built(replace(ours(name), input_shape=(4, side, side))))

    faulty = with_block(
        ours(name), *CASES[name].place, lambda block: replace(block, **CASES[name].fault)
    )
    assert faulty != ours(name)
    fault = error(with_weights(oracle, built(faulty)), images, expected)
    assert fault > 100 * LARGEST_ERROR


@pytest.mark.parametrize(("stage", "stride"), [(3, 1), (6, 2)])
def test_a_planted_stride_is_found(stage: int, stride: int) -> None:
    name = "efficientnet_b0"
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    oracle = unit_scale(theirs(name), images)
    with torch.no_grad():
        expected = oracle(images)
    faulty = with_block(ours(name), stage, 0, lambda block: replace(block, stride=stride))
    assert error(with_weights(oracle, built(faulty)), images, expected) > 1_000 * LARGEST_ERROR


def test_planted_statistics_are_found() -> None:
    name = "resnet18"
    side = CASES[name].side
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    oracle = unit_scale(theirs(name), images)
    with torch.no_grad():
        expected = oracle(images)
    norms = [module for module in oracle.modules() if isinstance(module, nn.BatchNorm2d)]
    variance = norms[len(norms) // 2].running_var
    assert variance is not None
    variance.copy_(variance.flip(0))
    model = with_weights(oracle, built(ours(name)))
    assert error(model, images, expected) > 100 * LARGEST_ERROR


def test_a_freshly_initialised_b0_would_show_nothing() -> None:
    """Why weights are randomised: as it comes, the logits say next to nothing."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        logits = torchvision.models.efficientnet_b0().eval()(images)
    assert torch.isfinite(logits).all()
    assert (logits[0] - logits[1]).abs().max() < 1e-6
