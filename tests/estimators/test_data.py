"""Arrays become stratified, normalised splits, or one clear line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.data import ImageData, digits, from_arrays


def arrays(
    counts: tuple[int, ...] = (30, 40), shape: tuple[int, ...] = (8, 8), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random uint8 images, and shuffled labels with so many of each class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8), labels


def splits(data: ImageData) -> dict[str, torch.Tensor]:
    return {name: getattr(data, name).images for name in ("train", "validation", "test")}


def test_shapes_and_types_are_those_of_training() -> None:
    data = from_arrays(*arrays(shape=(8, 6, 3)))
    assert data.input_shape == (3, 8, 6)
    assert data.classes == ("0", "1")
    assert {name: tuple(images.shape) for name, images in splits(data).items()} == {
        "train": (48, 3, 8, 6),
        "validation": (11, 3, 8, 6),
        "test": (11, 3, 8, 6),
    }
    for split in (data.train, data.validation, data.test):
        assert split.images.dtype == torch.float32
        assert split.labels.dtype == torch.int64


def test_images_without_channels_get_one() -> None:
    images, labels = arrays()
    flat = from_arrays(images, labels)
    deep = from_arrays(images[..., np.newaxis], labels)
    assert flat.input_shape == (1, 8, 8)
    assert flat.fingerprint == deep.fingerprint


def test_bytes_and_the_floats_they_stand_for_are_the_same_data() -> None:
    images, labels = arrays()
    from_floats = from_arrays(images.astype(np.float32) / 255, labels.tolist())
    assert from_floats.fingerprint == from_arrays(images, labels).fingerprint


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_of_any_whole_type_are_the_same_labels(kind: type) -> None:
    images, labels = arrays()
    assert (
        from_arrays(images, labels.astype(kind)).fingerprint
        == from_arrays(images, labels).fingerprint
    )


def test_every_image_is_in_one_split_with_its_label() -> None:
    images, labels = arrays((40, 30, 20))
    images[:, 0, 0] = np.arange(90)  # its number is written into each image
    data = from_arrays(images, labels)
    seen = {}
    for split in (data.train, data.validation, data.test):
        number = split.images[:, 0, 0, 0] * data.std[0] + data.mean[0]
        for at, label in zip(np.rint(number.numpy() * 255).astype(int), split.labels, strict=True):
            assert at not in seen
            seen[at] = int(label)
    assert seen == dict(enumerate(labels.tolist()))


@settings(max_examples=40)
@given(st.lists(st.integers(7, 60), min_size=2, max_size=12), st.integers(0, 99))
def test_every_class_is_in_every_split(counts: list[int], seed: int) -> None:
    data = from_arrays(*arrays(tuple(counts), (1, 1), seed))
    for split in (data.train, data.validation, data.test):
        found = torch.bincount(split.labels, minlength=len(counts)).tolist()
        assert min(found) >= 1
        share = len(split) / sum(counts)
        for here, count in zip(found, counts, strict=True):
            assert abs(here - share * count) < 2


def test_the_split_is_the_same_every_time() -> None:
    first, second = (from_arrays(*arrays()) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    for name, images in splits(first).items():
        assert torch.equal(images, splits(second)[name])


def test_normalisation_comes_from_the_training_images_alone() -> None:
    images, labels = arrays(shape=(8, 8, 2))
    data = from_arrays(images, labels)
    means, stds = data.train.images.double().mean((0, 2, 3)), data.train.images.double().std()
    assert torch.allclose(means, torch.zeros(2, dtype=torch.float64), atol=1e-6)
    assert abs(float(stds) - 1) < 1e-3
    assert not torch.allclose(data.test.images.mean((0, 2, 3)), torch.zeros(2), atol=1e-6)
    # Other test images change nothing of the training images.
    number = next(
        at
        for at in range(len(images))
        if (from_arrays(_with_black(images, at), labels).mean) == data.mean
    )
    other = from_arrays(_with_black(images, number), labels)
    assert torch.equal(other.train.images, data.train.images)
    assert other.fingerprint != data.fingerprint


def _with_black(images: np.ndarray, at: int) -> np.ndarray:
    changed = images.copy()
    changed[at] = 0
    return changed


def test_a_channel_that_is_the_same_everywhere_stays_finite() -> None:
    images, labels = arrays(shape=(8, 8, 2))
    images[..., 1] = 7
    data = from_arrays(images, labels)
    assert all(bool(torch.isfinite(found).all()) for found in splits(data).values())


@pytest.mark.parametrize("at", [0, 17, 69])
def test_any_pixel_changes_the_fingerprint(at: int) -> None:
    images, labels = arrays()
    changed = images.copy()
    changed[at, 3, 5] ^= 1
    assert from_arrays(changed, labels).fingerprint != from_arrays(images, labels).fingerprint


def test_two_swapped_labels_change_the_fingerprint() -> None:
    images, labels = arrays()
    changed = labels.copy()
    first, second = int(np.flatnonzero(labels == 0)[0]), int(np.flatnonzero(labels == 1)[0])
    changed[first], changed[second] = 1, 0
    assert from_arrays(images, changed).fingerprint != from_arrays(images, labels).fingerprint


def test_the_same_bytes_in_another_shape_are_other_data() -> None:
    images, labels = arrays()
    wide = images.reshape(-1, 4, 16)
    assert from_arrays(wide, labels).fingerprint != from_arrays(images, labels).fingerprint


IMAGES, LABELS = arrays()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], LABELS, "images must have shape"),
        (IMAGES[..., np.newaxis, np.newaxis], LABELS, "images must have shape"),
        (np.zeros((70, 3, 8, 8), np.uint8), LABELS, "with 1 to 4 channels, got \\(70, 3, 8, 8\\)"),
        (IMAGES[:0], LABELS[:0], "images must have shape"),
        (IMAGES[:, :0], LABELS, "images must have shape"),
        (IMAGES.astype(np.int64), LABELS, "images must be uint8 or floats, got int64"),
        (
            IMAGES.astype(np.float32),
            LABELS,
            "must lie from 0 to 1, got values from",
        ),
        (IMAGES / -255.0, LABELS, "must lie from 0 to 1"),
        (np.full(IMAGES.shape, np.nan), LABELS, "must be finite, got NaN or infinity in image 0"),
        (np.full(IMAGES.shape, np.inf), LABELS, "must be finite, got NaN or infinity in image 0"),
        (IMAGES, LABELS[:-1], "labels must have shape \\(70,\\), got \\(69,\\)"),
        (IMAGES, np.eye(2)[LABELS], "labels must have shape \\(70,\\), got \\(70, 2\\)"),
        (IMAGES, LABELS.astype(float), "labels must be whole numbers, got float64"),
        (IMAGES, LABELS.astype(bool), "labels must be whole numbers, got bool"),
        (IMAGES, LABELS.astype(str), "labels must be whole numbers"),
        (IMAGES, LABELS - 1, "labels must be numbered from 0 on without gaps, got -1"),
        (IMAGES, LABELS * 10**12, "labels must be numbered from 0 on without gaps"),
        (IMAGES, LABELS * 2, "at least 7 images, got 0 of 1"),
        (IMAGES, LABELS * 0, "labels must name 2 classes, got 1"),
        (IMAGES[:5], np.zeros(5, int), "labels must name 2 classes, got 1"),
        (*arrays((6, 64)), "every class must have at least 7 images, got 6 of 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_arrays(images, labels)
    assert "\n" not in str(caught.value)


def test_seven_images_of_a_class_are_enough() -> None:
    assert len(from_arrays(*arrays((7, 7))).test) == 3


def test_names_of_classes_must_be_as_many_as_classes() -> None:
    assert from_arrays(IMAGES, LABELS, classes=["cat", "dog"]).classes == ("cat", "dog")
    with pytest.raises(ValueError, match="labels must name 3 classes, got 2"):
        from_arrays(IMAGES, LABELS, classes=["cat", "dog", "cow"])


def test_digits_are_what_the_documentation_says() -> None:
    data = digits()
    sizes = {name: len(images) for name, images in splits(data).items()}
    assert sizes == {"train": 1257, "validation": 270, "test": 270}
    assert data.input_shape == (1, 8, 8)
    assert len(data.classes) == 10
    assert data.name == "digits"
