"""Which images train, which score children, and which are kept for the very end."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {"train": 0, "val": 1, "validation": 1, "test": 2}
SPLIT_SEED = 0  # one split per data set, whatever the seed of the run
VALIDATION_SHARE = 0.15
TEST_SHARE = 0.15
LEAST = 7  # images of a class that can be split

Positions = NDArray[np.int64]
Groups = NDArray[np.str_]
Parts = tuple[Positions, Positions, Positions]


def partition(
    targets: NDArray[np.int64],
    names: Sequence[str],
    *,
    given: NDArray[np.int64] | None = None,
    groups: Groups | None = None,
) -> Parts:
    """Positions of the images of each split, sorted.

    A split that the user gave stays; what is missing is split off the training images, 15 % each,
    stratified by class.

    Args:
        targets: Class of each image.
        names: Name of each class.
        given: Position in ``SPLITS`` for each image; None if the user gave none.
        groups: A name for each image; images of one name stay in one split.

    Raises:
        ValueError: If a class is too small to split or not in every split, or groups cannot be
            kept together.
    """
    parts = [np.flatnonzero(given == place) for place in range(3)] if given is not None else []
    if given is None:
        parts = [np.arange(len(targets)), np.arange(0), np.arange(0)]
    if not len(parts[0]):
        raise ValueError(
            "there must be images to train on, got none in train; nas evaluate --split all alone "
            "does without"
        )
    _check_known(targets, names, parts)
    missing = [place for place in (2, 1) if not len(parts[place])]
    if missing:
        _check_counts(targets[parts[0]], names)
    for place in missing:
        share = TEST_SHARE if place == 2 else VALIDATION_SHARE
        if place == 1 and 2 in missing:
            share = VALIDATION_SHARE / (1 - TEST_SHARE)
        parts[0], parts[place] = _split(parts[0], targets, share, groups)
    for place, part in enumerate(parts):
        counts = np.bincount(targets[part], minlength=len(names))
        if counts.min() == 0:
            raise ValueError(
                f"every class must be in every split, got no {SPLITS[place]} image of "
                f"{names[int(counts.argmin())]}"
            )
    if groups is not None:
        _check_groups(groups, parts)
    return parts[0], parts[1], parts[2]


def undivided(count: int) -> Parts:
    """All of so many images in the first split, for whoever scores all of them."""
    return np.arange(count), np.arange(0), np.arange(0)


def _check_known(
    targets: NDArray[np.int64], names: Sequence[str], parts: Sequence[Positions]
) -> None:
    """Refuse classes that are scored and not trained.

    Raises:
        ValueError: If there is one.
    """
    trained = set(targets[parts[0]].tolist())
    for place in (1, 2):
        for target in sorted({*targets[parts[place]].tolist()} - trained):
            raise ValueError(
                f"every class must be in train, got {names[target]} in {SPLITS[place]} only"
            )


def _check_counts(targets: NDArray[np.int64], names: Sequence[str]) -> None:
    counts = np.bincount(targets, minlength=len(names))
    if counts.min() < LEAST:
        smallest = int(counts.argmin())
        raise ValueError(
            f"every class must have at least {LEAST} images, got {counts[smallest]} of "
            f"{names[smallest]}"
        )


def _check_groups(groups: Groups, parts: Sequence[Positions]) -> None:
    """Refuse splits of the user's that divide a group.

    Raises:
        ValueError: If they do.
    """
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = np.intersect1d(groups[parts[one]], groups[parts[other]])
        if len(shared):
            raise ValueError(
                f"a group must be in one split, got {str(shared[0])!r:.80} in {SPLITS[one]} and "
                f"{SPLITS[other]}"
            )


def _split(
    positions: Positions,
    targets: NDArray[np.int64],
    share: float,
    groups: Groups | None,
) -> tuple[Positions, Positions]:
    """What stays and what is split off."""
    if groups is None:
        first, second = train_test_split(
            positions, test_size=share, random_state=SPLIT_SEED, stratify=targets[positions]
        )
        return np.sort(first), np.sort(second)
    classes = len(np.unique(targets[positions]))
    wanted = share * len(positions)
    whole = [
        (abs(len(second) - wanted), number, first, second)
        for number, (first, second) in enumerate(_folds(positions, targets, share, groups))
        if all(len(np.unique(targets[part])) == classes for part in (first, second))
    ]
    if not whole:
        raise ValueError(
            "groups must leave every class in every split, got too few or too large groups "
            f"({len(np.unique(groups[positions]))}); give splits, or more groups for each class"
        )
    _, _, first, second = min(whole, key=lambda fold: fold[:2])
    return np.sort(first), np.sort(second)


def _folds(
    positions: Positions, targets: NDArray[np.int64], share: float, groups: Groups
) -> Iterator[tuple[Positions, Positions]]:
    """Ways to split off about that share of the images, groups whole."""
    most = min(round(1 / share), len(np.unique(groups[positions])))
    for count in range(most, 1, -1):  # fewer folds are larger: more of them hold every class
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=SPLIT_SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on classes of fewer images than folds
            for first, second in folds.split(positions, targets[positions], groups[positions]):
                yield positions[first], positions[second]
