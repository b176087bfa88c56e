"""EfficientNet: members, classes and the rounding of its channels."""

import pytest

from search_spaces.architecture import lower
from search_spaces.reference import FAMILIES
from search_spaces.reference.efficientnet import efficientnet, round_channels


def test_there_are_eight_members_and_no_others() -> None:
    assert list(FAMILIES["EfficientNet"]) == [f"efficientnet_b{number}" for number in range(8)]
    with pytest.raises(KeyError):
        efficientnet("efficientnet_b8")


def test_the_number_of_classes_is_open() -> None:
    assert lower(efficientnet("efficientnet_b0", num_classes=7)).output_shape == (7,)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(32, 32), (1, 8), (8.4, 8), (12, 16), (11.9, 16), (35.2, 32), (44.7, 48), (1408, 1408)],
)
def test_channels_are_rounded_to_eights_and_never_fall_by_more_than_a_tenth(
    channels: float, expected: int
) -> None:
    assert round_channels(channels) == expected
    for value in range(1, 3_000):
        width = round_channels(value / 3)
        assert width % 8 == 0
        assert width >= 0.9 * value / 3
        assert width - value / 3 <= 8
