"""Metrics of classification against scikit-learn's, and where that has no value by hand."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from estimators.metrics import auroc
from estimators.task import Classification

CLASSES = (2, 3, 6, 10)


def example(classes: int, count: int = 400) -> tuple[Tensor, Tensor]:
    """Outputs that are better than chance, for classes of unequal size."""
    generator = torch.Generator().manual_seed(classes)
    shares = torch.arange(1.0, classes + 1)
    targets = torch.multinomial(shares, count, replacement=True, generator=generator)
    outputs = torch.randn((count, classes), generator=generator)
    outputs[torch.arange(count), targets] += 1
    return outputs, targets


@pytest.mark.parametrize("classes", CLASSES)
def test_every_metric_is_that_of_scikit_learn(classes: int) -> None:
    outputs, targets = example(classes)
    found = Classification(classes).measure(outputs, targets)
    assert set(found) == set(Classification(classes).metrics)
    y, p = targets.numpy(), outputs.argmax(1).numpy()
    shares = outputs.double().softmax(1).numpy()
    golden = {
        "accuracy": sklearn_metrics.accuracy_score(y, p),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(y, p),
        "macro_f1": sklearn_metrics.f1_score(y, p, average="macro"),
        "auroc": sklearn_metrics.roc_auc_score(
            y, shares[:, 1] if classes == 2 else shares, multi_class="ovr"
        ),
        "log_loss": sklearn_metrics.log_loss(y, shares),
    }
    if classes > 5:
        golden["top5_accuracy"] = sklearn_metrics.top_k_accuracy_score(y, shares, k=5)
    assert found == pytest.approx(golden, abs=1e-12)
    assert all(type(value) is float for value in found.values())


def test_the_metrics_differ_from_one_another() -> None:
    found = Classification(10).measure(*example(10))
    assert len(set(found.values())) == len(found) == 6


@pytest.mark.parametrize("classes", CLASSES)
def test_figures_of_classes_are_those_of_scikit_learn(classes: int) -> None:
    outputs, targets = example(classes)
    found = Classification(classes).by_class(outputs, targets)
    report = sklearn_metrics.classification_report(
        targets.numpy(), outputs.argmax(1).numpy(), output_dict=True, zero_division=0
    )
    for number, figures in enumerate(found):
        row = report[str(number)]
        assert figures.support == row["support"]
        assert (figures.recall, figures.precision) == (row["recall"], row["precision"])
        assert figures.f1 == row["f1-score"]


def test_equal_probabilities_count_one_half() -> None:
    rng = np.random.default_rng(0)
    shares = rng.integers(0, 4, (200, 1)) / 4
    targets = rng.integers(0, 2, 200)
    both = np.concatenate([1 - shares, shares], axis=1)
    before = both.copy()
    assert auroc(both, targets) == pytest.approx(
        sklearn_metrics.roc_auc_score(targets, shares[:, 0]), abs=1e-12
    )
    assert (both == before).all()
    assert auroc(np.full((200, 2), 0.5), targets) == 0.5


def test_a_class_without_images_counts_in_no_mean() -> None:
    outputs, targets = example(3)
    some = targets != 2
    found = Classification(3).measure(outputs[some], targets[some])
    y, p = targets[some].numpy(), outputs[some].argmax(1).numpy()
    shares = outputs[some].double().softmax(1).numpy()
    recalls = sklearn_metrics.recall_score(y, p, labels=[0, 1], average=None)
    assert found["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert 2 in p  # what is taken for it is wrong: an F1 of 0
    assert found["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(y, p, average="macro"))
    areas = [sklearn_metrics.roc_auc_score(y == at, shares[:, at]) for at in (0, 1)]
    assert found["auroc"] == pytest.approx(np.mean(areas))
    never = outputs[some].clone()
    never[:, 2] = -9
    two = Classification(3).measure(never, targets[some])
    p = never.argmax(1).numpy()
    assert two["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(y, p, average="macro"))


def test_a_single_class_is_at_chance_and_within_range() -> None:
    targets = torch.full((5,), 1)
    found = Classification(2).measure(torch.tensor([[0.0, 1.0]] * 5), targets)
    assert found["auroc"] == 0.5
    assert (found["accuracy"], found["balanced_accuracy"], found["macro_f1"]) == (1, 1, 1)
    worst = Classification(2).measure(torch.tensor([[1.0, 0.0]] * 5), targets)
    assert (worst["balanced_accuracy"], worst["macro_f1"]) == (0, 0)


def test_top_five_says_something_from_six_classes_on() -> None:
    assert "top5_accuracy" not in Classification(5).metrics
    outputs = torch.arange(6.0).repeat(2, 1)
    found = Classification(6).measure(outputs, torch.tensor([0, 1]))
    assert found["top5_accuracy"] == 0.5


@pytest.mark.parametrize("classes", [2, 10])
def test_outputs_that_are_no_numbers_are_told_by_a_metric(classes: int) -> None:
    outputs, targets = example(classes)
    outputs[3] = float("nan")
    assert np.isnan(Classification(classes).measure(outputs, targets)["log_loss"])
