"""How the winner of a search is trained in the end, if at all."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from estimators.data import ImageData
from estimators.estimator import Estimator
from estimators.full_recipe import FullRecipe, default_recipe
from estimators.parameter_groups import FACTORS_OF_ONE
from estimators.task import Classification
from estimators.training import Training
from nas.configuration import Configuration
from nas.construction import check_recipe_options
from nas.errors import usage_error
from nas.halving import cost_share
from nas.plan import AUTO, OFF, Plan

USUAL = AUTO  # --final-training, unless the user says otherwise
TIMES = 10  # passes over the images for each epoch of a child, at least
MOST_IMAGES = 1_000_000  # that these see in all
SHARE = 0.25  # of all images that the search's children see, at least


def final_recipe(
    configuration: Configuration,
    images: ImageData,
    *,
    judge: Estimator,
    plan: Plan,
    cpus: int,
) -> FullRecipe | None:
    """How the winner is trained in the end; None for not at all.

    Args:
        configuration: What the user asks for, and what an earlier session derived.
        images: The data.
        judge: Trains the finalists; prepared.
        plan: Of the search.
        cpus: That the training may use, unless an earlier session or the user has said so.

    Raises:
        NasError: If the choice or an option of the recipe cannot be used (exit code 2).
    """
    wanted = USUAL if configuration.final_training is None else configuration.final_training
    if wanted not in {AUTO, OFF}:
        raise usage_error(f"--final-training must be auto or off, got {wanted[:40]!r}")
    options = configuration.settings.get("train", {})
    check_recipe_options(options)
    if plan.beside and configuration.final_training == AUTO:
        raise usage_error("--final-training must be off with several objectives; leave it out")
    if wanted == OFF or plan.beside:
        if options:
            cause = "--final-training off" if wanted == OFF else "several objectives"
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
        return recipe_after(
            images,
            child_epochs=int(children["epochs"]),
            child_images=int(children.get("epoch_images", 0)),
            searched=plan.budget * plan.fidelity * cost_share(plan) if trains else 0.0,
            cpus=cpus if plan.device == "cpu" else 1,
            options={**like_children, **options},
        )
    except (TypeError, ValueError) as error:
        raise usage_error(f"train: {error}") from error


def most_epochs(recipe: FullRecipe, images: ImageData, configuration: Configuration) -> int:
    """Epochs of a final training where a limit on time leaves room for them.

    Those of ``nas train`` where they are more than the recipe's; not if the user has said how many,
    or wants an audit, which needs the time.

    Args:
        recipe: How the winner is trained without such a limit.
        images: The data.
        configuration: What the user asks for.
    """
    if "epochs" in configuration.settings.get("train", {}) or configuration.audit is not None:
        return recipe.epochs
    return max(recipe.epochs, default_recipe(images).epochs)


def recipe_after(
    images: ImageData,
    *,
    child_epochs: int,
    child_images: int,
    searched: float,
    cpus: int = 1,
    options: Mapping[str, Any],
) -> FullRecipe:
    """How the winner is trained: as long as ``SHARE`` of the search, or ``TIMES`` a child.

    The latter is no more than ``MOST_IMAGES`` see, but a pass over all images at least.

    Args:
        images: The data.
        child_epochs: Epochs of a child at fidelity 1.
        child_images: Training images that each of them sees; 0 for all.
        searched: Children that the search trains, in units of such a one.
        cpus: That may compute.
        options: Fields of the recipe that the user set.

    Raises:
        ValueError: If one is out of range.
    """
    number = len(images.train)
    part = child_images / number if child_images else 1.0
    long = min(TIMES * child_epochs, max(1, MOST_IMAGES // number))
    epochs = max(long, math.ceil(SHARE * searched * child_epochs * part))
    return replace(default_recipe(images, epochs=epochs, cpus=cpus), **options)
