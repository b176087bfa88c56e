"""Figures of a classification over a whole split; each is defined for every split."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor

from estimators.class_figures import ClassFigures

TOP = 5  # ranks that top-5 accuracy looks at; with fewer than 6 classes it says nothing


def by_class(predicted: Tensor, targets: Tensor, num_classes: int) -> tuple[ClassFigures, ...]:
    """Figures of each class, those without an image too.

    Args:
        predicted: ``(images,)`` the class that each is taken for.
        targets: ``(images,)`` the class that each is of.
        num_classes: Number of classes.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        targets.numpy(), predicted.numpy(), labels=range(num_classes), zero_division=0
    )
    return tuple(
        ClassFigures(int(n), float(r), float(p), float(f))
        for n, r, p, f in zip(support, recall, precision, f1, strict=True)
    )


def balanced_accuracy(figures: tuple[ClassFigures, ...]) -> float:
    """Mean recall over the classes that have images."""
    return float(np.mean([one.recall for one in figures if one.support]))


def macro_f1(figures: tuple[ClassFigures, ...], predicted: Tensor) -> float:
    """Mean F1 over the classes that have images or that an image is taken for.

    A class without images that nothing is taken for has no F1 and does not count.
    """
    taken = set(predicted.tolist())
    return float(np.mean([f.f1 for at, f in enumerate(figures) if f.support or at in taken]))


def auroc(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Area under the receiver operating characteristic, mean over one-versus-rest problems.

    For a class it is the probability that an image of it has a higher probability of the class
    than an image of another one, ties counting one half: from the sum R of the mean ranks of its p
    images among all p + q, as (R - p (p + 1) / 2) / (p q). Classes of which no image is, or every
    image, have none and do not count; if no class has one, it is 0.5, that of chance.

    Args:
        probabilities: ``(images, classes)``.
        targets: ``(images,)`` the class that each is of.

    Source: the statistic of Mann and Whitney (1947); its mean over classes as in
    ``sklearn.metrics.roc_auc_score(multi_class="ovr", average="macro")``, which has no value where
    a class is missing.
    """
    areas = []
    for number, values in enumerate(probabilities.T.copy()):
        mine = values[targets == number]
        count, others = len(mine), len(values) - len(mine)
        if count and others:
            values.sort()  # far faster than ranking all images
            below, up_to = (np.searchsorted(values, mine, side) for side in ("left", "right"))
            ranks = float((below + up_to + 1).sum()) / 2
            areas.append((ranks - count * (count + 1) / 2) / (count * others))
    return float(np.mean(areas)) if areas else 0.5


def top_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of images whose class is among the ``TOP`` highest outputs.

    Args:
        outputs: ``(images, classes)``, at least ``TOP`` classes.
        targets: ``(images,)``.
    """
    highest = outputs.topk(TOP, dim=1).indices
    return float((highest == targets[:, None]).any(dim=1).to(torch.float64).mean())
