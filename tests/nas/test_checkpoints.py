"""Checkpoints on the disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from estimators.data import from_arrays
from estimators.estimator import Checkpoint
from estimators.task import Classification
from estimators.training import Training
from nas.checkpoints import forget, keep_checkpoint, read_checkpoint
from nas.errors import NasError
from nas.readings import Kept
from search_spaces.architecture import lower
from search_spaces.space import SearchSpace


@pytest.fixture
def training(images: tuple[np.ndarray, np.ndarray]) -> Training:
    training = Training(epochs=6, batch_size=16)
    training.prepare(from_arrays(*images), Classification(2))
    return training


def test_a_training_goes_on_from_the_disk_as_if_it_had_never_paused(
    training: Training, mini: type[SearchSpace], tmp_path: Path
) -> None:
    space = mini((1, 8, 8), 2)
    graph = lower(space.architecture(space.genome.unrank(3)))
    common: dict[str, Any] = {"seed": 5, "device": "cpu"}
    whole = training.evaluate(graph, fidelity=1.0, **common)
    part = training.evaluate(graph, fidelity=1 / 3, **common)
    assert part.checkpoint is not None
    kept = keep_checkpoint(tmp_path, "3-rung-0", part.checkpoint)
    start = read_checkpoint(tmp_path, kept)
    assert start is not None
    assert start.step == part.checkpoint.step > 0
    again = training.evaluate(graph, fidelity=1.0, start=start, **common)
    assert again.metrics == whole.metrics
    assert whole.weights is not None
    assert again.weights is not None
    for name, value in whole.weights.items():
        assert torch.equal(again.weights[name], value), name


def small(**optimizer: Any) -> Checkpoint:
    parts = {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"lr": 0.1}]}
    return Checkpoint(3, {"a.b": torch.arange(4)}, {**parts, **optimizer})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    kept = keep_checkpoint(tmp_path, "0-rung-0", small())
    found = read_checkpoint(tmp_path, kept)
    assert found is not None
    assert found.step == 3
    assert torch.equal(found.weights["a.b"], torch.arange(4))
    assert found.optimizer == small().optimizer


@pytest.mark.parametrize(
    "optimizer", [{"more": 1}, {"state": {0: {"x": object()}}}, {"param_groups": [{"f": print}]}]
)
def test_what_is_no_plain_value_is_not_kept(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="optimizer must hold"):
        keep_checkpoint(tmp_path, "0-rung-0", small(**optimizer))
    assert not list(tmp_path.iterdir())


def test_one_that_has_gone_or_changed_is_none(tmp_path: Path) -> None:
    kept = keep_checkpoint(tmp_path, "0-rung-0", small())
    assert read_checkpoint(tmp_path, Kept(kept.file, "0" * 64)) is None
    forget(tmp_path, kept)
    forget(tmp_path, kept)
    assert read_checkpoint(tmp_path, kept) is None


@pytest.mark.parametrize("name", ["../secret", "trials/..", "trials/.", "trials/a\0b", "trials"])
def test_a_journal_cannot_name_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(NasError, match="must lie in trials/"):
        read_checkpoint(tmp_path, Kept(name, "0" * 64))
