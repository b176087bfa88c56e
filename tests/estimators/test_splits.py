"""Splits that are complete, stratified, and keep together what belongs together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estimators.splits import partition

NAMES = ("cat", "dog")
TARGETS = np.arange(80) % 2


def split_words(train: int, validation: int, test: int) -> np.ndarray:
    return np.repeat([0, 1, 2], [train, validation, test])


def test_what_is_given_stays_and_what_is_missing_comes_off_the_training_images() -> None:
    train, validation, test = partition(TARGETS, NAMES, given=split_words(60, 0, 20))
    assert test.tolist() == list(range(60, 80))
    assert sorted([*train, *validation]) == list(range(60))
    assert len(validation) == 9
    whole = partition(TARGETS, NAMES, given=split_words(40, 20, 20))
    assert [len(part) for part in whole] == [40, 20, 20]
    without_test = partition(TARGETS, NAMES, given=split_words(60, 20, 0))
    assert [len(part) for part in without_test] == [51, 20, 9]


@settings(max_examples=15)
@given(st.integers(14, 40), st.integers(1, 5), st.integers(0, 99))
def test_groups_are_never_divided(count: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(1, most + 1, count))
    targets = groups % 2
    if np.bincount(targets).min() < 7:
        return
    parts = partition(targets, NAMES, groups=groups.astype(str))
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    seen = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, seen)) == len(set(groups.tolist()))
    assert all(set(targets[part].tolist()) == {0, 1} for part in parts)


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (TARGETS, {"given": split_words(0, 40, 40)}, "got none in train"),
        (np.repeat([0, 1], 40), {"given": split_words(40, 20, 20)}, "got dog in validation only"),
        (np.repeat([0, 1], [68, 12]), {"given": split_words(75, 3, 2)}, "no validation image of c"),
        (np.repeat([0, 1], [74, 6]), {}, "at least 7 images, got 6 of dog"),
        (TARGETS, {"groups": np.full(80, "a")}, "too few or too large groups \\(1\\)"),
        (
            TARGETS,
            {"groups": (np.arange(80) % 2).astype(str)},
            "too few or too large groups \\(2\\)",
        ),
        (
            TARGETS,
            {"given": split_words(40, 20, 20), "groups": (np.arange(80) // 15).astype(str)},
            "a group must be in one split, got '2' in train and validation",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(
    targets: np.ndarray, options: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        partition(targets, NAMES, **options)
    assert "\n" not in str(caught.value)
