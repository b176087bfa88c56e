"""Data sets of Python: images of every kind with their labels, or one line with the number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from estimators.data import from_arrays
from estimators.map_style import from_samples
from estimators.sources import read_path

COUNT = 20
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (COUNT, 6, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (COUNT, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(COUNT) % 2
SAMPLES = [(one, int(label)) for one, label in zip(COLOUR, LABELS, strict=True)]

KINDS: dict[str, tuple[np.ndarray, Callable[[np.ndarray], Any]]] = {
    "Pillow, grey": (GREY, Image.fromarray),
    "Pillow, colour": (COLOUR, Image.fromarray),
    "tensor of bytes": (GREY, torch.from_numpy),
    "tensor of floats": (COLOUR, lambda one: torch.from_numpy(one).permute(2, 0, 1) / 255),
    "tensor of doubles": (GREY, lambda one: torch.from_numpy(one)[None].double() / 255),
    "array of bytes": (COLOUR, lambda one: one),
    "array of floats": (GREY, lambda one: one / 255),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrap", [tuple, list, dict])
def test_images_of_every_kind_are_those_of_the_arrays(kind: str, wrap: type) -> None:
    pixels, image_of = KINDS[kind]
    pairs = [(image_of(one), label) for one, label in zip(pixels, LABELS, strict=True)]
    samples = [
        {"image": image, "label": int(label)} if wrap is dict else wrap((image, label))
        for image, label in pairs
    ]
    found, expected = from_samples(samples), from_arrays(pixels, LABELS)
    for one, other in ((found.train, expected.train), (found.test, expected.test)):
        assert torch.allclose(one.images, other.images, atol=1e-6)
        assert one.labels.tolist() == other.labels.tolist()
    assert found.input_shape == expected.input_shape


def test_sets_of_torch_and_torchvision_are_read(tmp_path: Path) -> None:
    images, labels = torch.from_numpy(GREY)[:, None], torch.from_numpy(LABELS)
    whole = from_samples(TensorDataset(images, labels))
    assert whole.fingerprint == from_arrays(GREY, LABELS).fingerprint
    part = from_samples(Subset(TensorDataset(images, labels), range(16)))
    assert part.fingerprint == from_arrays(GREY[:16], LABELS[:16]).fingerprint
    for number, label in enumerate(LABELS):
        (tmp_path / ("cat", "dog")[label]).mkdir(exist_ok=True)
        Image.fromarray(COLOUR[number]).save(tmp_path / ("cat", "dog")[label] / f"{number}.png")
    theirs = from_samples(ImageFolder(str(tmp_path)))
    assert theirs.classes == ("cat", "dog")
    assert theirs.fingerprint == read_path(tmp_path).fingerprint


def test_sets_by_split_stay_and_what_is_missing_is_split_off() -> None:
    samples = [*zip(GREY, LABELS, strict=True)]
    found = from_samples({"train": samples[:10], "val": samples[10:14], "test": samples[14:]})
    assert [len(one) for one in (found.train, found.validation, found.test)] == [10, 4, 6]
    some = from_samples({"test": samples[16:], "train": samples[:16]})
    assert [len(one) for one in (some.train, some.validation, some.test)] == [13, 3, 4]
    twice = from_samples({"train": samples[:14], "val": samples[14:16], "test": samples[:4]})
    assert "such as test: sample 0 in test and train: sample 0 in train" in twice.notice


def test_sizes_become_one_and_grey_joins_colour() -> None:
    samples: list[tuple[Any, int]] = [*zip(COLOUR, LABELS.tolist(), strict=True)]
    samples[3] = (Image.new("L", (30, 20), 255), 1)
    assert from_samples(samples).input_shape == (3, 6, 8)
    assert from_samples(samples, image_size=(5, 4)).input_shape == (3, 5, 4)
    samples[4] = (np.zeros((6, 8, 2), np.uint8), 0)
    refused(samples, "sample 4: must have 3 channels as others have, got 2")


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(GREY[0], 0)])


class Fails(Dataset[Any]):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Any:
        if index == 2:
            raise OSError("the disk\nis gone")
        return GREY[index], 0


def with_second(sample: Any) -> list[Any]:
    return [(GREY[0], 0), sample, *zip(GREY, LABELS, strict=True)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), "data must have a length and samples by number, got Stream; read a stream"),
        (Fails(), "sample 2: cannot be read: OSError: the disk is gone"),
        ([], "there must be images to train on, got none"),
        (with_second(GREY[1]), "sample 1: must be a pair of image and label, or a mapping"),
        (with_second((GREY[1],)), "got tuple of 1"),
        (with_second({"picture": 1}), "got one with picture"),
        (with_second({"image": 1, "img": 2, "label": 3}), "got one with image, img, label"),
        (with_second((GREY[1], "cat")), "sample 1: label must be a whole number from 0 on, got"),
        (with_second((GREY[1], True)), "sample 1: label must be a whole number"),
        (with_second((GREY[1], torch.tensor([1]))), "sample 1: label must be a whole number"),
        (with_second((GREY[1], -1)), "labels must be numbered from 0 on without gaps, got -1"),
        (with_second(("a.png", 1)), "sample 1: image must be Pillow's, a tensor or an array, got"),
        (with_second((COLOUR[1][None], 1)), "sample 1: image must have height and width and 1"),
        (with_second((torch.zeros(6, 8, 3), 1)), "1 to 4 channels, first in a tensor and last in"),
        (with_second((np.zeros((0, 8)), 1)), "sample 1: image must have height and width"),
        (with_second((np.zeros((6, 8), int), 1)), "sample 1: image must be uint8 or floats, got"),
        (with_second((torch.full((1, 6, 8), -0.5), 1)), "from -0.5|got -0.5 to -0.5; leave"),
        (with_second((torch.full((6, 8), float("nan")), 1)), "must lie from 0 to 1, got nan"),
        (with_second((Image.new("F", (8, 6)), 1)), "sample 1: must hold whole numbers, got floats"),
        ({"train": [], "dev": []}, "sets must be named by split"),
        ({"test": []}, "sets must be named by split"),
        ({"train": [], "val": [], "validation": []}, "and validation once, got train, val"),
    ],
)
def test_what_is_no_image_with_a_label_is_refused(data: Any, message: str) -> None:
    refused(data, message)


def refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_samples(data)
    assert "\n" not in str(caught.value)


def no_room(folder: Path, needed: int) -> None:
    raise ValueError(f"{folder}: must have room for {needed}")


def test_a_large_set_is_read_once_into_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = from_samples(SAMPLES)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("estimators.pixel_store.LARGE", 0)
    read: list[int] = []

    class Watched(Dataset[Any]):
        def __len__(self) -> int:
            return len(SAMPLES)

        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return SAMPLES[index]

    large = from_samples(Watched())
    assert read == list(range(len(SAMPLES)))
    assert torch.equal(large.train.images[:], small.train.images[:])
    assert torch.equal(large.test.labels, small.test.labels)
    assert len(list(tmp_path.rglob("*.npy"))) == 1


def test_samples_of_a_large_set_have_one_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("estimators.pixel_store.LARGE", 0)
    odd = [*SAMPLES[:3], (np.zeros((9, 5), np.uint8), 1), *SAMPLES[4:]]
    refused(odd, r"sample 3: must have .* pixels as the first has, got 9x5; --image-size")
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("count", "large", "text"),
    [(10**6, 10**9, "images must fit into"), (10**9, 2**28, "must have room for")],
)
def test_what_there_is_no_room_for_is_refused_after_one_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, large: int, text: str
) -> None:
    read = []

    class Large(Dataset[Any]):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return GREY[0], 0

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("estimators.pixel_store.LARGE", large)
    monkeypatch.setattr("estimators.pixel_store._check_room", no_room)
    monkeypatch.setattr("estimators.memory.free_memory", lambda: 2**20)
    refused(Large(), text)
    assert read == [0]
