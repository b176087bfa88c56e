"""One child in training, by the recipe that all children of a run have."""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from estimators.data import ImageData
from estimators.determinism import seed_of
from estimators.estimator import Checkpoint, Evaluation, EvaluationError, Report
from estimators.lazy_images import expect
from estimators.order import Order
from estimators.parameter_groups import FamilyFactors, groups
from estimators.resizing import resized
from estimators.schedule import Schedule
from estimators.scoring import average_statistics, keep_statistics, measure
from estimators.task import Task
from estimators.trained_layers import trained_layer
from estimators.ways import BFLOAT16, CHANNELS_LAST, CONTIGUOUS, FLOAT32
from search_spaces.graph import Graph
from search_spaces.modules import build, choose_paths
from search_spaces.paths import PathChoice, Paths

STATISTICS_BATCHES = 20
_FORMATS = {CHANNELS_LAST: torch.channels_last, CONTIGUOUS: torch.contiguous_format}


@final
@dataclass(frozen=True, slots=True)
class Recipe(FamilyFactors):
    """How every child is trained.

    Attributes:
        epochs: Epochs at fidelity 1.
        batch_size: Images per step.
        learning_rate: Peak rate of AdamW.
        weight_decay: Decoupled weight decay of weights; biases and norms have none.
        drop_path: Probability that an input of a mean is dropped; see ``Paths.draw``.
        stochastic_depth: Probability that the last residual branch is left out; likewise.
        warmup: Share of the full training's steps until the peak rate.
        decay: Share of the steps that bring the rate down to zero.
        class_weights: ``none``, or ``balanced``: classes count the same in the training loss,
            see ``Task.balanced``.
        folds: Networks trained for each child; its metrics are their mean.
        epoch_images: Images of an epoch; 0 for all.
        precision: What convolutions and linear layers compute in while training; weights, sums
            of batch norms and scores are float32.
        layout: How feature maps lie in memory; it changes sums in their last digits.
        ways: Precision and layout of block families that were timed to be faster otherwise.
        statistics: Which steps the running statistics of batch norms come from.

    Factors of families multiply the learning rate of their blocks.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    drop_path: float = 0.0
    stochastic_depth: float = 0.0
    warmup: float = 0.05
    decay: float = 0.4
    class_weights: str = "none"
    folds: int = 1
    epoch_images: int = 0
    precision: str = FLOAT32
    layout: str = CHANNELS_LAST
    ways: str = ""
    statistics: str = "mean over the decay; of the whole network where paths are dropped"


@final
class ChildTraining:
    """One network in training."""

    def __init__(  # noqa: PLR0913 - a training, and how it is cut
        self,
        graph: Graph,
        data: ImageData,
        task: Task,
        recipe: Recipe,
        *,
        seed: int,
        device: str,
        parts: int = 1,
    ) -> None:
        torch.manual_seed(seed)
        self._parts = parts
        self._data, self._task, self._recipe = data, task, recipe
        self._seed, self._device = seed, device
        self._mixed = recipe.precision == BFLOAT16
        self._graph = graph
        self._size = tuple(int(side) for side in graph.input_shape[1:])
        # Steps of a pass and of an epoch; the odd rest is left out.
        self._pass = max(1, len(data.train) // recipe.batch_size)
        self._batches = self._pass
        if recipe.epoch_images:
            self._batches = min(self._pass, max(1, recipe.epoch_images // recipe.batch_size))
        total = recipe.epochs * self._batches
        self._schedule = Schedule(total, round(recipe.warmup * total), recipe.decay)
        paths = Paths(graph)
        dropping = recipe.drop_path > 0 and paths.columns > 1
        thinning = recipe.stochastic_depth > 0 and paths.residuals
        self._paths = paths if dropping or thinning else None
        layout = _FORMATS[recipe.layout]
        self._model = build(graph, trained_layer).to(device).to(memory_format=layout)
        self._optimizer = adamw(self._model, recipe, recipe.of_layers(graph))
        # A checkpoint of before factors brings groups without them.
        self._factors = [float(group["factor"]) for group in self._optimizer.param_groups]
        self._fine_tuning = False
        self._images = data.train.images.to(device, memory_format=layout)
        self._labels = data.train.labels.to(device)
        self._order = Order(
            len(self._labels),
            recipe.batch_size,
            self._pass,
            lambda turn: seed_of(seed, 0, turn),
            device,
        )
        balanced = recipe.class_weights == "balanced"
        self._weights = task.balanced(data.train.labels).to(device) if balanced else None

    def evaluate(
        self, fidelity: float, *, start: Checkpoint | None, report: Report | None
    ) -> Evaluation:
        """Train up to ``fidelity`` and score the last weights."""
        step = 0
        constant, every = self._schedule.steps(fidelity)
        if start is not None:
            if start.step > constant:
                raise ValueError(f"start must be of a lower fidelity, got step {start.step}")
            self._model.load_state_dict(start.weights)
            self._fine_tuning = not start.optimizer
            if not self._fine_tuning:
                self._optimizer.load_state_dict(copy.deepcopy(dict(start.optimizer)))
            step = start.step
        stopped = False
        while step < constant and not stopped:
            end = min(constant, (step // self._batches + 1) * self._batches)
            self._train(step, end, fidelity)
            step = end
            if report is not None and step < constant:
                stopped = report(step / self._schedule.total, self._score(self._whole()))
        checkpoint = self._checkpoint(step)
        reached = fidelity
        if stopped:
            reached = step / self._schedule.total
            constant, every = step, step  # nothing more to train
        if step < every and not self._fine_tuning:
            average_statistics(self._model)
        self._train(step, every, fidelity)
        model = self._whole()
        details = {"fidelity": reached, "steps": float(every)}
        if self._parts > 1:
            details["batch_parts"] = float(self._parts)
        return Evaluation(self._score(model), weights_of(model), checkpoint, details)

    def _whole(self) -> nn.Module:
        """The network as it is scored.

        Where paths are dropped, batch norms see values that the whole network never has, and
        those of a column that was not run see none: with such statistics a child can be at
        chance. A copy then takes them from some batches that go through the whole network.
        """
        if self._paths is None:
            return self._model
        model = copy.deepcopy(self._model).train()
        choose_paths(model, None)
        average_statistics(model)
        with torch.no_grad():
            for number in range(STATISTICS_BATCHES):
                model(self._resized(self._images[self._order(number)]))
        return model

    def _train(self, step: int, end: int, fidelity: float) -> None:
        """Take the steps from ``step`` to ``end``.

        Raises:
            EvaluationError: If the loss is not finite.
        """
        self._model.train()
        if self._fine_tuning:
            keep_statistics(self._model)
        total = torch.zeros((), device=self._device)
        for number in range(step, end):
            rate = self._recipe.learning_rate * self._schedule.factor(number, fidelity)
            for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
                group["lr"] = rate * factor
            chosen = self._order(number)
            # Dropout draws from the global generator: seeded per step, so that a continued
            # training takes the same steps as one in a single piece.
            torch.manual_seed(seed_of(self._seed, 1, number))
            choice = self._drawn(number)
            self._optimizer.zero_grad(set_to_none=True)
            images, labels = self._images[chosen], self._labels[chosen]
            expect(self._images, self._order, number + 1)
            for part in torch.tensor_split(torch.arange(len(chosen)), self._parts):
                first, last = int(part[0]), int(part[-1]) + 1
                if choice is not None:
                    choose_paths(self._model, choice.of_images(first, last))
                share = self._share(labels[first:last], labels)
                total += self._backward(images[first:last], labels[first:last], share)
            self._optimizer.step()
        if not math.isfinite(float(total)):
            raise EvaluationError(f"the loss became {float(total)} by step {end}", cause="nan")

    def _share(self, part: Tensor, batch: Tensor) -> float:
        """What some images of a batch, by their labels, count in its loss."""
        if self._parts == 1:
            return 1.0
        if self._weights is None:
            return len(part) / len(batch)
        return float(self._weights[part].sum() / self._weights[batch].sum())

    def _backward(self, images: Tensor, labels: Tensor, share: float) -> Tensor:
        """Add the gradients of a share of a batch; what it adds to the batch's loss."""
        with torch.autocast(self._images.device.type, torch.bfloat16, enabled=self._mixed):
            outputs = self._model(self._resized(images))
        loss = self._task.loss(outputs.float(), labels, self._weights)
        if share < 1:
            loss = loss * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _drawn(self, number: int) -> PathChoice | None:
        """The paths of one step: of seed and step alone, so that a training can go on."""
        if self._paths is None:
            return None
        return self._paths.draw(
            np.random.default_rng((self._seed, 2, number)),
            drop_path=self._recipe.drop_path,
            stochastic_depth=self._recipe.stochastic_depth,
            batch=self._recipe.batch_size,
        )

    def _score(self, model: nn.Module) -> dict[str, float]:
        """Metrics of the network on the validation split.

        Raises:
            EvaluationError: If a metric is not finite.
        """
        metrics = measure(
            model, self._data.validation, self._task, graph=self._graph, device=self._device
        )
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise EvaluationError(f"{bad[0]} is {metrics[bad[0]]}", cause="nan")
        return metrics

    def _resized(self, images: Tensor) -> Tensor:
        return resized(images, self._size)

    def _checkpoint(self, step: int) -> Checkpoint:
        optimizer = self._optimizer.state_dict()
        state = {
            parameter: {name: value.detach().to("cpu", copy=True) for name, value in held.items()}
            for parameter, held in optimizer["state"].items()
        }
        groups = copy.deepcopy(optimizer["param_groups"])
        return Checkpoint(step, weights_of(self._model), {"state": state, "param_groups": groups})

    def seconds(self, steps: int) -> float:
        """How long the first few steps take: CPU time on a CPU, else wall time of all of it."""
        on_cpu = self._device == "cpu"
        clock = time.thread_time if on_cpu else time.perf_counter
        begin = clock()
        self._train(0, steps, 1.0)
        if not on_cpu:
            torch.accelerator.synchronize(self._device)
        return clock() - begin


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict, on the CPU, in the plain layout."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def adamw(model: nn.Module, recipe: Recipe, by_layer: Mapping[str, float]) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101) that decays weights of two or more dimensions only."""
    parts = groups(
        model,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        factor=lambda name: by_layer.get(name.rpartition(".")[0], 1.0),
    )
    return torch.optim.AdamW(parts, lr=recipe.learning_rate, foreach=True)
