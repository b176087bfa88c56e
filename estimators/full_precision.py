"""In what precision one network is trained to the end: that in which a few steps are faster."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from estimators.data import ImageData, Split
from estimators.determinism import alone
from estimators.estimator import EvaluationError
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.task import Task
from estimators.ways import AUTO, FLOAT32, PRECISIONS, TIMED_PIXELS, Way, fastest
from search_spaces.graph import Graph

STEPS = 1  # of one measurement


def in_faster_precision(
    graph: Graph,
    data: ImageData,
    task: Task,
    recipe: FullRecipe,
    *,
    device: str,
    tell: Callable[[str], None],
) -> FullRecipe:
    """The recipe with a precision in place of ``auto``; with another one it is as it was.

    Steps are timed in each precision, and float32 stays unless bfloat16 is clearly faster
    (``fastest``), and where the training is too short to repay the timing or the device has no
    room for both.

    Args:
        graph: The network.
        data: Its images; few of them are read.
        task: What is asked of them.
        recipe: How the network is to be trained.
        device: Where, ``cpu`` or one of CUDA; of another one nothing is timed.
        tell: Is told before steps are taken.
    """
    if recipe.precision != AUTO:
        return recipe
    _, height, width = graph.input_shape
    pixels = recipe.epochs * len(data.train) * int(height) * int(width)
    known = device == "cpu" or device.startswith("cuda")
    if not known or pixels < TIMED_PIXELS:
        return replace(recipe, precision=FLOAT32)
    tell("trains a few steps in float32 and in bfloat16, to see which is faster")
    some = slice(STEPS * recipe.batch_size)
    few = replace(data, train=Split(data.train.images[some], data.train.labels[some]))
    # A class may not be among so few images.
    plain = replace(recipe, epochs=1, class_weights="none", merge_validation=False)
    ways = [Way(precision) for precision in PRECISIONS]
    try:
        with alone(device):  # memory is kept from one measurement to the next
            seconds = {
                way: partial(_seconds, _training(graph, few, task, plain, way, device), device)
                for way in ways
            }
            return replace(recipe, precision=fastest(ways, seconds, steps=STEPS).precision)
    except (torch.OutOfMemoryError, EvaluationError):
        return replace(recipe, precision=FLOAT32)


def _training(
    graph: Graph, data: ImageData, task: Task, recipe: FullRecipe, way: Way, device: str
) -> FullTraining:
    recipe = replace(recipe, precision=way.precision)
    return FullTraining(graph, data, task, recipe, seed=0, device=device)


def _seconds(fit: FullTraining, device: str, steps: int) -> float:
    """How long some steps take: CPU time on a CPU, else wall time of all of it."""
    return fit.try_steps(steps, time.process_time if device == "cpu" else partial(_now, device))


def _now(device: str) -> float:
    """The time when the device has done all that it was told."""
    torch.accelerator.synchronize(device)
    return time.perf_counter()
