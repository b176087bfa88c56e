"""Images in two splits are found, and only those."""

import time

import numpy as np

from estimators.duplicates import duplicates

PARTS = (np.arange(60), np.arange(60, 80), np.arange(80, 100))


def noise(count: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, 12, 12), dtype=np.float32)


def test_different_images_are_no_news() -> None:
    assert duplicates(noise(), PARTS) == ""


def test_equal_images_are_news_across_splits_only() -> None:
    pixels = noise()
    pixels[3] = pixels[4]
    pixels[85] = pixels[86]
    assert duplicates(pixels, PARTS) == ""
    pixels[90] = pixels[3]
    pixels[70] = pixels[91]
    assert duplicates(pixels, PARTS) == (
        "2 of 40 validation and test images are in another split too and 0 nearly so, such as "
        "image 90 in test and image 3 in train"
    )


def test_nearly_equal_images_are_told_by_their_titles() -> None:
    pixels = noise()
    pixels[65] = np.clip(pixels[7] * 0.99, 0, 1)
    found = duplicates(pixels, PARTS, [f"{at}.png" for at in range(100)])
    assert "0 of 40" in found
    assert "1 nearly so, such as 65.png in validation and 7.png in train" in found
    pixels[65] = pixels[7] * 0.5  # the same coarse hash, and another image
    assert duplicates(pixels, PARTS) == ""


def test_many_images_take_seconds() -> None:
    pixels = np.zeros((6_000, 1, 28, 28), dtype=np.float32)  # the worst case: all alike
    pixels[:, 0, 0, 0] = np.arange(6_000) / 6_000
    parts = (np.arange(4_000), np.arange(4_000, 5_000), np.arange(5_000, 6_000))
    begin = time.process_time()
    assert "2,000 nearly so" in duplicates(pixels, parts)
    assert time.process_time() - begin < 3
