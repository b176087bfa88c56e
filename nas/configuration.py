"""From what a user asks for to everything a run needs, checked before anything starts."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch

from estimators.data import ImageData
from estimators.estimator import STAND_IN, Estimator
from estimators.full_recipe import FullRecipe
from estimators.parameter_groups import FACTORS_OF_ONE
from estimators.proxy import SCORES
from estimators.task import Classification, Metric, Task
from estimators.training import Training
from nas import plugins
from nas.children import Children
from nas.construction import (
    check_recipe_options,
    construct,
    make_estimator,
    make_space,
    prepare_estimator,
    target_of,
)
from nas.datasets import Data, is_path, recorded
from nas.errors import NasError, usage_error
from nas.final_training import final_recipe
from nas.halving import cost_share, rungs_of
from nas.images import images_of
from nas.limits import COSTS, Limits, Objective
from nas.plan import FRESH_SEEDS, LEAST_AUDITED, PREFLIGHT, Plan, finalists_of, rng_of
from nas.run_folder import AuditSize, Beside, DataOptions, Derived, RunRecord, Settings, versions
from nas.scales import cost_scales, scaled, scales
from nas.screening import LOOKED_AT, Screen, check_screen
from nas.untrained import (
    ScoredChildren,
    UntrainedScore,
    check_features,
    check_score,
    untrained_score,
)
from nas.ways import settled_ways
from search_spaces.space import SearchSpace
from search_spaces.strict_json import MAX_INT, dumps
from strategies import DEFAULT_OF_SEVERAL, DEFAULT_STRATEGY
from strategies.strategy import Strategy

# Fields of a run that are objects, and where their names are found.
_NAMED: Mapping[str, str] = {
    "space": "search_spaces",
    "strategy": "strategies",
    "estimator": "estimators",
    "data": "datasets",
}

MAX_OBJECTIVES = 4  # a hypervolume takes time to the power of their number

FINAL_TRAINING = "auto"  # unless the user says otherwise


@final
@dataclass(frozen=True, slots=True)
class Configuration:
    """What a user asks for; ``nas.search`` says what each value means.

    ``strategy`` is None for the default one, which depends on the number of objectives.
    ``derived`` are options of the strategy as an earlier session resolved them; they stay when the
    budget changes. So do options of the estimator that the user left to it (``resolved``), the
    ``scales`` of several objectives, the ``rungs`` of halving, the ``recipe`` of the final training
    and the ``ways`` that were timed, which are None before, and the recipes of scores of untrained
    networks, by name (``untrained``).
    """

    space: str | type[SearchSpace] = "mbconv"
    budget: int = 100
    data: Data = "digits"
    data_options: DataOptions = field(default_factory=DataOptions)
    strategy: str | type[Strategy] | None = None
    estimator: str | type[Estimator] = "training"
    seed: int = 0
    device: str = "auto"
    objective: str | tuple[str, ...] = "accuracy"
    fidelity: float = 1.0
    final_training: str | None = None
    audit: AuditSize | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    derived: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    halving: int | None = None
    rungs: tuple[float, ...] = ()
    ways: Mapping[str, str] | None = None
    screen: str | None = None
    screen_of: int | None = None
    features: tuple[str, ...] = ()
    untrained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resolved: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs.

    Attributes:
        images: The data.
        task: What is asked of it.
        space: The search space.
        children: Makes networks, and knows the limits.
        estimator: Prepared with the data.
        judge: Trains the finalists; the estimator itself, unless its scores are a stand-in.
        recipe: How the winner is trained in the end; None for not at all.
        strategy: Fresh.
        plan: What the search is to do.
        record: What ``run.json`` will say.
        screen: Chooses among proposals; None where the first is asked for.
        untrained: Scores of untrained networks that the strategy has among its features.
    """

    images: ImageData
    task: Task
    space: SearchSpace
    children: Children
    estimator: Estimator
    judge: Estimator
    recipe: FullRecipe | None
    strategy: Strategy
    plan: Plan
    record: RunRecord
    screen: Screen | None
    untrained: tuple[UntrainedScore, ...]

    def metrics(self, estimator: Estimator) -> dict[str, Metric]:
        """What evaluations hold, of which those that rank trials or finalists are required."""
        required = {self.plan.objective.metric, self.plan.verdict.metric}
        return {
            name: replace(metric, required=name in required)
            for name, metric in estimator.metrics(self.task).items()
        }


