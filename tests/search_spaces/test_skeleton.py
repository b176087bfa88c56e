"""The maps that networks in stages have on images of each size."""

import pytest

from search_spaces.blocks import Stem
from search_spaces.skeleton import kernels, staged, stem_halvings


@pytest.mark.parametrize(
    ("sides", "halvings", "maps", "scale"),
    [
        ((8, 8), 0, (8, 4), 0),
        ((9, 300), 0, (9, 5), 0),
        ((16, 16), 0, (16, 8), 0),
        ((28, 28), 0, (28, 14, 7), 0),
        ((32, 32), 0, (32, 16, 8), 1),
        ((48, 64), 0, (48, 24, 12), 1),
        ((64, 64), 1, (32, 16, 8), 2),
        ((127, 127), 1, (63, 32, 16, 8), 2),
        ((128, 128), 2, (32, 16, 8), 2),
        ((224, 224), 2, (56, 28, 14, 7), 2),
        ((600, 700), 2, (150, 75, 38, 19), 2),
    ],
)
def test_stages_follow_the_images(
    sides: tuple[int, int], halvings: int, maps: tuple[int, ...], scale: int
) -> None:
    for height, width in (sides, sides[::-1]):
        found = staged(height, width)
        assert (found.halvings, found.sides, found.scale) == (halvings, maps, scale)


def test_the_stem_halves_from_64_and_from_128_pixels_on() -> None:
    assert [stem_halvings(side, 999) for side in (8, 63, 64, 127, 128, 600)] == [0, 0, 1, 1, 2, 2]
    stems = [staged(side, side).stem(8, norm=True, activation="relu") for side in (32, 64, 128)]
    assert stems == [
        Stem(8, 3, 1, pool=False),
        Stem(8, 7, 2, pool=False),
        Stem(8, 7, 2, pool=True),
    ]


def test_kernels_are_open_on_maps_of_at_least_eight_pixels() -> None:
    assert [len(kernels("stage0", side)) for side in (4, 7, 8, 56)] == [0, 0, 1, 1]
