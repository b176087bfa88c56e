"""Images in two splits are found, and only those."""

import io
import re
import time

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from estimators.duplicates import duplicates

PARTS = (np.arange(60), np.arange(60, 80), np.arange(80, 100))
ONE = np.zeros(100, dtype=np.int64)  # class


def noise(count: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, 12, 12), dtype=np.float32)


def test_different_images_are_no_news() -> None:
    assert duplicates(noise(), ONE, PARTS) == ""


def test_equal_images_are_news_across_splits_only() -> None:
    pixels = noise()
    pixels[3] = pixels[4]
    pixels[85] = pixels[86]
    assert duplicates(pixels, ONE, PARTS) == ""
    pixels[90] = pixels[3]
    pixels[70] = pixels[91]
    assert duplicates(pixels, ONE, PARTS) == (
        "2 of 40 validation and test images are in another split too and 0 nearly so, such as "
        "image 90 in test and image 3 in train"
    )


def test_nearly_equal_images_are_told_by_their_titles() -> None:
    pixels = noise()
    pixels[65] = np.clip(pixels[7] * 0.99, 0, 1)
    found = duplicates(pixels, ONE, PARTS, [f"{at}.png" for at in range(100)])
    assert "0 of 40" in found
    assert "1 nearly so, such as 65.png in validation and 7.png in train" in found
    pixels[65] = pixels[7] * 0.5  # the same coarse hash, and another image
    assert duplicates(pixels, ONE, PARTS) == ""


def test_many_images_take_seconds() -> None:
    pixels = np.zeros((6_000, 1, 28, 28), dtype=np.float32)  # the worst case: all alike
    pixels[:, 0, 0, 0] = np.arange(6_000) / 6_000
    parts = (np.arange(4_000), np.arange(4_000, 5_000), np.arange(5_000, 6_000))
    begin = time.process_time()
    assert "2,000 nearly so" in duplicates(pixels, np.zeros(6_000, dtype=np.int64), parts)
    assert time.process_time() - begin < 3


def test_images_that_were_compressed_again_are_found() -> None:
    crops = photographs(40)
    again = np.stack([compressed(one, quality=90) for one in crops])
    pixels = (np.concatenate([crops, again]).transpose(0, 3, 1, 2) / 255).astype(np.float32)
    parts = (np.arange(40), np.arange(40, 60), np.arange(60, 80))
    found = duplicates(pixels, np.zeros(80, dtype=np.int64), parts)
    told = re.fullmatch(r"(\d+) of 40 .* and (\d+) nearly so, such as .*", found)
    assert told is not None
    assert int(told[1]) + int(told[2]) >= 34


def photographs(count: int) -> np.ndarray:
    """Cuts of 96x96 pixels from two photographs, ``(count, 96, 96, 3)``."""
    rng, whole = np.random.default_rng(0), load_sample_images().images
    places = rng.integers((0, 0), (330, 540), size=(count, 2))
    return np.stack(
        [whole[at % 2][y : y + 96, x : x + 96] for at, (y, x) in enumerate(places.tolist())]
    )


def compressed(image: np.ndarray, *, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_equal_images_of_two_classes_are_told_wherever_they_are() -> None:
    pixels, targets = noise(), np.arange(100) % 2
    pixels[8] = pixels[3]  # of another class
    pixels[10] = pixels[4]
    told = "images with an equal one of another class: 1, such as image 8 in train and image 3 in"
    assert duplicates(pixels, targets, PARTS) == f"{told} train"
    pixels[61] = pixels[4]
    found = duplicates(pixels, targets, PARTS, [f"{at}.png" for at in range(100)])
    assert found.startswith("1 of 40 validation and test images")
    assert "; images with an equal one of another class: 2, such as " in found
