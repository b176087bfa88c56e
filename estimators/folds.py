"""Cross-validation: every training and validation image is scored, each by a network of its own."""

import warnings
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from estimators.data import ImageData, Split
from estimators.lazy_images import joined, subset
from estimators.splits import SPLIT_SEED, Positions


def identity(data: ImageData) -> str:
    """Digest of all that folds are cut from: images, labels, splits and groups."""
    if data.groups is None:
        return data.fingerprint
    state = blake2b(data.fingerprint.encode(), digest_size=16)
    state.update(data.groups.astype("<i8").data)
    return state.hexdigest()


def fold_positions(data: ImageData, count: int) -> tuple[Positions, ...]:
    """What each fold scores: positions in the training images followed by the validation images.

    Stratified by class, groups whole, the same for every run.

    Args:
        data: The images; its test split is not looked at.
        count: Number of folds, at least 2.

    Raises:
        ValueError: If a class has fewer images than there are folds, or groups leave a fold
            without an image, or its training without a class.
    """
    labels = torch.cat([data.train.labels, data.validation.labels]).numpy()
    counts = np.bincount(labels, minlength=len(data.classes))
    if counts.min() < count:
        smallest = int(counts.argmin())
        raise ValueError(
            f"folds must be at most {counts[smallest]}, the training and validation images of "
            f"{data.classes[smallest]}, got {count}"
        )
    if data.groups is None:
        splitter = StratifiedKFold(count, shuffle=True, random_state=SPLIT_SEED)
    else:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=SPLIT_SEED)
        if len(np.unique(data.groups)) < count:
            raise ValueError(
                f"folds must be at most {len(np.unique(data.groups))}, the number of groups in "
                f"training and validation, got {count}"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on classes of fewer groups than folds
        parts = [(train, test) for train, test in splitter.split(labels, labels, data.groups)]
    for train, test in parts:
        if not len(test) or len(np.unique(labels[train])) < len(data.classes):
            raise ValueError(
                f"folds must each have images, and all classes among the others, got {count} of "
                "groups too large or too few; choose fewer folds"
            )
    return tuple(test for _, test in parts)


def fold(data: ImageData, scored: Positions) -> ImageData:
    """The data with other splits: ``scored`` to score on, the rest to train on.

    Mean and standard deviation stay those of the training split; the test split stays, too.

    Args:
        data: As for ``fold_positions``.
        scored: One of its results.
    """
    images = joined(data.train.images, data.validation.images)
    labels = torch.cat([data.train.labels, data.validation.labels])
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[scored] = False
    train, validation = (Split(subset(images, part), labels[part]) for part in (rest, ~rest))
    return replace(data, train=train, validation=validation)
