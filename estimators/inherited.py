"""Metrics of a network with weights that were trained elsewhere."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from estimators.data import ImageData, Split
from estimators.resizing import resized
from estimators.scoring import average_statistics, measure
from estimators.task import Task
from search_spaces.graph import Graph
from search_spaces.modules import build

STATISTICS_IMAGES = 1_024  # of the training images, for the statistics of batch norms
STATISTICS_BATCH = 64


def inherited(  # noqa: PLR0913 - by name
    graph: Graph,
    weights: Mapping[str, Tensor],
    *,
    data: ImageData,
    validation: Split,
    task: Task,
    seed: int,
    device: str,
) -> dict[str, float]:
    """Metrics of a network once its batch norms know their statistics.

    Nothing is trained and ``weights`` stay as they are.

    Args:
        graph: The network.
        weights: A state dict of ``build(graph)``; its running statistics are not used.
        data: Some of its training images yield the statistics, without dropout.
        validation: What is scored.
        task: Whose metrics.
        seed: Decides which training images.
        device: A torch device.

    Source: statistics for each network anew: SPOS (arXiv:1904.00420), section 3.4.
    """
    model = build(graph)
    model.load_state_dict(dict(weights), strict=True)
    model = model.to(device).to(memory_format=torch.channels_last)
    size = tuple(int(side) for side in graph.input_shape[1:])
    average_statistics(model)
    for module in model.train().modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    chosen = np.random.default_rng(seed).permutation(len(data.train))[:STATISTICS_IMAGES]
    images = data.train.images[torch.from_numpy(chosen)]
    with torch.no_grad():
        for batch in torch.split(images, STATISTICS_BATCH):
            if len(batch) == STATISTICS_BATCH or len(images) < STATISTICS_BATCH:
                model(resized(batch.to(device, memory_format=torch.channels_last), size))
    return measure(model, validation, task, graph=graph, device=device)
