"""``nas search --dry-run``: what a search would cost, from one child or a part of it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from estimators.data import ImageData
from estimators.determinism import cpus
from estimators.estimator import Estimator, Evaluation, EvaluationError
from estimators.full_training import FullTraining
from estimators.training import Training
from nas.calibration import calibrated
from nas.configuration import Configuration
from nas.construction import make_estimator, prepare_estimator
from nas.errors import NasError
from nas.halving import cost_share
from nas.latency import network_latency_ms
from nas.limits import format_quantity
from nas.panel import duration
from nas.plan import AUTO, FRESH_SEEDS, OFF, PREFLIGHT, finalists_of, rng_of, training_seed
from nas.preparation import Prepared, prepare
from nas.rivals import Rival, fast_enough, fitting, most_macs, named_rivals
from nas.terminal import escaped
from nas.untrained import UntrainedScore
from nas.ways import settled_ways
from nas.workers import Failure, Job, run_job
from search_spaces.genome import Genotype
from search_spaces.graph import Graph

SAMPLES = 200


def dry_run(configuration: Configuration, *, workers: int | Literal["auto"]) -> dict[str, Any]:
    """Size of the space, share within the limits, costs of children, and expected hours.

    Nothing is written. One child is trained, of median MACs among the feasible samples, in this
    process; where that would take long, a part of it, from which the rest follows (``calibrated``).
    The search would train ``budget`` children and the finalists on fresh seeds.

    Args:
        configuration: As for a search.
        workers: As for a search; ``auto`` is one for each CPU or GPU of this machine.

    Raises:
        NasError: As a search does before its first child, and if the one child fails (exit
            code 3).
    """
    here = cpus() if workers == "auto" else max(1, min(workers, cpus()))
    prepared = prepare(configuration, cpus=here)
    plan, children = prepared.plan, prepared.children
    rng = rng_of(plan.seed, PREFLIGHT, 1)
    drawn = [prepared.space.genome.sample_options(rng) for _ in range(SAMPLES)]
    feasible = [genotype for genotype in drawn if children.feasible(genotype)]
    if not feasible:
        feasible = [children.nearest_feasible(rng_of(plan.seed, PREFLIGHT)).genotype]
    costs = _costs(prepared, feasible)
    middle = sorted(feasible, key=lambda genotype: children.child(genotype).macs)
    child = middle[len(middle) // 2]
    options = configuration.settings.get("estimator", {})
    calibration = final = _calibration(
        prepared,
        child,
        prepared.estimator,
        another=lambda: make_estimator(configuration.estimator, options),
    )
    if prepared.judge is not prepared.estimator:
        final = _calibration(prepared, child, prepared.judge, another=Training)
    count = _count(plan.device, plan.budget) if workers == "auto" else max(1, workers)
    rescorings = finalists_of(len(plan.objectives)) * FRESH_SEEDS
    whole = math.ceil(plan.budget * cost_share(plan))
    audited = _audited(prepared)
    seconds = calibration["seconds"] * whole + final["seconds"] * rescorings
    seconds += final["seconds"] / plan.fidelity * audited
    rivals, winner = _rivals(prepared, child), children.child(child).graph
    scored = rivals if len(rivals) > 1 else []
    own = _last(prepared, winner)
    rival = max(rivals, key=lambda one: one.graph.macs, default=None)
    other = 0.0 if rival is None else own  # one that is no slower
    if rival is not None and plan.references != AUTO:
        other = _last(prepared, rival.graph)
    if own:
        seconds += final["seconds"] * len(scored) * other / own
    return {
        "space": prepared.run.space,
        "data": prepared.run.data,
        "input_shape": list(prepared.run.input_shape),
        "images": _images(prepared.images),
        "notice": prepared.images.notice,
        "genotypes": prepared.run.genotypes,
        "samples": SAMPLES,
        "feasible_share": sum(map(children.feasible, drawn)) / SAMPLES,
        "costs": costs,
        "calibration": calibration,
        "budget": plan.budget,
        "trainings": whole + rescorings + math.ceil(audited) + len(scored),
        "workers": count,
        "device": plan.device,
        "seconds_per_child": calibration["seconds"],
        **_scoring(prepared, child),
        "final_training_epochs": 0 if prepared.recipe is None else prepared.recipe.epochs,
        "published_networks": len(rivals),
        "expected_hours": (seconds / count + own + other) / 3600,
    }


def _rivals(prepared: Prepared, genotype: Genotype) -> list[Rival]:
    """The published networks that this child would be compared with, were it the winner.

    How fast they are is not looked at, so it may be fewer or smaller ones in the end.
    """
    plan, images = prepared.plan, prepared.images
    shape, classes = images.input_shape, len(images.classes)
    if plan.references == OFF:
        return []
    if plan.references != AUTO:
        return named_rivals(plan.references, shape, classes, plan.limits)
    most = most_macs(prepared.children.child(genotype).macs)
    families = fitting(shape, classes, plan.limits)
    found = fast_enough(families, most=most, limit_ms=0.0, measure=lambda _: 0.0)
    return [one for one, _ in found]


def _scoring(prepared: Prepared, genotype: Genotype) -> dict[str, float]:
    """Processor seconds of scores of untrained networks, in the process that drives the run.

    They are no part of the hours that are expected: mostly workers train meanwhile.

    Returns:
        What a screen takes before each child, and what the strategy's features take for each
        network that it looks at.
    """
    screen = prepared.screen
    prepared.children.child(genotype)  # made before the clock starts
    seconds: dict[UntrainedScore, float] = {}
    for score in (*prepared.untrained, *([] if screen is None else [screen.score])):
        begin = time.thread_time()
        score.value(genotype)  # kept: one that is there twice is timed the first time
        seconds.setdefault(score, time.thread_time() - begin)
    return {
        "seconds_of_screening": 0.0 if screen is None else screen.looked_at * seconds[screen.score],
        "seconds_of_features": sum(seconds[score] for score in prepared.untrained),
    }


def _audited(prepared: Prepared) -> float:
    """Full trainings that an audit at the end takes; a short one of each child is a quarter."""
    size = prepared.run.audit
    if size is None:
        return 0
    finals = finalists_of(len(prepared.plan.objectives)) * (FRESH_SEEDS + size.seeds)
    return size.children * (size.seeds + 0.25) + finals


def _last(prepared: Prepared, graph: Graph) -> float:
    """Seconds of the final training of a network, by the pace of a few steps.

    Raises:
        NasError: If not even these can be taken (exit code 3).
    """
    recipe = prepared.recipe
    if recipe is None:
        return 0.0
    device = prepared.plan.device
    try:
        fit = FullTraining(graph, prepared.images, prepared.task, recipe, seed=0, device=device)
        return fit.seconds_per_pass() * recipe.epochs
    except EvaluationError as error:
        raise NasError(f"dry run: the final training failed: {error}", exit_code=3) from error


def text(document: Mapping[str, Any]) -> str:
    """The same for the eye."""
    shape = "x".join(str(side) for side in document["input_shape"])
    size = int(document["genotypes"])
    child, seconds = document["calibration"], 3600 * document["expected_hours"]
    latency = "" if child["latency_ms"] is None else f", latency {child['latency_ms']:.3g} ms"
    share, samples = document["feasible_share"], document["samples"]
    rows = {
        "images": _counts(document["images"]),
        **({"notice": document["notice"]} if document["notice"] else {}),
        "space": f"{document['space']} for {document['data']} ({shape}): {_size(size)} genotypes",
        "feasible": f"{share:.0%} of {samples} samples are within the limits",
        **{name: _spread(cost) for name, cost in document["costs"].items()},
        "one child": f"{format_quantity(child['params'])} parameters, "
        f"{format_quantity(child['macs'])} MACs: {_seconds(child)}{latency}",
        **({"screening": _before_each(document)} if document["seconds_of_screening"] else {}),
        **({"features": _looked_up(document)} if document["seconds_of_features"] else {}),
        "expected": f"{duration(seconds)} ({document['expected_hours']:.2g} h) for "
        f"{document['trainings']} trainings, {document['workers']} at a time on "
        f"{document['device']}{_then(document)}",
    }
    return "\n".join(f"{name:<11}{row}" for name, row in rows.items())


def _seconds(child: Mapping[str, Any]) -> str:
    """What a child takes, and whether that was seen."""
    share = child["share_trained"]
    if share == 1:
        return f"{child['seconds']:.2f} s"
    return f"about {child['seconds']:.0f} s, by the pace of the first {share:.1%} of its training"


def _before_each(document: Mapping[str, Any]) -> str:
    """What a screen takes."""
    seconds = document["seconds_of_screening"]
    return f"{seconds:.2f} s before each child, while others train; not counted below"


def _looked_up(document: Mapping[str, Any]) -> str:
    """What scores take that a strategy learns from."""
    seconds = document["seconds_of_features"]
    return f"{seconds:.2f} s for each network that the strategy looks at; not counted below"


def _then(document: Mapping[str, Any]) -> str:
    """What follows the search."""
    if not (epochs := document["final_training_epochs"]):
        return ""
    beside = " and of a published network" if document["published_networks"] else ""
    return f", then {epochs} epochs of the winner{beside}"


def _images(images: ImageData) -> dict[str, dict[str, int]]:
    """Images by split and class."""
    return {
        name: {
            label: int((split.labels == number).sum())
            for number, label in enumerate(images.classes)
        }
        for name, split in (
            ("train", images.train),
            ("validation", images.validation),
            ("test", images.test),
        )
    }


def _counts(images: Mapping[str, Mapping[str, int]]) -> str:
    """Images of each split, and of the first classes in the training split."""
    splits = ", ".join(f"{name} {sum(counts.values()):,}" for name, counts in images.items())
    train = images["train"]
    shown = ", ".join(f"{escaped(label)[:40]} {count:,}" for label, count in [*train.items()][:12])
    more = f" and {len(train) - 12} more" if len(train) > 12 else ""
    return f"{splits}; {len(train)} classes, in train: {shown}{more}"


def _size(genotypes: int) -> str:
    return f"{genotypes:,}" if genotypes < 10**9 else f"about 10^{math.log10(genotypes):.1f}"


def _spread(cost: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {format_quantity(value)}" for key, value in cost.items())


def _costs(prepared: Prepared, genotypes: Sequence[Genotype]) -> dict[str, dict[str, int]]:
    children = [prepared.children.child(genotype) for genotype in genotypes]
    found = {}
    for name in ("params", "macs"):
        values = sorted(getattr(child, name) for child in children)
        middle = values[len(values) // 2]
        found[name] = {"smallest": values[0], "median": middle, "largest": values[-1]}
    return found


def _calibration(
    prepared: Prepared,
    genotype: Genotype,
    estimator: Estimator,
    *,
    another: Callable[[], Estimator],
) -> dict[str, Any]:
    """What a child costs that is scored as the search would.

    Args:
        prepared: Of the run.
        genotype: The child.
        estimator: What scores it.
        another: Makes one with the same options, not yet prepared.

    Raises:
        NasError: If it fails (exit code 3).
    """
    plan, child = prepared.plan, prepared.children.child(genotype)
    seed, metrics = training_seed(plan.seed, PREFLIGHT, 2), prepared.metrics(estimator)

    def on(images: ImageData) -> Estimator:
        made = another()
        prepare_estimator(made, images, prepared.task, children=prepared.children, seed=plan.seed)
        settled_ways(  # as the search trains
            *(made, prepared.run.derived.ways),
            children=prepared.children,
            seed=plan.seed,
            device=plan.device,
        )
        return made

    def score(scoring: Estimator, fidelity: float) -> Evaluation | Failure:
        job = Job(0, child.graph, fidelity, seed)
        return run_job(scoring, job, device=plan.device, metrics=metrics)

    found = calibrated(estimator, prepared.images, prepared=on, score=score, fidelity=plan.fidelity)
    latency = None
    if plan.times_children:
        timed = network_latency_ms(child.graph, device=plan.device)
        latency = timed if timed < math.inf else None
    return {
        "params": child.params,
        "macs": child.macs,
        "seconds": found.seconds,
        "share_trained": found.fidelity / plan.fidelity,
        "latency_ms": latency,
        "metrics": dict(found.metrics),
    }


def _count(device: str, budget: int) -> int:
    """How many children this machine trains at a time."""
    cards = torch.cuda.device_count() if device == "cuda" else 1
    return max(1, min(budget, cards if device != "cpu" else cpus()))
