"""The same images for a network that was trained on others."""

import numpy as np
import pytest
import torch

from estimators.data import ImageData, Split, from_arrays
from estimators.normalisation import LUMA, renormalised


def images(channels: int) -> ImageData:
    rng = np.random.default_rng(0)
    pixels = rng.random((40, 9, 8, channels)).astype(np.float32)
    return from_arrays(pixels, np.arange(40) % 2)


def pixels(data: ImageData, split: Split) -> torch.Tensor:
    mean, std = (torch.tensor(part).reshape(1, -1, 1, 1) for part in (data.mean, data.std))
    return split.images * std + mean


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_pixels_stay_and_are_normalised_anew(name: str) -> None:
    data = images(3)
    found = renormalised(data, channels=3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 0.5))
    old, new = getattr(data, name), getattr(found, name)
    torch.testing.assert_close(pixels(found, new), pixels(data, old))
    assert torch.equal(new.labels, old.labels)
    assert not torch.allclose(new.images, old.images)


def test_grey_images_become_three_equal_channels() -> None:
    found = renormalised(images(1), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert found.input_shape == (3, 9, 8)
    for channel in (1, 2):
        assert torch.equal(found.train.images[:, channel], found.train.images[:, 0])


def test_of_colour_the_luma_is_taken_for_one_channel() -> None:
    data = images(3)
    found = renormalised(data, channels=1, mean=(0.0,), std=(1.0,))
    colours = pixels(data, data.test)
    expected = sum(weight * colours[:, place] for place, weight in enumerate(LUMA))
    torch.testing.assert_close(found.test.images[:, 0], expected)


@pytest.mark.parametrize(
    ("have", "wanted", "said"), [(2, 3, "1 or 3"), (4, 1, "1 or 3"), (3, 2, "2"), (1, 4, "4")]
)
def test_other_channels_are_refused(have: int, wanted: int, said: str) -> None:
    with pytest.raises(ValueError, match=f"images must have {said} channels, got {have}"):
        renormalised(images(have), channels=wanted, mean=(0.5,) * wanted, std=(0.5,) * wanted)
