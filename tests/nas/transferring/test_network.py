"""A trained network for other images: what it reads, what stays, what is fitted, and why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from estimators.data import ImageData, Split, from_arrays
from estimators.scoring import measure
from estimators.task import Classification
from nas.errors import NasError
from nas.transferring.choice import Probed, choose
from nas.transferring.network import Transfer, _some
from nas.transferring.source import IMAGENET, Source, fitted_images, source_of
from search_spaces.architecture import lower
from search_spaces.modules import build
from search_spaces.reference import REFERENCES

NAME = "resnet18"
SIDE = 32


@pytest.fixture(scope="module")
def source() -> Source:
    """A small network for colour images whose weights are random."""
    torch.manual_seed(0)
    architecture = REFERENCES["densenet_bc_100_12"]()
    return Source("source", architecture, build(lower(architecture)).state_dict(), *IMAGENET)


def images(channels: int, classes: int = 2, count: int = 60) -> ImageData:
    """Images whose class is which half is bright."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 0.5, (count, 16, 16, channels)).astype(np.float32)
    labels = np.arange(count) % classes
    for label in range(classes):
        pixels[labels == label, label * 8 : label * 8 + 8] += 0.5
    return from_arrays(pixels, labels)


# What a network reads ---------------------------------------------------------------------------


def test_images_are_normalised_as_the_network_was_trained(source: Source) -> None:
    fitted = fitted_images(images(1), source)
    assert (fitted.mean, fitted.std) == IMAGENET
    assert fitted.input_shape == (3, 16, 16)


def test_other_channels_are_refused(source: Source) -> None:
    with pytest.raises(NasError, match="must have 1 or 3 channels, got 2, for source"):
        fitted_images(images(2), source)


# What is kept and what is fitted ----------------------------------------------------------------


@pytest.fixture(scope="module")
def transfer(source: Source) -> Transfer:
    return Transfer(source, images(1), size=(16, 16), device="cpu")


def accuracy(transfer: Transfer, weights: dict[str, torch.Tensor]) -> float:
    graph = lower(transfer.architecture)
    model = build(graph)
    model.load_state_dict(weights)
    split = transfer.images.validation
    return measure(model, split, Classification(2), graph=graph, device="cpu")["accuracy"]


def test_a_new_last_layer_is_all_that_linear_changes(transfer: Transfer, source: Source) -> None:
    weights = transfer.linear()
    changed = {
        name
        for name, value in weights.items()
        if value.shape != source.weights[name].shape or not torch.equal(value, source.weights[name])
    }
    assert changed == {"head.linear.weight", "head.linear.bias"}
    # Which half is bright shows in features of random weights, too: chance is 0.5, 9 images.
    assert accuracy(transfer, weights) == transfer.curve(0)[-1].accuracy > 0.85


def test_the_curve_has_a_point_for_every_stage_and_the_last_layer(transfer: Transfer) -> None:
    curve = transfer.curve(0)
    assert [probed.stage for probed in curve] == [1, 2, 3, 4]
    assert curve == transfer.curve(0)


def test_probe_ends_the_network_at_a_stage(transfer: Transfer, source: Source) -> None:
    architecture, weights = transfer.probe(2)
    assert architecture.stages == source.architecture.stages[:2]
    graph = lower(architecture)
    model = build(graph)
    model.load_state_dict(weights)
    split = transfer.images.validation
    found = measure(model, split, Classification(2), graph=graph, device="cpu")["accuracy"]
    assert found == transfer.curve(0)[1].accuracy
    for name, value in weights.items():
        assert name.startswith("head.linear.") or torch.equal(value, source.weights[name])


def test_a_network_that_reads_one_size_only_is_refused_another() -> None:
    architecture = REFERENCES["siamese_branch"]()
    source = Source("siamese_branch", architecture, {}, (0.5,), (0.5,))
    with pytest.raises(NasError, match="siamese_branch, which has no classes"):
        Transfer(source, images(1), size=None, device="cpu")


def test_images_too_small_for_the_network_are_refused(source: Source) -> None:
    with pytest.raises(NasError, match="input_shape"):
        Transfer(source, images(1), size=(1, 1), device="cpu")


# What ``auto`` chooses --------------------------------------------------------------------------


def curve(*accuracies: float) -> list[Probed]:
    return [Probed(place, 8, value) for place, value in enumerate(accuracies, start=1)]


@pytest.mark.parametrize(
    ("accuracies", "count", "mode", "stages"),
    [
        ((0.5, 0.7, 0.8, 0.9), 999, "linear", 3),
        ((0.5, 0.7, 0.905, 0.9), 999, "linear", 3),  # within one standard error of 0.009
        ((0.5, 0.7, 0.95, 0.9), 999, "probe", 3),
        ((0.5, 0.95, 0.93, 0.9), 999, "probe", 2),
        ((0.5, 0.7, 0.8, 0.9), 1_000, "last", 1),
        ((0.5, 0.5, 0.6, 0.6, 0.7, 0.8, 0.9), 4_999, "last", 3),
        ((0.5, 0.7, 0.8, 0.9), 5_000, "full", 3),
        ((0.5, 0.7, 0.95, 0.9), 1_000, "full", 3),
    ],
)
def test_the_choice_depends_on_the_amount_of_data_and_on_the_curve(
    accuracies: tuple[float, ...], count: int, mode: str, stages: int
) -> None:
    found = choose(curve(*accuracies), training_images=count, validation_images=1_000)
    assert (found.mode, found.stages) == (mode, stages)
    assert f"{count:,} training images" in found.why


# Sources ----------------------------------------------------------------------------------------


def test_a_reference_network_takes_its_classes_from_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    architecture = REFERENCES["densenet_bc_100_12"]()
    head = replace(architecture.head, num_classes=7)  # type: ignore[call-arg]
    model = build(lower(replace(architecture, head=head)))
    save_file(model.state_dict(), path)
    source = source_of("densenet_bc_100_12", path)
    assert lower(source.architecture).output_shape == (7,)
    assert (source.mean, source.std) == IMAGENET
    assert source_of("densenet_bc_100_12", path, mean=(0.1, 0.2, 0.3)).mean == (0.1, 0.2, 0.3)
    with pytest.raises(NasError, match="--std must be 3 numbers"):
        source_of("densenet_bc_100_12", path, std=(1.0,))


def test_what_is_no_trained_network_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "none.safetensors"
    for name, weights, expected in (
        (NAME, None, "--weights must name a file"),
        (NAME, missing, "nas convert-weights"),
        (str(tmp_path), missing, "with a reference network only"),
        (str(tmp_path), None, "holds no architecture.json"),
    ):
        with pytest.raises(NasError, match=expected):
            source_of(name, weights)


def test_every_class_is_among_the_images_that_are_probed(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.transferring.network.PROBED_IMAGES", 20)
    data = images(1, classes=8, count=160)
    rare = data.train.labels == 7
    rare[torch.nonzero(rare)[0]] = False  # all but one
    few = Split(data.train.images[~rare], data.train.labels[~rare])
    for seed in range(5):
        chosen = _some(few, seed)
        assert len(chosen) == 20
        assert set(chosen.labels.tolist()) == set(range(8))
