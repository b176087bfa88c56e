"""Images that are there twice: in two splits, where scores are too good, or in two classes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from estimators.pixel_store import PixelStore
from estimators.splits import SPLITS, Parts

NEAR = 0.02  # largest mean difference of two images that are nearly the same, values from 0 to 1
FLIPS = 3  # of 64 bits, in which their coarse hashes may differ
MOST_LOOKED_AT = 4096  # images with one quarter of a coarse hash, whose hashes are compared
MOST_COMPARED, PIECE = 16, 4  # images of similar hashes that an image is compared with, at once
CHUNK = 1024


def duplicates(
    pixels: NDArray[np.float32] | PixelStore,
    targets: NDArray[np.int64],
    parts: Parts,
    titles: Sequence[str] | None = None,
) -> str:
    """One line on images that the data have twice where they should not, or nothing.

    These are images of validation or test that another split has too, and images that are there
    with two labels. Equal images are found by the hash of their pixels. Nearly equal ones differ by
    at most ``NEAR`` on average, and by at most ``FLIPS`` bits of a coarse hash (whether each of 8x8
    patches is brighter than the one to its left, a "difference hash"): what was saved again with a
    mild compression is found, what was turned or cut is not. Where more than ``MOST_LOOKED_AT``
    images share a quarter of their hash, some near ones are missed.

    Args:
        pixels: ``(images, channels, height, width)`` from 0 to 1, or as 8 bits.
        targets: Class of each image.
        parts: Positions of each split.
        titles: What to call each image; by default its position.
    """
    split_of = np.zeros(len(pixels), dtype=np.int64)
    for place, part in enumerate(parts):
        split_of[part] = place
    digests = _digests(pixels)
    exact = _pairs(digests, split_of, split_of)
    near = {
        one: other
        for one, others in _alike(_coarse(pixels), split_of)
        if one not in exact and (other := _nearest(pixels, one, others)) is not None
    }
    contradictory = _pairs(digests, split_of, targets)

    def example(pairs: Mapping[int, int]) -> str:
        pair = next(iter(pairs.items()))
        names = [f"image {at}" if titles is None else titles[at] for at in pair]
        return " and ".join(
            f"{name} in {SPLITS[split_of[at]]}" for name, at in zip(names, pair, strict=True)
        )

    lines = []
    if exact or near:
        lines.append(
            f"{len(exact):,} of {len(parts[1]) + len(parts[2]):,} validation and test images are "
            f"in another split too and {len(near):,} nearly so, such as {example(exact or near)}"
        )
    if contradictory:
        lines.append(
            f"images with an equal one of another class: {len(contradictory):,}, such as "
            f"{example(contradictory)}"
        )
    return "; ".join(lines)


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


def _coarse(pixels: NDArray[np.float32] | PixelStore) -> NDArray[np.uint64]:
    """64 bits for each image."""
    found = []
    for some in _chunks(pixels):
        grey = torch.from_numpy(some).mean(dim=1, keepdim=True)
        patches = functional.adaptive_avg_pool2d(grey, (8, 9))[:, 0]
        bits = (patches[:, :, 1:] > patches[:, :, :-1]).flatten(1).numpy()
        found.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    return np.concatenate(found)


def _alike(
    hashes: NDArray[np.uint64], split_of: NDArray[np.int64]
) -> Iterator[tuple[int, list[int]]]:
    """Images outside the training split with those of earlier splits of a similar hash.

    Where up to three bits differ, one of four quarters is equal.
    """
    found: dict[int, dict[int, int]] = defaultdict(dict)
    quarters = hashes.view(np.uint16).reshape(-1, 4)
    for quarter in range(4):
        order = np.lexsort((split_of, quarters[:, quarter]))
        borders = np.flatnonzero(np.diff(quarters[order, quarter])) + 1
        for group in np.split(order, borders):
            earlier = group[split_of[group] < 2][:MOST_LOOKED_AT]
            if not len(earlier):
                continue
            for one in group[split_of[group] > 0].tolist():
                flips = np.bitwise_count(hashes[earlier] ^ hashes[one])
                close = np.flatnonzero((flips <= FLIPS) & (split_of[earlier] < split_of[one]))
                if len(close):
                    close = close[np.argsort(flips[close], kind="stable")[:MOST_COMPARED]]
                    found[one] |= zip(earlier[close].tolist(), flips[close].tolist(), strict=True)
    for one, others in found.items():
        yield one, sorted(others, key=lambda other: (others[other], other))[:MOST_COMPARED]


def _pairs(
    digests: Sequence[bytes], split_of: NDArray[np.int64], kinds: NDArray[np.int64]
) -> dict[int, int]:
    """Each image whose kind differs from that of the first one equal to it, with that one.

    Args:
        digests: Of the pixels of each image.
        split_of: Position of the split of each; the first is of the earliest.
        kinds: A number for each.
    """
    first: dict[bytes, int] = {}
    pairs = {}
    for at in np.argsort(split_of, kind="stable").tolist():
        other = first.setdefault(digests[at], at)
        if kinds[other] != kinds[at]:
            pairs[at] = other
    return pairs


def _nearest(pixels: NDArray[np.float32] | PixelStore, one: int, others: list[int]) -> int | None:
    """The first of the other images that is similar enough, in pieces of which the best counts."""
    for start in range(0, len(others), PIECE):
        some = others[start : start + PIECE]
        differences = np.abs(pixels[some] - pixels[[one]]).mean(axis=(1, 2, 3))
        best = int(differences.argmin())
        if differences[best] <= NEAR:
            return some[best]
    return None
