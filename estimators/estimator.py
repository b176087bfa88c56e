"""The contract of estimators: from a graph to a score."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from torch import Tensor

from estimators.data import ImageData
from estimators.task import Metric, Task
from search_spaces.graph import Graph

Report = Callable[[float, Mapping[str, float]], bool]
STAND_IN = "score"


class EvaluationError(Exception):
    """A child that cannot be scored.

    Attributes:
        cause: ``nan`` (diverged), ``oom_device``, ``oom_host``, ``user_code``, ``data`` or
            ``plugin`` (an evaluation that breaks the contract below).
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way back from a worker process."""
        return _evaluation_error, (str(self), self.cause)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where training stands, to be continued at a higher fidelity.

    Attributes:
        step: Optimiser steps taken.
        weights: State dict of the network, on the CPU.
        optimizer: State dict of the optimiser, on the CPU; empty for fine-tuning, which begins, at
            step 0, with weights from elsewhere and keeps their batch-norm statistics.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an estimator found.

    Attributes:
        metrics: The run's objective and any others of ``Estimator.metrics``, finite, unrounded.
        weights: State dict the metrics belong to, on the CPU; None if nothing was trained.
        checkpoint: Where to continue for a higher fidelity; None if that is not possible.
        details: Further plain figures for the record, such as epochs.
    """

    metrics: Mapping[str, float]
    weights: Mapping[str, Tensor] | None = None
    checkpoint: Checkpoint | None = None
    details: Mapping[str, float] = field(default_factory=dict)


class Estimator(ABC):
    """Scores children.

    Life cycle: constructed with options of its own (keyword-only, plain values), ``prepare`` once
    in each run, then ``evaluate`` any number of times. A prepared estimator is pickled, once, to
    every worker process, so it holds no open files and nothing on a device before its first
    evaluation. It keeps nothing from one child to the next that changes a score: the same graph,
    fidelity and seed give the same evaluation on the same device.

    Attributes:
        stand_in: None where evaluations hold every metric of the task. Otherwise they hold one
            figure instead, called ``score``, and this says what its values mean: it guides a
            search, and the finalists are trained by ``training``, as no stand-in is a result.
    """

    stand_in: ClassVar[Metric | None] = None

    @final
    def metrics(self, task: Task) -> Mapping[str, Metric]:
        """What evaluations hold, by name."""
        return task.metrics if self.stand_in is None else {STAND_IN: self.stand_in}

    @abstractmethod
    def prepare(self, data: ImageData, task: Task) -> None:
        """Take the data and settle the recipe; what takes long is for ``Pretrained``.

        Raises:
            ValueError: If they cannot be used with the options.
        """

    @property
    @abstractmethod
    def recipe(self) -> Mapping[str, float | int | str]:
        """All that scores depend on beside graph, fidelity and seed; known after ``prepare``.

        Scores with equal recipes can be compared, and stand in for each other in the cache.
        """

    @abstractmethod
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
        """Score one child on the validation split.

        Args:
            graph: The child; its input channels are those of the data, its input size may be
                another (images are resized).
            fidelity: Share of full training, in (0, 1].
            seed: Decides initial weights, order of images and everything else at random.
            device: A torch device such as ``cpu`` or ``cuda:0``.
            start: Result of the same child, seed and recipe at a lower fidelity, or None.
            report: Called now and then with the fidelity reached and the metrics there; training
                stops early where it answers True.

        Raises:
            EvaluationError: If the child cannot be scored.
        """


@dataclass(frozen=True, slots=True)
class Population:
    """The networks that a search may ask for.

    Attributes:
        draw: One of them within the limits, each option of each decision as likely.
        extremes: The smallest and the largest that are known within the limits, by
            multiply-accumulates.
    """

    draw: Callable[[np.random.Generator], Graph]
    extremes: Callable[[], tuple[Graph, Graph]]


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What an estimator is handed for its training before a search.

    Attributes:
        population: The networks that it will be asked about.
        folder: A folder of its own within the run, for what it keeps; may not exist yet.
        seed: Decides everything at random.
        device: A torch device.
        tell: Is told, in a line, how far it is; every few seconds.
        stop: Whether to save what there is and return, asked before each step.
    """

    population: Population
    folder: Path
    seed: int
    device: str
    tell: Callable[[str], None]
    stop: Callable[[], bool]


class Pretrained(Estimator):
    """An estimator that trains once for all children, on networks of the space.

    In each session of a run ``pretrain`` is called after ``prepare``, before the first evaluation
    and before the estimator is sent to workers.
    """

    @abstractmethod
    def pretrain(self, given: Pretraining) -> float | None:
        """Train, or go on where an earlier session stopped, or read what it has finished.

        A training that was stopped and went on ends as one in a single piece.

        Returns:
            Seconds of training, over all sessions; None if it was told to stop before its end.

        Raises:
            EvaluationError: If the training diverges.
            OSError: If the folder cannot be written.
            ValueError: If what is in the folder is damaged or of another training.
        """


class Relative(ABC):
    """What an estimator is as well whose scores compare a child with networks of its space."""

    @property
    @abstractmethod
    def references(self) -> int:
        """How many networks it wants; 0 for none."""

    @abstractmethod
    def refer(self, graphs: Sequence[Graph]) -> None:
        """Take them, before ``prepare``: drawn from the space, within the run's limits."""


def _evaluation_error(message: str, cause: str) -> EvaluationError:
    return EvaluationError(message, cause=cause)
