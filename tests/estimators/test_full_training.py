"""Full training: the same curve in one piece or several, averaged weights, parts that stay."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from estimators.augmentation import Augmentation
from estimators.data import ImageData, Split, from_arrays
from estimators.estimator import EvaluationError
from estimators.full_recipe import FullRecipe, default_recipe
from estimators.full_training import FullTraining
from estimators.scoring import measure
from estimators.snapshot import Snapshot
from estimators.task import Classification
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.graph import Graph
from search_spaces.modules import build

EVERYTHING: dict[str, Any] = {
    "flip": True,
    "trivial": True,
    "erasing": 0.5,
    "mixup": 0.2,
    "cutmix": 1.0,
    "stochastic_depth": 0.3,
    "average": 0.5,
}


def network(*, dropout: float = 0.2) -> Graph:
    return lower(
        Architecture(
            title="Child",
            input_shape=(1, 8, 8),
            stem=ConvNormAct(4),
            stages=((MBConv(4, expansion=2), MBConv(8, stride=2, expansion=2)),),
            head=Classifier(2, dropout=dropout),
        )
    )


def data() -> ImageData:
    """Noise, brighter on the left for one class."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.random((120, 8, 8)) / 2
    images[labels == 1, :, :4] += 0.4
    return from_arrays(images.astype(np.float32), labels)


DATA = data()


def training(recipe: FullRecipe | None = None, **changes: Any) -> FullTraining:
    plain = FullRecipe(epochs=4, batch_size=16)
    arguments: dict[str, Any] = {"seed": 3, "device": "cpu", **changes}
    recipe = plain if recipe is None else recipe
    return FullTraining(network(), DATA, Classification(2), recipe, **arguments)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_that_goes_on_is_that_of_a_single_piece(optimizer: Any) -> None:
    recipe = FullRecipe(epochs=4, batch_size=16, optimizer=optimizer, **EVERYTHING)
    whole = training(recipe)
    list(whole.passes())
    first = training(recipe)
    passes = first.passes()
    next(passes)
    next(passes)
    data = first.snapshot().to_bytes(of="this")
    second = training(recipe)
    second.restore(Snapshot.from_bytes(data, of="this"))
    list(second.passes())
    assert second.curve == whole.curve
    assert len(whole.curve) == 4
    assert equal(second.weights(), whole.weights())


def test_the_seed_decides_and_another_one_decides_otherwise() -> None:
    one, same, other = (training(seed=seed) for seed in (3, 3, 4))
    for each in (one, same, other):
        list(each.passes())
    assert equal(one.weights(), same.weights())
    assert one.curve != other.curve


