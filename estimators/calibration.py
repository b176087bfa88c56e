"""Whether probabilities mean what they say, and which classes are taken for which."""

import torch
from torch import Tensor

BINS = 15


def calibration_error(outputs: Tensor, targets: Tensor) -> float:
    """Expected calibration error, in [0, 1]: by how much confidence and accuracy differ.

    Images are put into ``BINS`` bins of equal width by the probability of their predicted class;
    the error is the mean over images of the difference between the mean confidence and the
    accuracy of their bin.

    Args:
        outputs: Logits, ``(images, classes)``.
        targets: Classes, ``(images,)``.

    Source: arXiv:1706.04599, equation (3).
    """
    confidence, predicted = torch.softmax(outputs.double(), dim=1).max(dim=1)
    right = (predicted == targets).double()
    # Bin m holds confidences in ((m - 1) / M, m / M].
    place = (torch.ceil(confidence * BINS) - 1).clamp(0, BINS - 1).long()
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, place, confidence - right)
    return float(gaps.abs().sum() / len(targets))


def confusion(outputs: Tensor, targets: Tensor) -> Tensor:
    """How often images of a class (row) are taken for another (column), int64.

    Args:
        outputs: Logits, ``(images, classes)``.
        targets: Classes, ``(images,)``.
    """
    classes = outputs.shape[1]
    pairs = targets * classes + outputs.argmax(dim=1)
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