def prepare(configuration: Configuration, *, elsewhere: bool = False, cpus: int = 1) -> Prepared:
    """Check everything and make it.

    Args:
        configuration: What is asked for.
        elsewhere: Whether children are trained on other machines, which may have the device that
            this one lacks.
        cpus: That the final training may use, unless an earlier session or the user has said so.

    Raises:
        NasError: If a value cannot be used (exit code 2), no network of the space is within the
            limits (3), or there is no such device (5).
    """
    settings = _settings(configuration)
    limits, plan_numbers = _limits(configuration), _numbers(configuration)
    if configuration.audit is not None:
        _whole("--audit-children", configuration.audit.children, least=LEAST_AUDITED)
        _whole("--audit-seeds", configuration.audit.seeds, least=1)
    device = configuration.device
    timed = limits.max_latency_ms is not None or "latency_ms" in _names(configuration.objective)
    if not elsewhere or device in {"auto", "cpu"} or timed:
        device = resolve_device(device)  # latency is measured here
    images = images_of(configuration.data, configuration.data_options)
    task = Classification(len(images.classes))
    objectives = _objectives(task, _names(configuration.objective))
    space = make_space(
        configuration.space, images.input_shape, len(images.classes), settings["space"]
    )
    children = Children(space, limits)
    estimator = make_estimator(
        configuration.estimator, {**configuration.resolved, **settings["estimator"]}
    )
    stand_in, asked = estimator.stand_in, None
    if stand_in is not None:
        if len(objectives) > 1:
            raise usage_error(
                f"--objective must be one with --estimator {configuration.estimator}, whose score "
                f"stands in for it, got {len(objectives)}"
            )
        asked, objectives = objectives[0], (Objective(STAND_IN, stand_in.direction),)
    named = configuration.strategy
    if named is None:
        named = DEFAULT_STRATEGY if len(objectives) == 1 else DEFAULT_OF_SEVERAL
    making = target_of("strategies", named)
    names = configuration.features
    count = len(objectives)
    check_features(names, strategy=making, estimator=estimator, objectives=count)
    looked_at = _looked_at(configuration, estimator, making, objectives=count)
    _check_feasible(children, limits, configuration.seed)
    scores = _untrained(configuration, images, task, children)
    strategy = construct(
        Strategy,  # type: ignore[type-abstract]
        making,
        (
            space.genome,
            plan_numbers["budget"],
            tuple(one.direction for one in objectives),
            ScoredChildren(children, [scores[name] for name in names]) if names else children,
        ),
        options={**settings["strategy"], **configuration.derived},
        part="strategy",
    )
    known = configuration.scales
    if len(objectives) > 1 and not known:
        known = {
            **scales(objectives, images=images, task=task),
            **cost_scales(
                objectives,
                space=space,
                children=children,
                limits=limits,
                seed=configuration.seed,
                device=device,
            ),
        }
    objective, *beside = scaled(objectives, known) if known else objectives
    prepare_estimator(estimator, images, task, children=children, seed=configuration.seed)
    judge = estimator
    if stand_in is not None:
        judge = Training()
        prepare_estimator(judge, images, task, children=children, seed=configuration.seed)
    ways = settled_ways(
        judge, configuration.ways, children=children, seed=configuration.seed, device=device
    )
    rungs = _rungs(configuration, estimator, objectives=len(objectives))
    plan = Plan(
        objective=objective,
        beside=tuple(beside),
        asked=asked,
        limits=limits,
        device=device,
        halving=0 if configuration.halving is None else int(configuration.halving),
        rungs=rungs,
        **plan_numbers,
    )
    screen = None if looked_at is None else Screen(scores[str(configuration.screen)], looked_at)
    recipe = _final_recipe(configuration, images, judge, plan, cpus=cpus)
    record = RunRecord(
        space=plugins.name_of("search_spaces", configuration.space),
        strategy=plugins.name_of("strategies", named),
        estimator=plugins.name_of("estimators", configuration.estimator),
        data=recorded(configuration.data),
        data_options=configuration.data_options,
        data_fingerprint=images.fingerprint,
        input_shape=images.input_shape,
        num_classes=len(images.classes),
        budget=plan.budget,
        seed=plan.seed,
        device=device,
        objective=objective.metric,
        direction=objective.direction,
        verdict=None if asked is None else asked.metric,
        beside=tuple(Beside(metric=one.metric, direction=one.direction) for one in beside),
        fidelity=plan.fidelity,
        halving=plan.halving if rungs else None,
        screen=None if screen is None else screen.score.name,
        screen_of=None if screen is None else screen.looked_at,
        features=names,
        max_params=limits.max_params,
        max_macs=limits.max_macs,
        max_latency_ms=limits.max_latency_ms,
        final_training="off" if recipe is None else "auto",
        audit=configuration.audit,
        settings=Settings(**settings),
        derived=Derived(
            strategy=dict(strategy.derived()),
            estimator=dict(estimator.recipe),
            run={"finalists": finalists_of(len(objectives)), "fresh_seeds": FRESH_SEEDS},
            scales=dict(known),
            train={} if recipe is None else recipe.document(),
            rungs=rungs,
            ways=ways,
            screen={} if screen is None else dict(screen.score.recipe),
            features={name: dict(scores[name].recipe) for name in names},
        ),
        genotypes=str(space.genome.size),
        versions=versions(),
    )
    return Prepared(
        *(images, task, space, children, estimator, judge, recipe, strategy, plan, record),
        screen=screen,
        untrained=tuple(scores[name] for name in names),
    )


