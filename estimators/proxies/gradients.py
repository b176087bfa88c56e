"""What gradients say of an untrained network: their norm, SNIP, ZiCo and synaptic flow."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from estimators.proxies.layers import linear, weighted

Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


def grad_norm(model: nn.Module, batch: Batch, loss: Loss) -> float:
    """Sum over convolutions and linear layers of the norm of the loss's gradient by the weights.

    Args:
        model: The network, in training mode.
        batch: Images and targets.
        loss: Of outputs and targets, a scalar.

    Source: Zero-Cost Proxies (arXiv:2101.08134), section 3.2; a sum of norms, one for each layer,
    as in the released code.
    """
    return sum(float(slope.double().norm()) for slope in _slopes(model, batch, loss))


def snip(model: nn.Module, batch: Batch, loss: Loss) -> float:
    """Sum over weights of abs(weight * gradient of the loss); arguments as ``grad_norm``.

    Source: SNIP, as a score of whole networks in Zero-Cost Proxies (arXiv:2101.08134), Eq. (1).
    """
    slopes = _slopes(model, batch, loss)
    weights = [layer.weight.detach() for layer in weighted(model)]
    return sum(
        float((weight.double() * slope.double()).abs().sum())
        for weight, slope in zip(weights, slopes, strict=True)
    )


def zico(model: nn.Module, batches: Sequence[Batch], loss: Loss) -> float:
    """Sum over layers of the log of the summed ratios of a gradient's mean to its deviation.

    For each weight of a convolution or linear layer: the mean over batches of the absolute
    gradient, by the standard deviation of the gradient. Weights whose gradient is the same in all
    batches are left out, and so are layers without any others.

    Args:
        model: The network, in training mode.
        batches: At least two.
        loss: Of outputs and targets, a scalar.

    Source: ZiCo (arXiv:2301.11300), the score of its section 3 as in the released code, with the
    deviation of signed gradients. Deviation: each batch has a gradient of its own, where the
    released code adds those of the batches before to it.
    """
    slopes = [_slopes(model, batch, loss) for batch in batches]
    score = 0.0
    for layer in zip(*slopes, strict=True):
        stacked = torch.stack(layer).double()
        deviation = stacked.std(dim=0, correction=0)
        usable = deviation > 0
        if usable.any():
            ratios = stacked.abs().mean(dim=0)[usable] / deviation[usable]
            score += float(ratios.sum().log())
    return score


def log_synflow(model: nn.Module, shape: tuple[int, int, int]) -> float:
    """Sum over weights of abs(weight) * log(1 + gradient of the flow), in float64.

    All weights and biases are replaced by their absolute values, batch norms by nothing; the flow
    is the sum of the outputs for an image of ones. It grows exponentially with depth: float64
    holds it, and the logarithm keeps a few layers from deciding alone.

    Args:
        model: The network; spoilt afterwards.
        shape: ``(channels, height, width)`` of its input.

    Source: synaptic flow, SynFlow (arXiv:2006.05467), Eq. (2), for the flow; the logarithm from
    FreeREA (arXiv:2207.05135). Deviations: 1 is added before the logarithm is taken, so that all
    terms are at least 0; and activations hand on what they are given, as ReLU does with values
    above 0, where others would choke the flow (ReLU6 ends it at 6).
    """
    model.double().eval()  # one image: norms have no batch to be of
    with torch.no_grad():
        for value in model.parameters():
            value.abs_()
    device = next(model.parameters()).device
    ones = torch.ones((1, *shape), dtype=torch.float64, device=device)
    weights = [layer.weight for layer in weighted(model)]
    with linear(model):
        slopes = torch.autograd.grad(model(ones).sum(), weights, allow_unused=True)
    return sum(
        float((weight.detach() * slope.abs().log1p()).sum())
        for weight, slope in zip(weights, slopes, strict=True)
        if slope is not None
    )


def _slopes(model: nn.Module, batch: Batch, loss: Loss) -> list[Tensor]:
    """Gradient of the loss by the weights of each layer, 0 where the loss does not depend on it."""
    images, targets = batch
    weights = [layer.weight for layer in weighted(model)]
    slopes = torch.autograd.grad(loss(model(images), targets), weights, allow_unused=True)
    return [
        torch.zeros_like(weight) if slope is None else slope
        for weight, slope in zip(weights, slopes, strict=True)
    ]
