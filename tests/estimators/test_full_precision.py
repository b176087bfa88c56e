"""A long training is timed in both precisions, and takes the one that is clearly faster."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from estimators import full_precision
from estimators.estimator import EvaluationError
from estimators.full_precision import in_faster_precision
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.task import Classification
from tests.estimators.test_full_training import DATA, network

TOLD: list[str] = []
LONG = FullRecipe(epochs=3_000, batch_size=16, class_weights="balanced", merge_validation=True)


def chosen(recipe: FullRecipe = LONG, device: str = "cpu") -> FullRecipe:
    return in_faster_precision(
        network(), DATA, Classification(2), recipe, device=device, tell=TOLD.append
    )


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What steps take, by their precision; no step is taken."""
    table = {"float32": 1.0, "bfloat16": 1.0}
    monkeypatch.setattr(full_precision, "_seconds", lambda fit, *_: table[fit._recipe.precision])
    return table


@pytest.mark.parametrize(("takes", "precision"), [(0.5, "bfloat16"), (0.9, "float32")])
def test_bfloat16_is_taken_where_it_is_clearly_faster(
    seconds: dict[str, float], takes: float, precision: str
) -> None:
    seconds["bfloat16"] = takes
    assert chosen() == replace(LONG, precision=precision)


def test_nothing_is_timed_where_it_does_not_pay_or_is_not_asked(
    seconds: dict[str, float],
) -> None:
    seconds["bfloat16"] = 0.1
    for precision in ("float32", "bfloat16"):
        said = replace(LONG, precision=precision)
        assert chosen(said) == said
    TOLD.clear()
    short = replace(LONG, epochs=1_500)
    assert chosen(short) == replace(short, precision="float32")
    assert chosen(device="mps") == replace(LONG, precision="float32")
    assert not TOLD


def test_real_steps_are_timed_in_both_and_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    steps = FullTraining.try_steps

    def watched(fit: FullTraining, *arguments: Any) -> float:
        taken.append(fit._recipe.precision)
        return steps(fit, *arguments)

    monkeypatch.setattr(FullTraining, "try_steps", watched)
    before = torch.random.get_rng_state()
    TOLD.clear()
    assert chosen().precision in ("float32", "bfloat16")
    assert set(taken) == {"float32", "bfloat16"}
    assert len(TOLD) == 1
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_room_for_both_it_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object) -> None:
        raise EvaluationError("no room", cause="oom_device")

    monkeypatch.setattr(FullTraining, "try_steps", too_much)
    assert chosen().precision == "float32"
