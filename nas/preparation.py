"""From what a user asks for to everything a run needs, checked before anything starts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from estimators.data import ImageData
from estimators.estimator import STAND_IN, Estimator
from estimators.full_recipe import FullRecipe
from estimators.task import Classification, Metric, Task
from estimators.training import Training
from nas import plugins
from nas.children import Children
from nas.configuration import Configuration
from nas.construction import construct, make_estimator, make_space, prepare_estimator, target_of
from nas.datasets import recorded
from nas.device import check_device, resolve_device
from nas.errors import NasError, usage_error
from nas.final_recipe import final_recipe, most_epochs
from nas.halving import chosen_rungs
from nas.images import images_of
from nas.limits import Limits, Objective
from nas.objectives import objectives_of
from nas.plan import AUTO, FRESH_SEEDS, OFF, PREFLIGHT, Plan, finalists_of, rng_of
from nas.rivals import chosen_references
from nas.run_folder import Beside, Derived, RunRecord, Settings, differences, versions
from nas.scales import cost_scales, scaled, scales
from nas.screening import Screen, proposals_looked_at
from nas.untrained import (
    ScoredChildren,
    UntrainedScore,
    check_features,
    untrained_scores,
)
from nas.ways import settled_ways
from search_spaces.genome import Genome
from search_spaces.space import SearchSpace
from strategies import DEFAULT_OF_SEVERAL, DEFAULT_STRATEGY
from strategies.strategy import Strategy


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
        most_epochs: Of that training, where a limit on time leaves room for more; 0 without one.
        strategy: Fresh.
        plan: What the search is to do.
        run: What ``run.json`` will say.
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
    most_epochs: int
    strategy: Strategy
    plan: Plan
    run: RunRecord
    screen: Screen | None
    untrained: tuple[UntrainedScore, ...]

    def training(self) -> Training:
        """The estimator ``training`` for networks that the run's own one does not train.

        It is the judge, if that is one, or has its default options.
        """
        if isinstance(self.judge, Training):
            return self.judge
        training = Training()
        training.prepare(self.images, self.task)
        training.settle(self.run.derived.ways)
        return training

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
    settings, seed = configuration.checked_settings(), configuration.seed
    configuration = replace(configuration, settings=settings)
    limits, numbers = configuration.limits(), configuration.checked_numbers()
    configuration.check_audit()
    device = _device(configuration, limits, elsewhere=elsewhere)
    images = images_of(configuration.data, configuration.data_options)
    task = Classification(len(images.classes))
    goals = objectives_of(task, configuration.objective_names)
    space = make_space(
        configuration.space, images.input_shape, len(images.classes), settings["space"]
    )
    children = Children(space, limits)
    estimator = make_estimator(
        configuration.estimator, {**configuration.resolved, **settings["estimator"]}
    )
    asked, objectives = _guided(configuration, estimator, goals)
    named = _strategy_of(configuration, objectives=len(objectives))
    making = target_of("strategies", named)
    check_features(
        configuration.features, strategy=making, estimator=estimator, objectives=len(objectives)
    )
    looked_at = proposals_looked_at(configuration, estimator, making, objectives=len(objectives))
    children.check_feasible(rng_of(seed, PREFLIGHT))
    scores = untrained_scores(configuration, images, task, children)
    features = tuple(scores[name] for name in configuration.features)
    strategy = construct(
        Strategy,  # type: ignore[type-abstract]
        making,
        (
            space.genome,
            numbers["budget"],
            tuple(one.direction for one in objectives),
            ScoredChildren(children, features) if features else children,
        ),
        options={**settings["strategy"], **configuration.derived},
        part="strategy",
    )
    known = configuration.scales
    if len(objectives) > 1 and not known:
        costs = cost_scales(
            objectives, space=space, children=children, limits=limits, seed=seed, device=device
        )
        known = {**scales(objectives, images=images, task=task), **costs}
    objective, *beside = scaled(objectives, known) if known else objectives
    prepare_estimator(estimator, images, task, children=children, seed=seed)
    judge = estimator
    if asked is not None:
        judge = Training()
        prepare_estimator(judge, images, task, children=children, seed=seed)
    ways = settled_ways(judge, configuration.ways, children=children, seed=seed, device=device)
    rungs = chosen_rungs(configuration, estimator, objectives=len(objectives))
    plan = Plan(
        objective=objective,
        beside=tuple(beside),
        asked=asked,
        limits=limits,
        device=device,
        halving=0 if configuration.halving is None else int(configuration.halving),
        rungs=rungs,
        **numbers,
    )
    screen = None if looked_at is None else Screen(scores[str(configuration.screen)], looked_at)
    recipe = final_recipe(configuration, images, judge=judge, plan=plan, cpus=cpus)
    longest = 0 if recipe is None else most_epochs(recipe, images, configuration)
    references = chosen_references(configuration, images, limits, trained=recipe is not None)
    plan = replace(plan, references=references)
    derived = Derived(
        strategy=dict(strategy.derived()),
        estimator=dict(estimator.recipe),
        run={"finalists": finalists_of(len(objectives)), "fresh_seeds": FRESH_SEEDS},
        scales=dict(known),
        train={} if recipe is None else recipe.document(),
        rungs=plan.rungs,
        ways=ways,
        screen={} if screen is None else dict(screen.score.recipe),
        features={one.name: dict(one.recipe) for one in features},
    )
    run = _run_record(
        replace(configuration, strategy=named),
        plan,
        images,
        derived=derived,
        screen=screen,
        genome=space.genome,
    )
    return Prepared(
        images=images,
        task=task,
        space=space,
        children=children,
        estimator=estimator,
        judge=judge,
        recipe=recipe,
        most_epochs=longest,
        strategy=strategy,
        plan=plan,
        run=run,
        screen=screen,
        untrained=features,
    )


def reopened(
    folder: Path, run: RunRecord, configuration: Configuration, *, elsewhere: bool
) -> Prepared:
    """All that a run needs that was begun before.

    Args:
        folder: Its folder.
        run: Its ``run.json``.
        configuration: What it says, from ``of_run``.
        elsewhere: As for ``prepare``.

    Raises:
        NasError: As ``prepare``, and if the configuration is another one now (exit code 4).
    """
    prepared = prepare(configuration, elsewhere=elsewhere)
    unequal = differences(run, prepared.run)
    if unequal:
        raise NasError(
            f"run: {folder} was begun with another configuration: {'; '.join(unequal)}",
            exit_code=4,
        )
    return prepared


def _run_record(
    configuration: Configuration,
    plan: Plan,
    images: ImageData,
    *,
    derived: Derived,
    screen: Screen | None,
    genome: Genome,
) -> RunRecord:
    """What ``run.json`` says of a run, by a configuration in which nothing is left open."""
    objective, strategy = plan.objective, configuration.strategy
    assert strategy is not None  # noqa: S101 - the caller has named it
    return RunRecord(
        space=plugins.name_of("search_spaces", configuration.space),
        strategy=plugins.name_of("strategies", strategy),
        estimator=plugins.name_of("estimators", configuration.estimator),
        data=recorded(configuration.data),
        data_options=configuration.data_options,
        data_fingerprint=images.fingerprint,
        input_shape=images.input_shape,
        num_classes=len(images.classes),
        budget=plan.budget,
        seed=plan.seed,
        device=plan.device,
        objective=objective.metric,
        direction=objective.direction,
        verdict=None if plan.asked is None else plan.asked.metric,
        beside=tuple(Beside(metric=one.metric, direction=one.direction) for one in plan.beside),
        fidelity=plan.fidelity,
        halving=plan.halving if plan.rungs else None,
        screen=None if screen is None else screen.score.name,
        screen_of=None if screen is None else screen.looked_at,
        features=configuration.features,
        max_params=plan.limits.max_params,
        max_macs=plan.limits.max_macs,
        max_latency_ms=plan.limits.max_latency_ms,
        final_training=AUTO if derived.train else OFF,
        references=plan.references,
        audit=configuration.audit,
        settings=Settings(**{part: dict(given) for part, given in configuration.settings.items()}),
        derived=derived,
        genotypes=str(genome.size),
        versions=versions(),
    )


def _device(configuration: Configuration, limits: Limits, *, elsewhere: bool) -> str:
    """The device of the run: one of this machine, unless others train and nothing is timed here.

    Raises:
        NasError: If there is no such device (exit code 2 or 5).
    """
    device = configuration.device
    check_device(device)
    timed = limits.max_latency_ms is not None or "latency_ms" in configuration.objective_names
    if elsewhere and device not in {"auto", "cpu"} and not timed:
        return device
    return resolve_device(device)


def _guided(
    configuration: Configuration, estimator: Estimator, goals: tuple[Objective, ...]
) -> tuple[Objective | None, tuple[Objective, ...]]:
    """What the user asks for if the estimator has a score that stands in for it; what guides.

    Raises:
        NasError: If one score is to stand in for several objectives (exit code 2).
    """
    if estimator.stand_in is None:
        return None, goals
    if len(goals) > 1:
        raise usage_error(
            f"--objective must be one with --estimator {configuration.estimator}, whose score "
            f"stands in for it, got {len(goals)}"
        )
    return goals[0], (Objective(STAND_IN, estimator.stand_in.direction),)


def _strategy_of(configuration: Configuration, *, objectives: int) -> str | type[Strategy]:
    """The strategy that is asked for, or the usual one."""
    if configuration.strategy is not None:
        return configuration.strategy
    return DEFAULT_STRATEGY if objectives == 1 else DEFAULT_OF_SEVERAL
