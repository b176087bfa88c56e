"""Cross-validation: every image scored once, by a network that has not seen it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from estimators.data import ImageData, from_arrays
from estimators.folds import fold, fold_positions
from estimators.task import Classification
from estimators.training import Training
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct

GRAPH = lower(Architecture("Child", (1, 6, 6), ConvNormAct(4), ((ConvNormAct(4),),), Classifier(3)))


def data(count: int = 90) -> ImageData:
    """Every image has a grey of its own, and so can be told from all others."""
    pixels = np.linspace(0, 1, count).reshape(-1, 1, 1) * np.ones((1, 6, 6))
    return from_arrays(pixels.astype(np.float32), np.arange(count) % 3)


def greys(*splits: Any) -> list[float]:
    return sorted(float(value) for one in splits for value in one.images[:, 0, 0, 0])


def test_every_image_is_scored_once_and_trained_on_by_all_other_folds() -> None:
    whole = data()
    parts = [fold(whole, scored) for scored in fold_positions(whole, 4)]
    every = greys(whole.train, whole.validation)
    assert greys(*(part.validation for part in parts)) == every
    for part in parts:
        assert greys(part.train, part.validation) == every
        assert part.test is whole.test
        counts = torch.bincount(part.validation.labels).tolist()
        assert max(counts) - min(counts) <= 1  # stratified
    assert greys(whole.test)[0] not in every


def test_labels_stay_with_their_images() -> None:
    whole = data()
    label_of = {
        grey: label
        for one in (whole.train, whole.validation)
        for grey, label in zip(one.images[:, 0, 0, 0].tolist(), one.labels.tolist(), strict=True)
    }
    for scored in fold_positions(whole, 3):
        part = fold(whole, scored)
        for one in (part.train, part.validation):
            pairs = zip(one.images[:, 0, 0, 0].tolist(), one.labels.tolist(), strict=True)
            assert all(label_of[grey] == label for grey, label in pairs)


def test_groups_stay_together() -> None:
    whole = data()
    count = len(whole.train) + len(whole.validation)
    groups = np.random.default_rng(0).integers(0, 20, count)
    together = replace(whole, groups=groups)
    for scored in fold_positions(together, 3):
        rest = np.setdiff1d(np.arange(count), scored)
        assert not set(groups[scored]) & set(groups[rest])
    assert any(set(groups[s]) & set(np.delete(groups, s)) for s in fold_positions(whole, 3))


@pytest.mark.parametrize(
    ("count", "groups", "message"),
    [
        (30, None, "folds must be at most 25, the training and validation images of 0, got 30"),
        (5, np.arange(76) % 3, "folds must be at most 3, the number of groups"),
    ],
)
def test_what_cannot_be_cut_is_refused(count: int, groups: Any, message: str) -> None:
    whole = replace(data(), groups=groups)
    with pytest.raises(ValueError, match=message):
        fold_positions(whole, count)


def test_groups_that_hold_whole_classes_are_refused() -> None:
    whole = data()
    labels = torch.cat([whole.train.labels, whole.validation.labels]).numpy()
    with pytest.raises(ValueError, match="folds must each have images, and all classes among the"):
        fold_positions(replace(whole, groups=labels), 2)


def trained(images: ImageData, **options: Any) -> Training:
    training = Training(epochs=1, batch_size=16, **options)
    training.prepare(images, Classification(3))
    return training


def test_metrics_are_the_mean_of_the_folds_and_weights_those_of_the_first() -> None:
    images = data()
    wanted: dict[str, Any] = {"fidelity": 1.0, "seed": 3, "device": "cpu"}
    found = trained(images, folds=3).evaluate(GRAPH, **wanted)
    apart = [
        trained(fold(images, scored)).evaluate(GRAPH, **wanted)
        for scored in fold_positions(images, 3)
    ]
    for name, value in found.metrics.items():
        assert value == pytest.approx(np.mean([one.metrics[name] for one in apart]), abs=1e-12)
    assert found.metrics["log_loss"] != apart[0].metrics["log_loss"]
    assert found.weights is not None
    assert apart[0].weights is not None
    assert all(torch.equal(found.weights[name], value) for name, value in apart[0].weights.items())
    assert found.checkpoint is None


def test_steps_follow_from_the_images_of_a_fold() -> None:
    images = data()
    training = Training(folds=2)
    training.prepare(images, Classification(3))
    assert training.recipe["folds"] == 2
    assert training.recipe["batch_size"] == 38  # half of 76
    assert training.recipe["epochs"] == 50


@pytest.mark.parametrize("folds", [0, -1, 21])
def test_a_number_of_folds_out_of_range_is_refused(folds: int) -> None:
    with pytest.raises(ValueError, match=f"folds must be from 1 to 20, got {folds}"):
        Training(folds=folds)
