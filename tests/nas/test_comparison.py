"""Two networks over the same images: by how much one is right more often, and how sure that is."""

import math

import numpy as np
import pytest
import torch

from nas.comparison import Comparison, Side, difference, packed, text


def bits(*answers: int) -> str:
    return packed(torch.tensor(answers, dtype=torch.bool))


def test_answers_are_packed_first_image_first() -> None:
    assert bits(1, 0, 0, 0, 0, 0, 0, 1, 1) == "8180"


def test_a_difference_counts_images_that_one_alone_has_right() -> None:
    one, other = bits(1, 1, 1, 0, 1, 0, 1, 1, 0, 1), bits(1, 0, 1, 1, 0, 0, 1, 0, 0, 1)
    found = difference(one, other, 10)
    assert found is not None
    middle, low, high = found
    assert middle == pytest.approx((3 - 1) / 10)
    # Agresti and Min by hand: b = 3.5, c = 1.5, n = 12.
    half = 1.959964 * math.sqrt(5 - 4 / 12) / 12
    assert (low, high) == (pytest.approx(2 / 12 - half), pytest.approx(2 / 12 + half))
    turned = difference(other, one, 10)
    assert turned == (-middle, -high, -low)


def test_the_same_answers_differ_by_nothing_and_that_is_not_certain() -> None:
    found = difference(bits(1, 0, 1), bits(1, 0, 1), 3)
    assert found is not None
    assert found[0] == 0
    assert found[1] == -found[2] < 0


@pytest.mark.parametrize(("one", "images"), [("", 9), ("ff", 9), ("ffffff", 9), ("", 0)])
def test_answers_that_are_not_of_these_images_say_nothing(one: str, images: int) -> None:
    assert difference(one, "ff80", images) is None
    assert difference("ff80", one, images) is None


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 2,000 tests of 500 images: 95 % within 4 standard errors, a false alarm in 16,000."""
    rng = np.random.default_rng(0)
    cells = np.array([0.8, 0.08, 0.05, 0.07])  # both, one alone, the other alone, neither
    drawn = rng.choice(4, size=(2_000, 500), p=cells)
    covered = 0
    for row in drawn:
        one, other = torch.from_numpy(row <= 1), torch.from_numpy((row == 0) | (row == 2))
        found = difference(packed(one), packed(other), 500)
        assert found is not None
        covered += found[1] <= 0.03 <= found[2]
    assert abs(covered / 2_000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2_000)


def test_a_comparison_is_told_in_lines_also_from_its_document() -> None:
    searched = Side("trial 7", 217_000, 18_500_000, 3.2, 6, 0.93, {"accuracy": 0.925})
    reference = Side("resnet20", 272_186, 30_958_848, 2.9, 19, 0.945, {"accuracy": 0.9455})
    found = Comparison(
        metric="accuracy",
        searched=searched,
        reference=reference,
        considered=("resnet20",),
        is_reference=True,
        difference=(-0.0205, -0.025, -0.016),
    )
    document = found.document()
    assert document["handed_over"] == "resnet20"
    lines = text(document)
    assert lines[0] == (
        "trial 7 (217k parameters, 18.5M MACs, 3.2 ms): accuracy 0.9300 on validation images, "
        "0.9250 on test images"
    )
    assert lines[2] == (
        "accuracy on test images, trial 7 less resnet20: -0.0205, 95 % interval -0.0250 to -0.0160"
    )
