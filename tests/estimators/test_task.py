"""Classification: what it asks for, and its figures against a calculation by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from estimators.task import Classification


def test_metrics_say_which_values_are_better_and_possible() -> None:
    metrics = Classification(3).metrics
    assert {name: metric.direction for name, metric in metrics.items()} == {
        "accuracy": "maximize",
        "balanced_accuracy": "maximize",
        "macro_f1": "maximize",
        "auroc": "maximize",
        "log_loss": "minimize",
    }
    assert not any(metric.required for metric in metrics.values())
    assert (metrics["accuracy"].lowest, metrics["accuracy"].highest) == (0, 1)
    assert (metrics["log_loss"].lowest, metrics["log_loss"].highest) == (0, math.inf)


def test_every_metric_is_measured() -> None:
    task = Classification(2)
    scores = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [0.0, math.log(3)]])
    found = task.measure(scores, torch.tensor([1, 1, 0]))
    assert set(found) == set(task.metrics)
    assert found["accuracy"] == 2 / 3
    by_hand = -(2 * math.log(0.75) + math.log(0.25)) / 3
    assert found["log_loss"] == pytest.approx(by_hand, rel=1e-6)
    assert all(type(value) is float for value in found.values())


def test_certain_and_right_is_within_the_range_of_the_metrics() -> None:
    task = Classification(2)
    found = task.measure(torch.tensor([[1e30, -1e30]]), torch.tensor([0]))
    assert (found["accuracy"], found["log_loss"]) == (1.0, 0.0)
    assert all(
        task.metrics[name].lowest <= value <= task.metrics[name].highest
        for name, value in found.items()
    )


def test_the_loss_is_the_mean_of_a_batch_and_has_a_gradient() -> None:
    task = Classification(4)
    scores = torch.zeros((5, 4), requires_grad=True)
    loss = task.loss(scores, torch.arange(5) % 4)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(4))
    assert scores.grad is not None
    assert float(scores.grad.abs().sum()) > 0


def test_networks_return_one_score_per_class() -> None:
    assert Classification(7).output_shape == (7,)


def test_one_class_is_no_task() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        Classification(1)


def test_balanced_weights_are_those_of_scikit_learn_and_classes_count_the_same() -> None:
    task, targets = Classification(3), torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = task.balanced(targets)
    golden = compute_class_weight("balanced", classes=np.arange(3), y=targets.numpy())
    assert weights.tolist() == pytest.approx(golden.tolist())
    scores = torch.randn((10, 3), generator=torch.Generator().manual_seed(0))
    one_by_one = torch.nn.functional.cross_entropy(scores, targets, reduction="none")
    classes = [float(one_by_one[targets == label].mean()) for label in range(3)]
    weighted = task.loss(scores, targets, weights)
    assert float(weighted) == pytest.approx(sum(classes) / 3, rel=1e-6)
    assert float(task.loss(scores, targets)) == pytest.approx(float(one_by_one.mean()), rel=1e-6)


def test_weights_of_classes_do_not_move_what_a_smoothed_label_asks_for() -> None:
    task, targets = Classification(3), torch.tensor([0] * 96 + [1] * 3 + [2])
    wanted = torch.full((3, 3), 0.1 / 3) + 0.9 * torch.eye(3)
    scores = wanted.log()[targets].requires_grad_()
    task.loss(scores, targets, task.balanced(targets), smoothing=0.1).backward()
    assert scores.grad is not None
    assert float(scores.grad.abs().max()) < 1e-6  # where the loss is least
