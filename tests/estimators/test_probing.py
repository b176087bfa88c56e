"""Linear classifiers on features: what they compute, and what they leave as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from estimators.probing import STRENGTHS, features, fit, with_classifier


class Small(nn.Module):
    """A network of two parts with batch norm, for images of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Conv2d(4, 6, 3, stride=2)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(images))
        return self.linear(self.dropout(x.mean(dim=(2, 3))))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Small()


IMAGES = torch.randn(150, 1, 8, 8, generator=torch.Generator().manual_seed(1))  # two batches


def test_features_are_means_over_the_map_or_what_a_linear_layer_reads(model: nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = ["first", "second", "linear"]
    found = features(model.train(), names, IMAGES, size=(8, 8), device="cpu")
    with torch.no_grad():
        first = model.first(IMAGES)  # type: ignore[operator]
        second = model.second(first).mean(dim=(2, 3))  # type: ignore[operator]
    np.testing.assert_allclose(found["first"], first.mean(dim=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(found["second"], second, atol=1e-6)
    np.testing.assert_allclose(found["linear"], second, atol=1e-6)  # no dropout
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_feature_maps_are_kept_whole_on_request_and_images_are_resized(model: nn.Module) -> None:
    found = features(model, ["first"], IMAGES, size=(6, 5), device="cpu", maps=True)
    assert found["first"].shape == (150, 4, 6, 5)


def blobs(classes: int, seed: int) -> tuple[np.ndarray, torch.Tensor]:  # type: ignore[type-arg]
    """Points around one centre for each class, on scales that differ a thousandfold."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(classes, 5)) * 3
    labels = np.arange(40 * classes) % classes
    points = (centres[labels] + rng.normal(size=(len(labels), 5))) * [1, 1000, 0.001, 1, 1] + 7
    return points.astype(np.float32), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_fitted_classifier_scores_every_class_from_the_features_as_they_are(classes: int) -> None:
    train, validation = blobs(classes, 1), blobs(classes, 2)
    found = fit(train, validation, classes)
    assert found.weight.shape == (classes, 5)
    assert found.strength in STRENGTHS
    scores = torch.from_numpy(validation[0]) @ found.weight.T + found.bias
    accuracy = float((scores.argmax(dim=1) == validation[1]).double().mean())
    assert accuracy == found.accuracy
    # The centres lie about 9 deviations apart: 0.9 is missed by far fewer than one in a million.
    assert accuracy > 0.9


def test_a_feature_that_never_changes_does_no_harm() -> None:
    train, validation = blobs(3, 1), blobs(3, 2)
    constant = [
        np.concatenate([part[0], np.full((120, 1), 5, np.float32)], 1)
        for part in (train, validation)
    ]
    found = fit((constant[0], train[1]), (constant[1], validation[1]), 3)
    assert torch.isfinite(found.weight).all()
    assert found.accuracy == fit(train, validation, 3).accuracy


def test_a_classifier_takes_the_place_of_the_last_layer_alone(model: nn.Module) -> None:
    classifier = fit(blobs(3, 1), blobs(3, 2), 3)
    weights = with_classifier(model.state_dict(), "linear", classifier)
    assert weights["linear.weight"] is classifier.weight
    assert torch.equal(weights["second.weight"], model.state_dict()["second.weight"])
    assert list(weights) == list(model.state_dict())
