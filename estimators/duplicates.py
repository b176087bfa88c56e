"""Images that are in two splits at once: scores on them are too good."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from estimators.pixel_store import PixelStore
from estimators.splits import SPLITS, Parts

NEAR = 0.02  # largest mean difference of two images that are nearly the same, values from 0 to 1
MOST_COMPARED = 64  # images of one coarse hash that an image is compared with
CHUNK = 1024


def duplicates(
    pixels: NDArray[np.float32] | PixelStore, parts: Parts, titles: Sequence[str] | None = None
) -> str:
    """One line on images of validation or test that another split has too, or nothing.

    Equal images are found by the hash of their pixels. Nearly equal ones have the same coarse
    hash (whether each of 8x8 patches is brighter than the one to its left, a "difference hash")
    and differ by at most ``NEAR`` on average: what was saved again with another compression is
    found, what was turned or cut is not.

    Args:
        pixels: ``(images, channels, height, width)`` from 0 to 1, or as 8 bits.
        parts: Positions of each split.
        titles: What to call each image; by default its position.
    """
    split_of = np.zeros(len(pixels), dtype=np.int64)
    for place, part in enumerate(parts):
        split_of[part] = place
    exact = _pairs(_digests(pixels), split_of)
    coarse = list(_coarse(pixels))
    near = {
        one: other
        for one, others in _candidates(coarse, split_of)
        if one not in exact and (other := _nearest(pixels, one, others)) is not None
    }
    if not exact and not near:
        return ""
    one, other = next(iter((exact or near).items()))
    names = [f"image {at}" if titles is None else titles[at] for at in (one, other)]
    return (
        f"{len(exact):,} of {len(parts[1]) + len(parts[2]):,} validation and test images are in "
        f"another split too and {len(near):,} nearly so, such as {names[0]} in "
        f"{SPLITS[split_of[one]]} and {names[1]} in {SPLITS[split_of[other]]}"
    )


def _digests(pixels: NDArray[np.float32] | PixelStore) -> list[bytes]:
    return [
        blake2b(np.ascontiguousarray(one).data, digest_size=16).digest()
        for some in _chunks(pixels)
        for one in some
    ]


def _chunks(pixels: NDArray[np.float32] | PixelStore) -> Iterator[NDArray[np.float32]]:
    count = pixels.chunk if isinstance(pixels, PixelStore) else CHUNK
    for start in range(0, len(pixels), count):
        yield pixels[start : start + count]


def _coarse(pixels: NDArray[np.float32] | PixelStore) -> Iterator[bytes]:
    """64 bits for each image."""
    for some in _chunks(pixels):
        grey = torch.from_numpy(some).mean(dim=1, keepdim=True)
        patches = functional.adaptive_avg_pool2d(grey, (8, 9))[:, 0]
        bits = (patches[:, :, 1:] > patches[:, :, :-1]).flatten(1).numpy()
        yield from (row.tobytes() for row in np.packbits(bits, axis=1))


def _candidates(
    keys: Sequence[bytes], split_of: NDArray[np.int64]
) -> Iterator[tuple[int, list[int]]]:
    """Images outside the training split with those of earlier splits that have their key."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for at in np.argsort(split_of, kind="stable").tolist():
        earlier = [one for one in groups[keys[at]][:MOST_COMPARED] if split_of[one] < split_of[at]]
        if earlier:
            yield at, earlier
        groups[keys[at]].append(at)


def _pairs(keys: Sequence[bytes], split_of: NDArray[np.int64]) -> dict[int, int]:
    """Each image outside the training split with an equal one of an earlier split."""
    return {at: earlier[0] for at, earlier in _candidates(keys, split_of)}


def _nearest(pixels: NDArray[np.float32] | PixelStore, one: int, others: list[int]) -> int | None:
    """The most similar of the other images, if it is similar enough."""
    differences = np.abs(pixels[others] - pixels[[one]]).mean(axis=(1, 2, 3))
    best = int(differences.argmin())
    return others[best] if differences[best] <= NEAR else None
