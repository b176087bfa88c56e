"""The worst and the ideal value of each objective: the corners of a hypervolume."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from estimators.data import ImageData
from estimators.task import Task
from nas.children import Child, Children
from nas.errors import NasError
from nas.latency import network_latency_ms
from nas.limits import COSTS, Limits, Objective
from nas.plan import PREFLIGHT, rng_of
from search_spaces.space import SearchSpace

SAMPLES = 64  # children, of which the costliest is the worst that counts
TIMED = 16  # of them, for latency


def scaled(
    objectives: Sequence[Objective], known: Mapping[str, tuple[float, float]]
) -> tuple[Objective, ...]:
    """The objectives with scales that were derived before."""
    return tuple(replace(one, scale=known[one.metric]) for one in objectives)


def scales(
    objectives: Sequence[Objective], *, images: ImageData, task: Task
) -> dict[str, tuple[float, float]]:
    """The worst and the ideal value of the metrics of a task among the objectives.

    They are the bounds of a metric. Where it has none on the bad side, the worst is what a
    network scores on the validation images that says the same of every one of them; where it has
    none on the good side, the ideal is one unit from the worst.
    """
    found = {}
    for one in objectives:
        if one.metric in COSTS:
            continue
        metric = task.metrics[one.metric]
        worst, ideal = metric.lowest, metric.highest
        if metric.direction == "minimize":
            worst, ideal = ideal, worst
        if not math.isfinite(worst):
            labels = images.validation.labels
            same = torch.zeros((len(labels), *task.output_shape))
            worst = task.measure(same, labels)[one.metric]
        if not math.isfinite(ideal) or ideal == worst:
            ideal = worst + one.reward(1.0)
        found[one.metric] = (float(worst), float(ideal))
    return found


def cost_scales(
    objectives: Sequence[Objective],
    *,
    space: SearchSpace,
    children: Children,
    limits: Limits,
    seed: int,
    device: str,
) -> dict[str, tuple[float, float]]:
    """The worst and the ideal value of the costs among the objectives.

    The worst is the limit on that cost. Where there is none, it is that of the costliest among
    ``SAMPLES`` draws within the other limits; latency is measured, of some of them. The ideal is 0.
    """
    names = [one.metric for one in objectives if one.metric in COSTS]
    worst: dict[str, float | None] = {name: getattr(limits, f"max_{name}") for name in names}
    if None in worst.values():
        rng = rng_of(seed, PREFLIGHT, 3)
        drawn = [space.genome.sample_options(rng) for _ in range(SAMPLES)]
        within = [genotype for genotype in drawn if children.feasible(genotype)]
        sizes = [children.child(genotype) for genotype in within]
        if not sizes:
            sizes = [children.nearest_feasible(rng_of(seed, PREFLIGHT))]
        for name in names:
            if worst[name] is None:
                worst[name] = _highest(name, sizes, device)
    return {name: (float(value), 0.0) for name, value in worst.items() if value is not None}


def _highest(name: str, children: Sequence[Child], device: str) -> float:
    """The cost of the costliest child."""
    if name != "latency_ms":
        return float(max(getattr(child, name) for child in children))
    found = [network_latency_ms(child.graph, device=device) for child in children[:TIMED]]
    if not (known := [ms for ms in found if ms < math.inf]):
        raise NasError(
            f"--objective latency_ms: {device} cannot compute networks of this space; "
            "take another --device",
            exit_code=5,
        )
    return max(known)