def of_run(
    run: RunRecord,
    *,
    budget: int,
    given: Mapping[str, Any],
    data_dir: str | None = None,
    download: bool = False,
) -> Configuration:
    """The configuration of a run that is to go on.

    Args:
        run: Its ``run.json``.
        budget: Trials to start, in all.
        given: Objects by the name of their field, for what has no name to be found by: a class
            of the user's own, arrays, or data that were moved.
        data_dir: Where published files lie now; None for where they were.
        download: Whether to fetch those that are not there.

    Raises:
        NasError: If a name in the record is unknown and nothing was given (exit code 4).
    """
    parts: dict[str, Any] = {}
    for field_name, kind in _NAMED.items():
        name = getattr(run, field_name)
        parts[field_name] = name if given.get(field_name) is None else given[field_name]
        if field_name == "data" and is_path(parts[field_name]):
            continue
        if isinstance(parts[field_name], str) and parts[field_name] not in plugins.names(kind):
            raise NasError(
                f"run: its {field_name} {name!r} has no name here; install what defines it, or "
                f"hand it over in Python: nas.resume(folder, {field_name}=...)",
                exit_code=4,
            )
    untrained = dict(run.derived.features)
    if run.screen is not None:
        untrained[run.screen] = run.derived.screen
    moved = {"data_dir": run.data_options.data_dir if data_dir is None else data_dir}
    return Configuration(
        **parts,
        data_options=run.data_options.model_copy(update={**moved, "download": download}),
        budget=budget,
        seed=run.seed,
        device=run.device,
        objective=(run.verdict or run.objective, *(one.metric for one in run.beside)),
        fidelity=run.fidelity,
        final_training=run.final_training,
        audit=run.audit,
        max_params=run.max_params,
        max_macs=run.max_macs,
        max_latency_ms=run.max_latency_ms,
        settings=run.settings.model_dump(),
        derived=run.derived.strategy,
        scales=run.derived.scales,
        recipe=run.derived.train,
        halving=run.halving,
        rungs=run.derived.rungs,
        ways=run.derived.ways,
        screen=run.screen,
        screen_of=run.screen_of,
        features=run.features,
        untrained=untrained,
        resolved=_resolved(parts["estimator"], run.derived.estimator),
    )


def _resolved(estimator: str | type[Estimator], recipe: Mapping[str, Any]) -> dict[str, float]:
    """What options that are None by default were resolved to, by a recipe that names them."""
    options = plugins.options(target_of("estimators", estimator))
    return {
        name: recipe[name]
        for name, option in options.items()
        if option.default is None and type(recipe.get(name)) in (int, float)
    }


