"""AZ-NAS: four scores of an untrained network, and their combination by ranks."""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from estimators.proxies.layers import weighted
from search_spaces.graph import Graph

LOG_EPSILON, NORM_EPSILON = 1e-8, 1e-6

_BLOCK = re.compile(r"stem|stages\.\d+\.\d+|stage\d+_block\d+")


@final
@dataclass(frozen=True, slots=True)
class Parts:
    """The four scores, each larger for a better network.

    Attributes:
        expressivity: Entropy of the principal components of a block's output, summed over blocks.
        progressivity: Least growth of that entropy from a block to the next.
        trainability: How near to 1 the Jacobian of a block stretches gradients at most; mean over
            blocks, at most 0.
        complexity: Multiply-accumulates for one image.
    """

    expressivity: float
    progressivity: float
    trainability: float
    complexity: float


def parts(model: nn.Module, graph: Graph, noise: Tensor) -> Parts:
    """The four scores of a network.

    Args:
        model: Built from ``graph``, in training mode; its weights are drawn anew (Kaiming's
            normal initialisation by the fan-in), from torch's global generator, as signs are.
        graph: The network.
        noise: Standard normal images, ``(batch, channels, height, width)``.

    Source: AZ-NAS (arXiv:2403.19232), section 3.2, after the released code. A block is one of our
    block specs, the stem included, the head not. Deviations: maps that the stride does not divide
    are padded with zeros; a pair of blocks of which the second reads nothing of the first is left
    out; a block that changes nothing has the least trainability there is, -1e6, instead of
    minus infinity.
    """
    _initialise(model)
    outputs = _outputs(model, graph, noise)
    entropies = [_entropy(output) for output in outputs]
    growths = [later - earlier for earlier, later in pairwise(entropies)]
    stretches = [
        found
        for earlier, later in pairwise(outputs)
        if (found := _trainability(earlier, later)) is not None
    ]
    return Parts(
        sum(entropies),
        min(growths, default=0.0),
        sum(stretches) / max(1, len(stretches)),
        float(graph.macs),
    )


@final
class Reference:
    """Networks of the space against which the four scores of a child are ranked.

    AZ-NAS ranks the networks of one search against each other, which would let a score depend on
    what else was scored. Here the ranks are those among a fixed sample, so that a score is a
    function of the network and its seed. Between two values of the sample the rank is
    interpolated; beyond them it approaches its end, 0 or 1, and never reaches it: the best of all
    still differ.

    Args:
        sample: Scores of at least one network.
    """

    def __init__(self, sample: Sequence[Parts]) -> None:
        columns = np.array([astuple(one) for one in sample], dtype=np.float64).T
        self._columns = [np.sort(column) for column in columns]

    def score(self, child: Parts) -> float:
        """Sum of the logarithms of the four ranks, each in (0, 1); below 0.

        Source: the non-linear ranking aggregation of AZ-NAS (arXiv:2403.19232), section 3.3.
        """
        pairs = zip(self._columns, astuple(child), strict=True)
        return sum(float(np.log(_rank(column, value))) for column, value in pairs)


def _rank(column: NDArray[np.float64], value: float) -> float:
    """Where a value stands in a sorted sample of m: the i-th has rank i / (m + 1)."""
    step = 1 / (len(column) + 1)
    lowest, highest = column[0], column[-1]
    width = max(highest - lowest, 1e-12 * max(1.0, abs(highest)))
    if value < lowest:
        return max(step * float(np.exp((value - lowest) / width)), 1e-300)
    if value > highest:
        return 1 - step * float(np.exp((highest - value) / width))
    values, first = np.unique(column, return_index=True)
    last = np.append(first[1:], len(column)) - 1
    return float(np.interp(value, values, step * (1 + (first + last) / 2)))


def _initialise(model: nn.Module) -> None:
    for layer in weighted(model):
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _outputs(model: nn.Module, graph: Graph, images: Tensor) -> list[Tensor]:
    """What each block puts out, in order, still part of the computation."""
    outputs: list[Tensor] = []
    paths = [scope.path for scope in graph.scopes if _BLOCK.fullmatch(scope.path)]

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    handles = [model.get_submodule(path).register_forward_hook(hook) for path in paths]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _entropy(output: Tensor) -> float:
    """Entropy of the shares of variance that the principal components of the channels have."""
    rows = _pixels(output.detach()).double()
    rows = rows - rows.mean(dim=0)
    values = torch.linalg.eigvalsh(rows.T @ rows / len(rows)).clamp_min(0)
    shares = values / values.sum().clamp_min(1e-300)
    return -float((shares * (shares + LOG_EPSILON).log()).sum())


def _trainability(earlier: Tensor, later: Tensor) -> float | None:
    """-s - 1/s + 2 of the largest singular value s of a block's Jacobian; None without one."""
    signs = torch.randint(0, 2, later.shape, device=later.device).to(later.dtype) * 2 - 1
    (found,) = torch.autograd.grad(later, earlier, signs, retain_graph=True, allow_unused=True)
    if found is None:
        return None
    if found.shape == signs.shape and torch.equal(found, signs):
        return 2 - 1 / NORM_EPSILON
    outer, inner = _pixels(signs), _pixels(_folded(found, later))
    largest = float(torch.linalg.matrix_norm((inner.T @ outer / len(outer)).double(), ord=2))
    return 2 - largest - 1 / (largest + NORM_EPSILON)


def _folded(slope: Tensor, later: Tensor) -> Tensor:
    """A gradient whose pixels are moved into channels until its map has the size of ``later``."""
    height, width = later.shape[2:]
    stride = max(1, -(-slope.shape[2] // height), -(-slope.shape[3] // width))
    missing = (0, stride * width - slope.shape[3], 0, stride * height - slope.shape[2])
    padded = functional.pad(slope, missing)
    return functional.pixel_unshuffle(padded, stride)


def _pixels(maps: Tensor) -> Tensor:
    """``(batch * height * width, channels)``."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