def test_the_caller_keeps_its_random_numbers_and_threads() -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    list(training().passes())
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_bfloat16_trains_otherwise_and_weights_and_scores_stay_float32() -> None:
    plain, mixed = (
        training(FullRecipe(epochs=2, batch_size=16, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert all(list(fit.passes()) for fit in (plain, mixed))
    assert plain.weights().keys() == mixed.weights().keys()
    kept = [one for one in mixed.weights().values() if one.is_floating_point()]
    assert {one.dtype for one in kept} == {torch.float32}
    for one, other in zip(plain.curve, mixed.curve, strict=True):
        assert one.loss != other.loss
        assert one.loss == pytest.approx(other.loss, rel=0.02)


def test_a_precision_that_nobody_timed_is_float32() -> None:
    one, other = (training(FullRecipe(epochs=1, precision=each)) for each in ("auto", "float32"))
    assert list(one.passes()) == list(other.passes())


@pytest.mark.slow  # threads that wait here spin, which takes long where others work
def test_with_two_threads_it_goes_on_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = FullRecipe(epochs=2, batch_size=32, threads=2)
    seen, augment = [], Augmentation.__call__

    def watched(self: Augmentation, images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(torch.get_num_threads())
        return augment(self, images, generator)

    monkeypatch.setattr(Augmentation, "__call__", watched)
    whole, first, second = (training(recipe) for _ in range(3))
    list(whole.passes())
    next(first.passes())
    second.restore(Snapshot.from_bytes(first.snapshot().to_bytes(of="this"), of="this"))
    list(second.passes())
    assert second.curve == whole.curve
    assert equal(second.weights(), whole.weights())
    assert set(seen) == {2}


def test_the_pace_of_a_pass_is_that_of_its_steps_and_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit = training(FullRecipe(epochs=1, batch_size=16))
    now = [0.0]

    def step(number: int) -> float:
        assert number < fit._batches
        now[0] += 2.0 if now[0] else 30.0  # the first one takes longer
        return 0.0

    monkeypatch.setattr(fit, "_step", step)
    monkeypatch.setattr("estimators.full_training.time.monotonic", lambda: now[0])
    assert fit.seconds_per_pass() == 2.0 * fit._batches


def test_without_options_no_more_images_are_seen_than_a_laptop_can_take() -> None:
    def epochs(count: int) -> int:
        images = torch.zeros(1, 1, 2, 2).expand(count, 1, 2, 2)
        train = Split(images, torch.zeros(count, dtype=torch.int64))
        return default_recipe(replace(DATA, train=train)).epochs

    assert [epochs(count) for count in (30_000, 51_000, 3_000_000)] == [100, 58, 10]


def test_a_machine_of_many_cpus_takes_as_many_threads_as_a_recipe_may_have() -> None:
    images = torch.zeros(1, 1, 64, 64).expand(64, 1, 64, 64)
    train = Split(images, torch.zeros(64, dtype=torch.int64))
    assert default_recipe(replace(DATA, train=train), cpus=1000).threads == 256


def test_it_learns_and_its_weights_are_those_that_were_scored() -> None:
    fit = training(FullRecipe(epochs=12, batch_size=16, shift=0.0))
    last = list(fit.passes())[-1]
    graph = network()
    model = build(graph)
    model.load_state_dict(fit.weights())
    found = measure(model, DATA.validation, Classification(2), graph=graph, device="cpu")
    assert found == pytest.approx(last.validation, abs=1e-6)
    assert last.validation["accuracy"] > 0.9


def test_averaged_weights_lag_behind_and_have_statistics_of_their_own() -> None:
    fit = training(FullRecipe(epochs=3, batch_size=16, average=0.9))
    list(fit.passes())
    last, averaged = fit._model.state_dict(), fit.weights()
    name = next(name for name in averaged if name.endswith("running_mean"))
    weight = name.replace("running_mean", "weight")
    assert not torch.equal(last[weight], averaged[weight])
    batches = torch.cat([fit._images[fit._order(number)] for number in range(fit._batches)])
    model = build(network())
    model.load_state_dict(averaged)
    seen = model.get_submodule("stem.conv")(batches)
    first = next(name for name in averaged if name.startswith("stem") and "running_mean" in name)
    assert torch.allclose(averaged[first], seen.mean(dim=(0, 2, 3)), atol=1e-5)


def test_without_averaging_the_last_weights_are_the_result() -> None:
    fit = training(FullRecipe(epochs=2, batch_size=16, average=0.0))
    list(fit.passes())
    weights = fit.weights()
    assert all(torch.equal(weights[name], one) for name, one in fit._model.named_parameters())


def test_frozen_parts_stay_as_they_are_with_their_statistics() -> None:
    torch.manual_seed(0)
    initial = build(network()).state_dict()
    fit = training(initial=initial, factors=[("stem", 0.0), ("stages", 0.1)])
    list(fit.passes())
    after = fit.weights()
    stem = [name for name in after if name.startswith("stem")]
    assert stem
    assert all(torch.equal(after[name], initial[name]) for name in stem)
    moved = [name for name in after if not name.startswith("stem") and name.endswith("weight")]
    assert all(not torch.equal(after[name], initial[name]) for name in moved)


def test_a_factor_multiplies_the_rate_of_what_it_names() -> None:
    fit = training(factors=[("head", 0.5)])
    next(fit.passes())
    rates = {group["factor"]: group["lr"] for group in fit._optimizer.param_groups}
    assert rates[0.5] == pytest.approx(rates[1.0] / 2)
    assert fit.curve[0].learning_rate == pytest.approx(rates[1.0])


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([("ste", 0.0)], "factors must be of parameters of the network, got 'ste'"),
        ([("stem", -1.0)], "factor of stem must be at least 0"),
        ([("stem", 0.0), ("stem", 1.0)], "factors must name each prefix once"),
        ([("stem", 0.0), ("stages", 0.0), ("head", 0.0)], "must leave a parameter to train"),
    ],
)
def test_factors_that_cannot_be_are_refused(factors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training(factors=factors)


def test_a_rate_rises_and_falls_along_a_cosine_to_almost_zero() -> None:
    fit = training(FullRecipe(epochs=10, batch_size=16, warmup=0.2))
    steps = 10 * fit._batches
    factors = [fit._factor(number) for number in range(steps)]
    rise = round(0.2 * steps)
    assert factors[0] == pytest.approx(1 / rise)
    assert factors[rise - 1] == factors[rise] == 1
    assert factors[rise:] == sorted(factors[rise:], reverse=True)
    assert factors[-1] < 0.01


def test_training_stops_when_validation_has_not_become_better() -> None:
    recipe = FullRecipe(epochs=50, batch_size=16, patience=2, learning_rate=1e-9, average=0.0)
    fit = training(recipe)
    list(fit.passes())
    assert len(fit.curve) < 50
    assert fit.done
    losses = [line.validation["log_loss"] for line in fit.curve]
    assert min(losses[-2:]) >= min(losses[:-2])


def test_validation_images_can_be_trained_on_and_are_not_scored_then() -> None:
    fit = training(FullRecipe(epochs=1, batch_size=16, merge_validation=True))
    list(fit.passes())
    assert len(fit._labels) == len(DATA.train) + len(DATA.validation)
    assert fit.curve[0].validation == {}
    with pytest.raises(ValueError, match="merge_validation must be off with patience"):
        FullRecipe(epochs=1, merge_validation=True, patience=1)


def test_batches_that_do_not_fit_the_device_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = training(FullRecipe(epochs=1, batch_size=16))
    forward, sizes = fit._model.forward, list[int]()

    def limited(images: Tensor) -> Any:
        sizes.append(len(images))
        if fit._model.training and len(images) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return forward(images)

    monkeypatch.setattr(fit._model, "forward", limited)
    monkeypatch.setattr(FullTraining, "validate", lambda self: {})
    next(fit.passes())
    assert sizes[:3] == [16, 8, 4]
    assert fit.snapshot().parts == 4


def test_a_device_without_room_for_the_averaged_network_has_a_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: FullTraining) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(FullTraining, "_averaged", full)
    for answer in (training().validate, training().weights):
        with pytest.raises(EvaluationError, match="no room") as caught:
            answer()
        assert caught.value.cause == "oom_device"


def test_a_diverging_training_is_told() -> None:
    fit = training()
    with torch.no_grad():
        next(fit._model.parameters()).fill_(float("nan"))
    with pytest.raises(EvaluationError, match="the loss became nan in epoch 1"):
        next(fit.passes())


def test_a_snapshot_of_something_else_is_refused() -> None:
    fit = training()
    next(fit.passes())
    held = fit.snapshot()
    with pytest.raises(ValueError, match="of another"):
        Snapshot.from_bytes(held.to_bytes(of="this"), of="that")
    for bad in (b"", held.to_bytes(of="this")[:-9], b"\x08\0\0\0\0\0\0\0{}      "):
        with pytest.raises(ValueError, match="damaged"):
            Snapshot.from_bytes(bad, of="this")
    fewer = {name: one for name, one in held.tensors.items() if "head" not in name}
    with pytest.raises(ValueError, match="must be of this network"):
        training().restore(replace(held, tensors=fewer))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be from 1"),
        ({"learning_rate": 0.0}, "learning_rate must be from 1e-09 to 10, got 0.0"),
        ({"label_smoothing": float("nan")}, "label_smoothing must be from 0 to 0.99, got nan"),
        ({"optimizer": "adam"}, "optimizer must be adamw or sgd, got 'adam'"),
    ],
)
def test_recipes_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FullRecipe(**{"epochs": 1, **changes})


def test_only_published_photographs_are_mirrored() -> None:
    assert not default_recipe(DATA).flip
    assert default_recipe(replace(DATA, name="fashion-mnist")).flip
    assert not default_recipe(replace(DATA, name="mnist")).flip


def test_a_network_for_other_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"network must return \(3,\), got \(2,\)"):
        FullTraining(network(), DATA, Classification(3), FullRecipe(epochs=1), seed=0, device="cpu")