def resolve_device(device: str) -> str:
    """The torch device that ``auto``, ``cpu``, ``cuda`` or ``mps`` stands for.

    Raises:
        NasError: If the name is another (exit code 2) or there is no such device (5).
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, there in available.items() if there)
    if device not in available:
        raise usage_error(f"--device: {plugins.unknown(device, ['auto', *available])}")
    if not available[device]:
        have = ", ".join(name for name, there in available.items() if there)
        raise NasError(f"--device: {device} is not available here; have {have}", exit_code=5)
    return device


def _final_recipe(
    configuration: Configuration,
    images: ImageData,
    judge: Estimator,
    plan: Plan,
    *,
    cpus: int,
) -> FullRecipe | None:
    """How the winner is trained in the end; None for not at all.

    Raises:
        NasError: If the choice or an option of the recipe cannot be used (exit code 2).
    """
    wanted = (
        FINAL_TRAINING if configuration.final_training is None else configuration.final_training
    )
    if wanted not in {"auto", "off"}:
        raise usage_error(f"--final-training must be auto or off, got {wanted[:40]!r}")
    options = configuration.settings.get("train", {})
    check_recipe_options(options)
    if plan.beside and configuration.final_training == "auto":
        raise usage_error("--final-training must be off with several objectives; leave it out")
    if wanted == "off" or plan.beside:
        if options:
            cause = "--final-training off" if wanted == "off" else "several objectives"
            raise usage_error(f"--set train: there is no final training with {cause}")
        return None
    if configuration.recipe:
        return FullRecipe(**configuration.recipe)
    children = judge.recipe
    if not isinstance(children.get("epochs"), int):  # an estimator that does not train
        training = Training()
        training.prepare(images, Classification(len(images.classes)))
        children = training.recipe
    if options.get("merge_validation"):
        raise usage_error(
            "train.merge_validation must be off: a search compares by validation images; "
            "nas train has no need to"
        )
    trains = plan.asked is None  # the search itself, not only its finalists
    like_children = {
        name: judge.recipe.get(name, usual)
        for name, usual in {"class_weights": "none", **FACTORS_OF_ONE}.items()
    }
    try:
        return final_recipe(
            images,
            child_epochs=int(children["epochs"]),
            child_images=int(children.get("epoch_images", 0)),
            searched=plan.budget * plan.fidelity * cost_share(plan) if trains else 0.0,
            cpus=cpus if plan.device == "cpu" else 1,
            options={**like_children, **options},
        )
    except (TypeError, ValueError) as error:
        raise usage_error(f"train: {error}") from error


def _settings(configuration: Configuration) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {part: {} for part in (*plugins.PARTS.values(), "train")}
    for part, options in configuration.settings.items():
        if part not in settings:
            raise usage_error(f"settings: {plugins.unknown(part, settings)}")
        settings[part] = dict(options)
    try:
        dumps(settings)
    except (TypeError, ValueError) as error:
        raise usage_error(f"settings must hold plain values: {error}") from error
    return settings


def _numbers(configuration: Configuration) -> dict[str, Any]:
    budget, seed, fidelity = configuration.budget, configuration.seed, configuration.fidelity
    if not 0 < fidelity <= 1:
        raise usage_error(f"--fidelity must be in (0, 1], got {fidelity}")
    return {
        "budget": _whole("--budget", budget, least=1),
        "seed": _whole("--seed", seed, least=0),
        "fidelity": float(fidelity),
    }


def _whole(flag: str, value: int, *, least: int) -> int:
    """A whole number that JSON can hold, also from a numpy scalar."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise usage_error(f"{flag} must be a whole number, got {value!r:.80}") from error
    if not least <= number <= MAX_INT:
        limit = f"at least {least}" if number < least else "at most 2**53"
        raise usage_error(f"{flag} must be {limit}, got {number}")
    return number


def _limits(configuration: Configuration) -> Limits:
    params, macs = configuration.max_params, configuration.max_macs
    latency = configuration.max_latency_ms
    try:
        return Limits(
            None if params is None else _whole("--max-params", params, least=1),
            None if macs is None else _whole("--max-macs", macs, least=1),
            None if latency is None else float(latency),
        )
    except ValueError as error:
        raise usage_error(f"limits: {error}") from error


