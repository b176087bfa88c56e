"""How well an untrained network tells images apart: NASWOT and the Jacobian's correlations."""

import torch
from torch import Tensor, nn

from estimators.proxies.layers import watched

JACOBIAN_EPSILON = 1e-5


def naswot(model: nn.Module, images: Tensor) -> float:
    """Log-determinant of how often pairs of images switch the same units.

    With N units and d(i, j) of them switched otherwise by images i and j, the kernel has N - d(i,
    j); the score is the logarithm of its determinant.

    Args:
        model: The network, in training mode.
        images: ``(batch, channels, height, width)``.

    Source: NASWOT (arXiv:2006.04647), Eq. (2) and the score below it. Deviations: a unit of SiLU or
    hard-swish counts as on where its input is above 0, as one of ReLU does; and 1 is added to the
    diagonal, so that two images with the same code yield no infinity.
    """
    kernel = torch.eye(len(images), dtype=torch.float64, device=images.device)

    def see(values: Tensor) -> None:
        on = (values.flatten(1) > 0).to(torch.float32)
        count = on.sum(dim=1)  # of units; all figures are below 2**24: exact
        both = on @ on.T
        kernel.add_((on.shape[1] - count[:, None] - count[None, :] + 2 * both).double())

    with torch.no_grad(), watched(model, see):
        model(images)
    return float(torch.linalg.slogdet(kernel).logabsdet)


def jacob_cov(model: nn.Module, images: Tensor) -> float:
    """How little the gradients at different images resemble each other; at most about -batch.

    From the eigenvalues v of the correlations between rows of the Jacobian, of the sum of outputs
    by each image: -sum(log(v + k) + 1 / (v + k)), k = 1e-5.

    Args:
        model: The network, in training mode.
        images: ``(batch, channels, height, width)``.

    Source: the first version of NASWOT, as Zero-Cost Proxies (arXiv:2101.08134), section 3.2 has
    it. Deviation: an image without any gradient has correlation 0 with the others.
    """
    images = images.detach().clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(model(images).sum(), images)
    rows = jacobian.flatten(1).double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    lengths = rows.norm(dim=1, keepdim=True)
    rows = torch.where(lengths > 0, rows / lengths.clamp_min(1e-300), 0.0)
    correlations = rows @ rows.T
    correlations.fill_diagonal_(1.0)
    values = torch.linalg.eigvalsh(correlations).clamp_min(0) + JACOBIAN_EPSILON
    return -float((values.log() + 1 / values).sum())
