"""A large set gives what a small one gives, to the last bit, and is not held as floats."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from estimators.data import ImageData, Split, from_arrays
from estimators.estimator import Evaluation
from estimators.folds import fold
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.lazy_images import LazyImages, batches, joined, resized_images, subset
from estimators.map_style import from_samples
from estimators.normalisation import renormalised
from estimators.pixel_store import PixelStore
from estimators.task import Classification
from estimators.training import Training
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct

RNG = np.random.default_rng(0)
LABELS = np.arange(90) % 2
IMAGES = (
    RNG.integers(0, 128, (90, 8, 8, 3), dtype=np.uint8)
    + (64 * LABELS).astype(np.uint8)[:, None, None, None]
)
TASK = Classification(2)


def both(monkeypatch: pytest.MonkeyPatch, images: np.ndarray = IMAGES) -> list[ImageData]:
    """The same data as a tensor and as lazy images."""
    small = from_arrays(images, LABELS)
    monkeypatch.setattr("estimators.pixel_store.LARGE", 0)
    large = from_arrays(images, LABELS)
    assert isinstance(large.train.images, LazyImages)
    assert isinstance(small.train.images, torch.Tensor)
    return [small, large]


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> list[ImageData]:
    return both(monkeypatch)


def network(channels: int = 3) -> Any:
    stages = ((ConvNormAct(6, stride=2),),)
    return lower(Architecture("Net", (channels, 8, 8), ConvNormAct(4), stages, Classifier(2)))


def test_images_are_the_same_bits(pair: list[ImageData]) -> None:
    small, large = pair
    assert (small.mean, small.std, small.input_shape) == (large.mean, large.std, large.input_shape)
    for one, other in zip(
        (small.train, small.validation, small.test),
        (large.train, large.validation, large.test),
        strict=True,
    ):
        assert torch.equal(one.labels, other.labels)
        assert one.images.shape == other.images.shape
        assert len(one) == len(other.images) == len(other)
        assert torch.equal(one.images[:], other.images[:])
        chosen = torch.tensor([3, 0, 3])
        assert torch.equal(one.images[chosen], other.images[chosen])


def test_grey_images_without_an_axis_of_channels_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = both(monkeypatch, IMAGES[..., 0])
    assert torch.equal(small.train.images[:], large.train.images[:])
    assert large.input_shape == (1, 8, 8)


def test_a_change_of_one_value_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = IMAGES.copy()
    changed[7, 3, 3, 1] += 1
    small, large = both(monkeypatch)
    again, other = from_arrays(IMAGES, LABELS), from_arrays(changed, LABELS)
    assert large.fingerprint == again.fingerprint
    assert len({small.fingerprint, large.fingerprint, other.fingerprint}) == 3


def test_images_in_two_splits_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = IMAGES.copy()
    twice[2::2] = IMAGES[0]
    small, large = both(monkeypatch, twice)
    assert "in another split too" in small.notice
    assert large.notice == small.notice


def test_parts_sizes_and_statistics_change_as_those_of_tensors(pair: list[ImageData]) -> None:
    one, other = (data.validation.images for data in pair)
    mask = torch.arange(len(one)) % 3 == 0
    for chosen in (mask, torch.tensor([5, 1]), slice(2, 9, 3)):
        assert torch.equal(subset(one, chosen)[:], subset(other, chosen)[:])
    trains = [data.train.images for data in pair]
    assert torch.equal(joined(one, trains[0])[:], joined(other, trains[1])[:])
    assert torch.equal(resized_images(one, (5, 4))[:], resized_images(other, (5, 4))[:])
    assert resized_images(other, (5, 4)).shape == (len(one), 3, 5, 4)
    assert [len(each) for each in batches(other, 5)] == [len(each) for each in batches(one, 5)]
    wanted: dict[str, Any] = {"mean": (0.4,), "std": (0.2,)}
    grey = [renormalised(data, channels=1, **wanted).test.images for data in pair]
    assert isinstance(grey[1], LazyImages)
    assert torch.allclose(grey[0][:], grey[1][:], atol=1e-6)


def test_grey_images_are_read_by_a_network_of_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = both(monkeypatch, IMAGES[..., :1])
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    found = [renormalised(data, channels=3, mean=mean, std=std).train.images for data in pair]
    assert found[1].shape == found[0].shape
    assert torch.allclose(found[0][:], found[1][:], atol=1e-6)


def test_batches_lie_as_was_asked(pair: list[ImageData]) -> None:
    there = pair[1].train.images.to("cpu", memory_format=torch.channels_last)
    assert there[:4].is_contiguous(memory_format=torch.channels_last)
    assert there.device.type == "cpu"


@pytest.mark.parametrize("free", [10**6, 10**3])
def test_a_gpu_holds_them_as_8_bits_if_it_has_room(
    pair: list[ImageData], monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    images = pair[1].train.images
    assert isinstance(images, LazyImages)
    expected = images[:]
    images.device = torch.device("cuda")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free, 10**9))
    empty = torch.empty
    monkeypatch.setattr("torch.empty", lambda shape, dtype, **_: empty(shape, dtype=dtype))
    images.move()
    held = images._moved
    assert (held is None) == (free == 10**3)
    if held is not None:
        assert held.dtype == torch.uint8
        images.device = torch.device("cpu")
        assert torch.equal(images[:], expected)
        assert not images.on_disk


def scored(data: ImageData, **options: Any) -> Evaluation:
    training = Training(epochs=2, batch_size=16, **options)
    training.prepare(data, TASK)
    return training.evaluate(network(), fidelity=1.0, seed=1, device="cpu")


@pytest.mark.parametrize("options", [{}, {"folds": 2}, {"layout": "contiguous"}])
def test_a_child_is_trained_to_the_same_weights(
    pair: list[ImageData], options: dict[str, Any]
) -> None:
    one, other = (scored(data, **options) for data in pair)
    assert one.metrics == other.metrics
    assert one.weights is not None
    assert other.weights is not None
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


@pytest.mark.parametrize("full", ["full", ""])
def test_each_step_says_what_the_next_one_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("estimators.pixel_store.LARGE", 0)
    data = from_samples([(one, int(label)) for one, label in zip(IMAGES, LABELS, strict=True)])
    said: list[list[int]] = []
    taken: list[list[int]] = []
    monkeypatch.setattr(PixelStore, "expect", lambda _, rows: said.append(rows.tolist()))
    take = LazyImages._taken

    def watched(images: LazyImages, chosen: Any) -> torch.Tensor:
        if not isinstance(chosen, slice):
            taken.append(images.positions[chosen].tolist())
        return take(images, chosen)

    monkeypatch.setattr(LazyImages, "_taken", watched)
    if full:
        recipe = FullRecipe(epochs=2, batch_size=16, average=0.0)
        fit = FullTraining(network(), data, TASK, recipe, seed=1, device="cpu")
        fit.try_steps(6, time.monotonic)
    else:
        scored(data)
    assert len(taken) >= 6
    assert said[: len(taken) - 1] == taken[1:]


def test_a_full_training_has_the_same_curve(pair: list[ImageData]) -> None:
    recipe = FullRecipe(epochs=2, batch_size=16, merge_validation=True, erasing=0.3)
    one, other = (
        FullTraining(network(), data, TASK, recipe, seed=1, device="cpu") for data in pair
    )
    assert list(one.passes()) == list(other.passes())


def test_folds_take_nothing_into_memory(pair: list[ImageData]) -> None:
    one, other = (fold(data, np.arange(0, 20)) for data in pair)
    assert isinstance(other.train.images, LazyImages)
    assert torch.equal(one.validation.images[:], other.validation.images[:])
    assert torch.equal(one.train.images[:], other.train.images[:])


def test_splits_of_tensors_and_lazy_images_go_together(pair: list[ImageData]) -> None:
    mixed = replace(pair[1], validation=Split(pair[0].validation.images, pair[0].validation.labels))
    whole = joined(mixed.train.images, mixed.validation.images)
    assert torch.equal(whole[:], joined(pair[0].train.images, pair[0].validation.images)[:])
