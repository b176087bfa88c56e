"""From a network and images to metrics."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from estimators.data import Split
from estimators.shared_layers import GivenConv
from estimators.task import Task
from search_spaces.folding import folded, folded_state
from search_spaces.graph import BYTES_PER_VALUE, Graph, Node
from search_spaces.modules import build
from search_spaces.primitives import Conv2d

LARGEST_BATCH, SMALLEST_BATCH = 512, 8  # images
# Of the largest feature map of a batch on a CPU. From 32 MiB on each is memory that the allocator
# fetches from the system and hands back: at 28x28 pixels a child of 22 million MACs then takes
# 2.5 times as long.
MAP_BYTES = 16 * 2**20


def measure(
    model: nn.Module, split: Split, task: Task, *, graph: Graph, device: str
) -> dict[str, float]:
    """Metrics of a network on one split, in eval mode.

    Args:
        model: The network, on ``device``; left in eval mode, and otherwise as it is.
        split: Images and labels.
        task: Whose metrics.
        graph: What ``model`` was built from; images are resized to what it reads.
        device: A torch device.
    """
    return task.measure(scored(model, split, graph=graph, device=device), split.labels)


@torch.inference_mode()
def scored(model: nn.Module, split: Split, *, graph: Graph, device: str) -> Tensor:
    """What a network returns for every image of a split, ``(images, ...)`` on the CPU.

    It is computed by a network with folded batch norms, whose outputs differ from the model's in
    their last digits. Arguments as for ``measure``.
    """
    size = tuple(int(side) for side in graph.input_shape[1:])
    network = _folded(model.eval(), graph, device)
    outputs = []
    for part in torch.split(split.images, _batch(graph, device)):
        images = part.to(device, memory_format=torch.channels_last)
        outputs.append(network(resized(images, size)).float().cpu())
    return torch.cat(outputs)


def _folded(model: nn.Module, graph: Graph, device: str) -> nn.Module:
    """The same network for scoring: batch norms folded, weights of convolutions channels-last.

    All layers but convolutions are the model's own.
    """
    layers = dict(model.named_modules())
    state = folded_state(
        graph, {name: one.cpu().numpy() for name, one in model.state_dict().items()}
    )

    def given(name: str) -> Tensor:
        return torch.from_numpy(state[name]).to(device)

    def layer(node: Node) -> nn.Module | None:
        if not isinstance(node.primitive, Conv2d):
            return layers.get(node.name)
        weight = given(f"{node.name}.weight").contiguous(memory_format=torch.channels_last)
        bias = nn.Parameter(given(f"{node.name}.bias")) if node.primitive.bias else None
        return GivenConv(nn.Parameter(weight), bias, node.primitive)

    return build(folded(graph), layer).eval()


def _batch(graph: Graph, device: str) -> int:
    """Images to score at once."""
    if device != "cpu":
        return LARGEST_BATCH
    largest = BYTES_PER_VALUE * max(math.prod(map(int, node.shape)) for node in graph.nodes)
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, MAP_BYTES // largest))


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images as ``(batch, channels, *size)``, bilinear with antialiasing."""
    if tuple(images.shape[2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)


def average_statistics(model: nn.Module) -> None:
    """From here on batch norms keep the plain mean of their statistics over all steps.

    The usual moving average would still remember its start after a short training: at 19 steps
    the share is 0.9**19, or 14 %, which leaves a well trained child at chance level.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None


def keep_statistics(model: nn.Module) -> None:
    """From here on batch norms use the statistics they have, also while training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
