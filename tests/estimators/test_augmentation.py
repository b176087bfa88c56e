"""Augmentation: each image in its own way, nothing that was not asked for."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from estimators import augmentation
from estimators.augmentation import OPERATIONS, Augmentation, mixed

MEAN, STD = (0.3,), (0.2,)


def images(count: int = 64, channels: int = 1, side: int = 9) -> Tensor:
    return torch.rand((count, channels, side, side), generator=torch.Generator().manual_seed(1))


def changed(pixels: Tensor, augment: Augmentation, seed: int = 0) -> Tensor:
    """Pixels from 0 to 1 after augmentation of normalised images."""
    found = augment((pixels - 0.3) / 0.2, torch.Generator().manual_seed(seed))
    return found * 0.2 + 0.3


def test_without_anything_asked_for_images_stay() -> None:
    pixels = images()
    assert Augmentation(MEAN, STD)(pixels, torch.Generator()) is pixels


def test_mirrored_images_are_mirrored_exactly_and_half_of_them() -> None:
    pixels = images(400)
    found = changed(pixels, Augmentation(MEAN, STD, flip=True))
    same = ((found - pixels).abs().amax(dim=(1, 2, 3))) < 1e-5
    turned = ((found - pixels.flip(3)).abs().amax(dim=(1, 2, 3))) < 1e-5
    assert bool((same ^ turned).all())
    assert 150 < int(turned.sum()) < 250  # outside once in two million seeds


def test_shifts_are_of_whole_pixels_with_black_behind_and_all_of_them_occur() -> None:
    pixels = images(300)
    found = changed(pixels, Augmentation(MEAN, STD, shift=0.12))  # one pixel of nine
    padded = torch.nn.functional.pad(pixels, (1, 1, 1, 1))
    seen = set()
    for one, before in zip(found, padded, strict=True):
        for down in range(3):
            for across in range(3):
                there = before[:, down : down + 9, across : across + 9]
                if torch.allclose(one, there, atol=1e-5):
                    seen.add((down, across))
                    break
    assert len(seen) == 9


def test_a_rectangle_is_erased_from_the_share_of_images_asked_for() -> None:
    pixels = images(400, side=16).clamp(min=0.1)
    found = changed(pixels, Augmentation(MEAN, STD, erasing=0.25))
    black = found.abs() < 1e-5
    area = black.float().mean(dim=(1, 2, 3))
    share = float((area > 0).float().mean())
    assert 0.15 < share < 0.35
    assert float(area.max()) < 0.45
    assert torch.allclose(found[~black], pixels[~black], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_trivial_augment_stays_within_pixels_and_treats_each_image_alone(channels: int) -> None:
    pixels = images(1, channels).expand(200, -1, -1, -1)
    mean, std = MEAN * channels, STD * channels
    found = changed(pixels, Augmentation(mean, std, trivial=True))
    assert float(found.min()) > -1e-5
    assert float(found.max()) < 1 + 1e-5
    assert len({tuple(one.flatten()[:20].tolist()) for one in found}) > 40


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        (augmentation.BRIGHTNESS, lambda one: transforms.adjust_brightness(one, 1 + 0.99 * 0.5)),
        (augmentation.CONTRAST, lambda one: transforms.adjust_contrast(one, 1 + 0.99 * 0.5)),
        (augmentation.COLOR, lambda one: transforms.adjust_saturation(one, 1 + 0.99 * 0.5)),
        (augmentation.SHARPNESS, lambda one: transforms.adjust_sharpness(one, 1 + 0.99 * 0.5)),
        (augmentation.SOLARIZE, lambda one: transforms.solarize(one, 0.5)),
        (augmentation.AUTOCONTRAST, transforms.autocontrast),
        (
            augmentation.POSTERIZE,
            lambda one: transforms.posterize((one * 255).round().to(torch.uint8), 5).float() / 255,
        ),
    ],
)
def test_operations_are_those_of_torchvision(kind: int, reference: object) -> None:
    assert callable(reference)
    pixels = images(5, 3)
    level, sign = torch.full((5,), 0.5), torch.ones(5)
    found = augmentation._coloured(pixels, torch.full((5,), kind), level, sign)
    assert torch.allclose(found, reference(pixels), atol=1e-5)


@pytest.mark.parametrize("kind", range(OPERATIONS))
def test_an_operation_of_strength_zero_leaves_images(kind: int) -> None:
    if kind in {augmentation.AUTOCONTRAST, augmentation.EQUALIZE}:
        pytest.skip("has no strength")
    pixels = torch.round(images(4, 3) * 255) / 255
    found = augmentation._coloured(pixels, torch.full((4,), kind), torch.zeros(4), torch.ones(4))
    unlit = pixels < 1  # solarize at 0 turns what is white alone
    assert torch.allclose(found[unlit], pixels[unlit], atol=1e-5)


def test_a_quarter_turn_is_a_quarter_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        augmentation,
        "_drawn",
        lambda count, generator, device: (
            torch.full((count,), augmentation.ROTATE),
            torch.full((count,), 90 / 135),
            torch.ones(count),
        ),
    )
    pixels = images(3)
    found = changed(pixels, Augmentation(MEAN, STD, trivial=True))
    turns = [torch.rot90(pixels, turn, (2, 3)) for turn in (1, -1)]
    assert any(torch.allclose(found, turn, atol=1e-4) for turn in turns)


def test_mixup_blends_with_one_share() -> None:
    pixels = images(8)
    found, others, share = mixed(pixels, mixup=1.0, cutmix=0.0, rng=np.random.default_rng(0))
    assert 0 < share < 1
    assert torch.allclose(found, share * pixels + (1 - share) * pixels[others], atol=1e-6)


def test_cutmix_pastes_a_rectangle_and_the_share_is_that_of_its_pixels() -> None:
    pixels = images(8, side=16)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found, others, share = mixed(pixels, mixup=0.0, cutmix=1.0, rng=rng)
        first, other = (found == pixels), (found == pixels[others])
        assert bool((first | other).all())
        apart = others != torch.arange(8)
        assert float(first[apart].float().mean()) == pytest.approx(share, abs=1e-6)


def test_both_are_taken_in_turn_and_neither_when_neither_is_asked_for() -> None:
    pixels = images(8)
    rng = np.random.default_rng(0)
    assert mixed(pixels, mixup=0.0, cutmix=0.0, rng=rng)[2] == 1
    kinds = set()
    for _ in range(40):
        found, others, _ = mixed(pixels, mixup=1.0, cutmix=1.0, rng=rng)
        kinds.add(bool(((found == pixels) | (found == pixels[others])).all()))
    assert kinds == {True, False}