def _names(objective: str | tuple[str, ...]) -> tuple[str, ...]:
    """The objectives by name; one or several may be given."""
    return (objective,) if isinstance(objective, str) else tuple(objective)


def _objectives(task: Task, names: tuple[str, ...]) -> tuple[Objective, ...]:
    """What a user wants, with directions: costs are minimised.

    Raises:
        NasError: If a name is unknown or there twice, the first is no metric of the task, or there
            are too many (exit code 2).
    """
    if not 1 <= len(names) <= MAX_OBJECTIVES:
        raise usage_error(f"--objective must be 1 to {MAX_OBJECTIVES} names, got {len(names)}")
    if len(set(names)) < len(names):
        raise usage_error(f"--objective must name each one once, got {', '.join(names)}")
    for name in names:
        if name == "top5_accuracy" and name not in task.metrics:
            raise usage_error(
                f"--objective: {name} is 1 for all networks with fewer than 6 classes"
            )
        if name not in task.metrics and name not in COSTS:
            raise usage_error(f"--objective: {plugins.unknown(name, [*task.metrics, *COSTS])}")
    if names[0] not in task.metrics:
        raise usage_error(
            f"--objective must begin with a metric of the task ({', '.join(task.metrics)}), got "
            f"{names[0]}; costs come after it, or are limited by --max-{names[0].replace('_', '-')}"
        )
    return tuple(
        Objective(name, "minimize" if name in COSTS else task.metrics[name].direction)
        for name in names
    )


def _rungs(
    configuration: Configuration, estimator: Estimator, *, objectives: int
) -> tuple[float, ...]:
    """The rungs of a run, as an earlier session derived them or for the first time.

    Raises:
        NasError: If halving cannot be (exit code 2).
    """
    if configuration.halving is None:
        return ()
    factor = _whole("--halving", configuration.halving, least=2)
    if estimator.stand_in is not None:
        raise usage_error(
            f"--halving needs an estimator that trains, got {configuration.estimator}; leave it out"
        )
    if objectives > 1:
        raise usage_error(f"--halving ranks by one --objective, got {objectives}; leave one out")
    if configuration.rungs:
        return configuration.rungs
    try:
        return rungs_of(
            factor,
            budget=configuration.budget,
            fidelity=configuration.fidelity,
            recipe=estimator.recipe,
        )
    except ValueError as error:
        raise usage_error(f"--halving {factor} needs {error}") from error


def _untrained(
    configuration: Configuration, images: ImageData, task: Task, children: Children
) -> dict[str, UntrainedScore]:
    """Every score of untrained networks that is asked for, by name, those of a screen included.

    Raises:
        NasError: If one cannot be had (exit code 2).
    """
    screen = configuration.screen
    names = [*configuration.features, *([] if screen is None else [screen])]
    return {
        name: untrained_score(
            name,
            images=images,
            task=task,
            children=children,
            seed=configuration.seed,
            recipe=configuration.untrained.get(name, {}),
        )
        for name in dict.fromkeys(names)
    }


def _looked_at(
    configuration: Configuration, estimator: Estimator, strategy: Any, *, objectives: int
) -> int | None:
    """From how many proposals a screen chooses; None without one.

    Raises:
        NasError: If there cannot be a screen (exit code 2).
    """
    score, most = configuration.screen, configuration.screen_of
    if score is None:
        if most is not None:
            raise usage_error("--screen-of needs --screen")
        return None
    check_score("--screen", score, SCORES, estimator=estimator)
    check_screen(strategy, objectives=objectives)
    return _whole("--screen-of", LOOKED_AT if most is None else most, least=2)


def _check_feasible(children: Children, limits: Limits, seed: int) -> None:
    """Refuse limits that no network of the space keeps.

    Raises:
        NasError: With the nearest values that are feasible (exit code 3), or if the space makes
            networks that do not fit the images (2).
    """
    try:
        nearest = children.nearest_feasible(rng_of(seed, PREFLIGHT))
    except ValueError as error:
        raise usage_error(f"space: {error}") from error
    if limits.excess(nearest.params, nearest.macs) > 1:
        raise NasError(
            "no network of this space is within the limits; the nearest has "
            f"{nearest.params:,} parameters and {nearest.macs:,} MACs: raise the limit to that",
            exit_code=3,
        )
