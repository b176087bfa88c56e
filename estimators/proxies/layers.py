"""Which layers of an untrained network the scores look at, and how."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

# Activations that switch a unit on or off; gates (sigmoids) scale it and are left out.
_SWITCHES = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)

Weighted = nn.Conv2d | nn.Linear


def weighted(model: nn.Module) -> list[Weighted]:
    """Convolutions and linear layers, in the order of the network."""
    return [module for module in model.modules() if isinstance(module, Weighted)]


@contextmanager
def watched(model: nn.Module, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Hand ``see`` the input of every activation, as the network computes it."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        see(inputs[0])

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, _SWITCHES):
                stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def linear(model: nn.Module) -> Iterator[None]:
    """Let batch norms and activations hand on what they are given; gates stay."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        return inputs[0]

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm2d, *_SWITCHES)):
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def quiet(model: nn.Module) -> nn.Module:
    """The network in training mode, where batch norms use the batch, without its dropout."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    return model
