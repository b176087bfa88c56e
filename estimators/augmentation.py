"""Images changed at random before a step of training, each image in its own way.

All transforms take a whole batch at once with one draw for each image: what shifts, turns and
mirrors is one matrix an image and one resampling. torchvision draws once for a whole batch, which
is another augmentation than the published one; called image by image, its TrivialAugment alone
takes 8 ms for 64 grey images of 28x28 on one core, where everything here takes 3 ms.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

# The operations of TrivialAugment, each as likely.
IDENTITY, SHEAR_X, SHEAR_Y, MOVE_X, MOVE_Y, ROTATE = range(6)
BRIGHTNESS, COLOR, CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE = range(6, 14)
OPERATIONS = 14
SHEAR, MOVE, DEGREES, BLEND, BITS = 0.99, 1 / 3, 135.0, 0.99, 6  # largest strengths
LEAST_AREA, MOST_AREA, RATIO = 0.02, 0.33, 3.3  # of what is erased: arXiv:1708.04896, section 4.2


@final
@dataclass(frozen=True, slots=True)
class Augmentation:
    """Shift, mirror, TrivialAugment and random erasing, in this order.

    What comes in from outside an image is black, and so is what is erased.

    Attributes:
        mean: Per channel, of the normalisation that the images have.
        std: Likewise.
        shift: Largest shift down and across, as a share of the side, in [0, 1); by whole pixels.
        flip: Whether half of the images are mirrored, left and right.
        trivial: Whether each image goes through one operation of TrivialAugment.
        erasing: Probability, in [0, 1], that a rectangle of an image is erased.

    Source: TrivialAugment (arXiv:2103.10158), table 3, the wide ranges. Deviation: images move by
    a third of their side at most, not by 32 pixels whatever their size. Random erasing
    (arXiv:1708.04896), algorithm 1. Deviations: black instead of noise; a rectangle that does not
    fit is cut at the edge.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    shift: float = 0.0
    flip: bool = False
    trivial: bool = False
    erasing: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A batch with every image changed.

        Args:
            images: Normalised, ``(batch, channels, height, width)``; not changed themselves.
            generator: On the CPU, whatever the device of the images.
        """
        if not (self.shift or self.flip or self.trivial or self.erasing):
            return images
        mean, std = (
            torch.tensor(values, device=images.device).view(1, -1, 1, 1)
            for values in (self.mean, self.std)
        )
        pixels = (images * std + mean).clamp(0, 1)
        count = len(images)
        operation, strength, sign = _drawn(count, generator, images.device)
        if not self.trivial:
            operation.zero_()
        if self.shift or self.flip or self.trivial:
            matrices = self._matrices(pixels, operation, strength * sign, generator)
            grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
            pixels = functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)
        if self.trivial:
            pixels = _coloured(pixels, operation, strength, sign)
        if self.erasing:
            pixels = torch.where(_erased(pixels, self.erasing, generator), 0, pixels)
        return (pixels - mean) / std

    def _matrices(
        self, pixels: Tensor, operation: Tensor, signed: Tensor, generator: torch.Generator
    ) -> Tensor:
        """``(batch, 2, 3)``: where each place of the output lies in the input.

        Coordinates go from -1 to 1 over each side, so that a shift by a share of the side is
        twice that share.
        """
        count, device = len(pixels), pixels.device
        sides = torch.tensor(pixels.shape[:1:-1], dtype=torch.float32)  # width, height
        most = torch.round(self.shift * sides)
        steps = torch.rand((count, 2), generator=generator)
        offset = (torch.floor(steps * (2 * most + 1)) - most) * 2 / sides
        mirrored = torch.rand(count, generator=generator) < 0.5
        angle = torch.where(operation == ROTATE, signed * math.radians(DEGREES), 0.0)
        aspect = float(sides[0] / sides[1])
        matrices = torch.zeros((count, 2, 3), device=device)
        matrices[:, 0, 0] = matrices[:, 1, 1] = torch.cos(angle)
        matrices[:, 0, 1] = -torch.sin(angle) / aspect
        matrices[:, 1, 0] = torch.sin(angle) * aspect
        matrices[:, 0, 1] += torch.where(operation == SHEAR_X, signed * SHEAR, 0.0)
        matrices[:, 1, 0] += torch.where(operation == SHEAR_Y, signed * SHEAR, 0.0)
        matrices[:, :, 2] = offset.to(device)
        matrices[:, 0, 2] += torch.where(operation == MOVE_X, signed * 2 * MOVE, 0.0)
        matrices[:, 1, 2] += torch.where(operation == MOVE_Y, signed * 2 * MOVE, 0.0)
        if self.flip:  # of what is read, after everything else
            matrices[:, 0] *= torch.where(mirrored, -1.0, 1.0).to(device)[:, None]
        return matrices


def mixed(
    images: Tensor, *, mixup: float, cutmix: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, float]:
    """Each image of a batch mixed with another one of it.

    Args:
        images: ``(batch, channels, height, width)``.
        mixup: Alpha of the beta distribution of shares for MixUp; 0 for never.
        cutmix: Likewise for CutMix. Where both are above 0, each is taken in half of the batches.
        rng: Where the draws come from.

    Returns:
        The mixed images, the position of the other one for each, and the share of the first one.

    Source: MixUp (arXiv:1710.09412), CutMix (arXiv:1905.04899): one share for a whole batch.
    """
    others = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    cutting = bool(rng.random() < 0.5) if mixup and cutmix else not mixup
    alpha = cutmix if cutting else mixup
    if not alpha:
        return images, others, 1.0
    share = float(rng.beta(alpha, alpha))
    if not cutting:
        return images.lerp(images[others], 1 - share), others, share
    height, width = images.shape[2:]
    (top, bottom), (left, right) = (
        (round(max(0.0, middle - half)), round(min(float(side), middle + half)))
        for side in (height, width)
        for middle, half in ((side * rng.random(), side * math.sqrt(1 - share) / 2),)
    )
    pasted = images.clone()
    pasted[:, :, top:bottom, left:right] = images[others][:, :, top:bottom, left:right]
    return pasted, others, 1 - (bottom - top) * (right - left) / (height * width)


def _drawn(
    count: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """An operation of TrivialAugment, a strength from 0 to 1 and a sign for each image."""
    operation = torch.randint(OPERATIONS, (count,), generator=generator)
    strength = torch.randint(31, (count,), generator=generator) / 30  # as published: 31 levels
    sign = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    return operation.to(device), strength.to(device), sign.to(device)


def _coloured(pixels: Tensor, operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """The operations of TrivialAugment that leave pixels where they are."""
    result = pixels.clone()
    for kind in range(BRIGHTNESS, OPERATIONS):
        chosen = operation == kind
        if bool(chosen.any()):
            level, direction = (values[chosen].view(-1, 1, 1, 1) for values in (strength, sign))
            result[chosen] = _recoloured(pixels[chosen], kind, level, 1 + BLEND * level * direction)
    return result.clamp(0, 1)


def _recoloured(pixels: Tensor, kind: int, level: Tensor, factor: Tensor) -> Tensor:
    """Images after one operation; ``level`` and ``factor`` are ``(images, 1, 1, 1)``."""
    if kind == BRIGHTNESS:
        return pixels * factor
    if kind == AUTOCONTRAST:
        stretched: Tensor = transforms.autocontrast(_channels(pixels))
        return stretched.view_as(pixels)
    if kind == EQUALIZE:
        levels: Tensor = transforms.equalize(torch.round(pixels * 255).to(torch.uint8))
        return levels.to(torch.float32) / 255
    if kind == SOLARIZE:
        return torch.where(pixels >= 1 - level, 1 - pixels, pixels)
    if kind == POSTERIZE:
        step = 2 ** torch.round(BITS * level)
        return torch.floor(torch.round(pixels * 255) / step) * step / 255
    colours = pixels.shape[1] == 3
    plain: Tensor
    if kind == COLOR:
        plain = transforms.rgb_to_grayscale(pixels) if colours else pixels
    elif kind == CONTRAST:
        grey = transforms.rgb_to_grayscale(pixels) if colours else pixels
        plain = grey.mean(dim=(1, 2, 3), keepdim=True)
    else:
        plain = transforms.adjust_sharpness(_channels(pixels), 0.0).view_as(pixels)
    return torch.lerp(plain, pixels, factor)


def _channels(pixels: Tensor) -> Tensor:
    """Each channel as an image: torchvision takes 1 or 3 of them, images here have up to 4."""
    return pixels.flatten(0, 1)[:, None]


def _erased(pixels: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """``(batch, 1, height, width)``: what of each image is erased."""
    count, (height, width) = len(pixels), pixels.shape[2:]
    chance, area, ratio, down, across = torch.rand((5, count), generator=generator)
    area = (LEAST_AREA + area * (MOST_AREA - LEAST_AREA)) * height * width
    aspect = torch.exp((2 * ratio - 1) * math.log(RATIO))
    tall = torch.sqrt(area * aspect).clamp(max=height)
    wide = torch.sqrt(area / aspect).clamp(max=width)
    top, left = torch.floor(down * (height - tall + 1)), torch.floor(across * (width - wide + 1))
    rows, columns = torch.arange(height)[None], torch.arange(width)[None]
    inside = (rows >= top[:, None]) & (rows < (top + tall.round())[:, None])
    along = (columns >= left[:, None]) & (columns < (left + wide.round())[:, None])
    erased: Tensor = inside[:, :, None] & along[:, None] & (chance < rate)[:, None, None]
    return erased[:, None].to(pixels.device)
