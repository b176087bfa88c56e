"""Calibration error and confusion, against values computed by hand and by scikit-learn."""

import pytest
import torch
from sklearn.metrics import confusion_matrix

from estimators.calibration import calibration_error, confusion


def logits(confidences: list[float]) -> torch.Tensor:
    """Outputs of two classes whose first has these probabilities."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1).log()


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy_of_each_bin() -> None:
    # Bins of a fifteenth: 0.61 and 0.65 lie in the tenth one, 0.95 in the last.
    outputs = logits([0.61, 0.65, 0.95])
    targets = torch.tensor([0, 1, 0])
    first = abs((0.61 + 0.65) / 2 - 0.5)
    assert calibration_error(outputs, targets) == pytest.approx((2 * first + 0.05) / 3)


def test_certain_and_right_has_no_error_and_certain_and_wrong_has_all() -> None:
    outputs = torch.tensor([[1e3, 0.0], [0.0, 1e3]])
    assert calibration_error(outputs, torch.tensor([0, 1])) == 0
    assert calibration_error(outputs, torch.tensor([1, 0])) == 1


def test_chance_that_knows_it_is_chance_has_no_error() -> None:
    outputs = torch.zeros(10, 2)
    targets = torch.arange(10) % 2
    assert calibration_error(outputs, targets) == pytest.approx(0)


def test_confusion_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(200, 5, generator=generator)
    targets = torch.randint(4, (200,), generator=generator)  # no image of the last class
    expected = confusion_matrix(targets, outputs.argmax(dim=1), labels=range(5))
    assert confusion(outputs, targets).tolist() == expected.tolist()
