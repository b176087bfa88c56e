"""A family's factor is for its own blocks alone, in a short training and in a full one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from estimators.data import ImageData, from_arrays
from estimators.estimator import Checkpoint
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.task import Classification
from estimators.training import Training
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import (
    BasicBlock,
    Classifier,
    ConvNormAct,
    DenseLayer,
    FractalBlock,
    MBConv,
)
from search_spaces.families import families
from search_spaces.modules import build

RATE = 1e-3
GRAPH = lower(
    Architecture(
        title="Child",
        input_shape=(1, 8, 8),
        stem=ConvNormAct(4),
        stages=((MBConv(4),), (BasicBlock(8),), (DenseLayer(4),), (FractalBlock(8, 2),)),
        head=Classifier(2),
    )
)


def images() -> ImageData:
    rng = np.random.default_rng(0)
    return from_arrays(rng.random((40, 8, 8)).astype(np.float32), np.arange(40) % 2)


DATA, TASK = images(), Classification(2)


def short(**factors: float) -> dict[str, Tensor]:
    """Weights after one step of a short training, which is all of it."""
    options: dict[str, Any] = {"epochs": 1, "batch_size": len(DATA.train), "weight_decay": 0.0}
    training = Training(learning_rate=RATE, **options, **factors)
    training.prepare(DATA, TASK)
    found = training.evaluate(GRAPH, fidelity=1.0, seed=0, device="cpu").weights
    assert found is not None
    return dict(found)


def full(**factors: float) -> dict[str, Tensor]:
    """The same of a full training."""
    recipe = FullRecipe(
        epochs=1,
        batch_size=len(DATA.train),
        learning_rate=RATE,
        weight_decay=0.0,
        warmup=0.0,
        clip=0.0,
        average=0.0,
        **factors,
    )
    fit = FullTraining(GRAPH, DATA, TASK, recipe, seed=0, device="cpu")
    list(fit.passes())
    return fit.weights()


# The only step of a short training is one of its decay.
@pytest.mark.parametrize(("train", "rate"), [(short, RATE / 2), (full, RATE)])
@pytest.mark.parametrize("family", ["mbconv", "residual", "dense", "fractal"])
def test_blocks_of_a_family_move_by_its_factor_and_all_others_as_ever(
    train: Callable[..., dict[str, Tensor]], rate: float, family: str
) -> None:
    # The first step of AdamW moves every weight by the rate, whatever its gradient.
    plain, changed = train(), train(**{f"{family}_rate_factor": 3.0})
    of = families(GRAPH)
    parameters = dict(build(GRAPH).named_parameters())
    assert {of.get(name.rpartition(".")[0], "") for name in parameters} == {
        *("", "mbconv", "residual", "dense", "fractal")
    }
    for name in parameters:
        own = of.get(name.rpartition(".")[0]) == family
        difference = (changed[name] - plain[name]).abs().max()
        assert float(difference) == pytest.approx(2 * rate if own else 0.0, rel=0.05), name


def test_factors_of_prefixes_and_of_families_multiply() -> None:
    recipe = FullRecipe(epochs=1, learning_rate=RATE, dense_rate_factor=4.0)
    factors = [("stages.2", 0.5), ("stem", 0.0)]
    fit = FullTraining(GRAPH, DATA, TASK, recipe, seed=0, device="cpu", factors=factors)
    assert {group["factor"] for group in fit._optimizer.param_groups} == {1.0, 2.0}


def test_a_recipe_says_what_a_factor_is_and_nothing_of_factors_of_1() -> None:
    training = Training(dense_rate_factor=2.0)
    training.prepare(DATA, TASK)
    assert {n: training.recipe[n] for n in training.recipe if "factor" in n} == {
        "dense_rate_factor": 2.0
    }
    recipe = FullRecipe(epochs=1, fractal_rate_factor=0.5)
    assert {n: recipe.document()[n] for n in recipe.document() if "factor" in n} == {
        "fractal_rate_factor": 0.5
    }
    assert FullRecipe(**recipe.document()) == recipe


def test_a_checkpoint_of_before_families_had_factors_goes_on() -> None:
    training = Training(epochs=4, batch_size=8)
    training.prepare(DATA, TASK)
    half = training.evaluate(GRAPH, fidelity=0.5, seed=0, device="cpu").checkpoint
    assert half is not None
    groups = [dict(group) for group in half.optimizer["param_groups"]]
    assert all(group.pop("factor") == 1.0 for group in groups)
    old = Checkpoint(half.step, half.weights, {**half.optimizer, "param_groups": groups})
    found, expected = (
        training.evaluate(GRAPH, fidelity=1.0, seed=0, device="cpu", start=start).weights
        for start in (old, half)
    )
    assert found is not None
    assert expected is not None
    assert all(torch.equal(found[name], expected[name]) for name in found)
