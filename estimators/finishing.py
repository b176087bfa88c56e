"""Full training as an estimator, so that any worker can do it."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import final

from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, Report
from estimators.full_recipe import FullRecipe
from estimators.full_training import FullTraining
from estimators.snapshot import Snapshot
from estimators.task import Task
from search_spaces.graph import Graph
from search_spaces.identity import digest

WRITE_EVERY = 20.0  # seconds from one checkpoint to the next


@final
class Finishing(Estimator):
    """Trains a network to the end, and goes on where an earlier attempt was interrupted.

    Args:
        recipe: How.
        checkpoint: File that keeps where the training stands; removed by whoever named it. Where
            its folder does not exist, as on a machine that does not share the disk, none is kept.
    """

    def __init__(self, recipe: FullRecipe, checkpoint: Path) -> None:
        self._recipe, self._checkpoint = recipe, checkpoint
        self._prepared: tuple[ImageData, Task] | None = None

    def prepare(self, data: ImageData, task: Task) -> None:
        """Take the data; see the contract."""
        self._prepared = data, task

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        """The full recipe."""
        data, _ = self._ready()
        return {"estimator": "full training", **self._recipe.document(), "data": data.fingerprint}

    def evaluate(
        self,
        graph: Graph,
        *,
        fidelity: float,
        seed: int,
        device: str,
        start: Checkpoint | None = None,
        report: Report | None = None,
    ) -> Evaluation:
        """Train one network to the end; ``fidelity`` and ``start`` have no meaning here.

        Raises:
            EvaluationError: If it diverges, or does not fit the memory of the device.
        """
        data, task = self._ready()
        training = FullTraining(graph, data, task, self._recipe, seed=seed, device=device)
        of = self._name(graph, seed)
        self._go_on(training, of)
        written = time.monotonic()
        for _ in training.passes():
            if not training.done and time.monotonic() - written > WRITE_EVERY:
                self._write(training.snapshot().to_bytes(of=of))
                written = time.monotonic()
        metrics = training.validate()
        return Evaluation(metrics, training.weights(), details={"epochs": len(training.curve)})

    def _name(self, graph: Graph, seed: int) -> str:
        """What a checkpoint is of."""
        parts = [dict(self.recipe), digest(graph), seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _go_on(self, training: FullTraining, of: str) -> None:
        """Take up what is there; a file of another training or a damaged one is left aside."""
        with suppress(OSError, ValueError):
            training.restore(Snapshot.from_bytes(self._checkpoint.read_bytes(), of=of))

    def _write(self, data: bytes) -> None:
        """Replace the checkpoint; a training goes on without one where it cannot be written."""
        temporary = self._checkpoint.with_name(f"{self._checkpoint.name}.tmp-{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # a name that is on the disk before its data holds nothing
            temporary.replace(self._checkpoint)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _ready(self) -> tuple[ImageData, Task]:
        if self._prepared is None:
            raise RuntimeError("prepare must be called before the first evaluation")
        return self._prepared
