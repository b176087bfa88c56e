"""One network trained to the end, by a recipe of its own; it goes on where it was interrupted."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from estimators.augmentation import Augmentation, mixed
from estimators.batch_gradients import IMAGES, MIXING, ORDER, BatchGradients
from estimators.data import ImageData, Split
from estimators.determinism import alone, seed_of
from estimators.estimator import EvaluationError
from estimators.full_recipe import FullRecipe
from estimators.lazy_images import expect, joined
from estimators.order import Order
from estimators.parameter_groups import Factors, check_factors, factor_of, freeze, groups
from estimators.resizing import resized
from estimators.scoring import average_statistics, measure, scored
from estimators.seeded_dropout import SeededDropout
from estimators.snapshot import Epoch, Snapshot
from estimators.task import Task
from estimators.trained_layers import trained_layer
from search_spaces.graph import Graph, Node
from search_spaces.modules import build, choose_paths
from search_spaces.primitives import Dropout

STATISTICS_BATCHES = 50
WARM_STEPS = 2  # that take longer than those that follow
PACE_STEPS, PACE_IMAGES = 6, 512  # that tell how long the others take
MOMENTUM = 0.9


@final
class FullTraining:
    """Trains one network to the end.

    Life cycle: construct; ``restore`` a snapshot if there is one; iterate over ``passes``, which
    may be left at any time; then ``weights``. A training that goes on from a snapshot takes the
    same steps as one in a single piece: order, augmentation, dropout and paths are drawn from the
    seed, the number of the step and the place of the piece in its batch alone.

    The result is the last weights, averaged over the last part of the training, never the best
    over passes. Batch norms of averaged weights have no statistics of their own; theirs are taken
    from some batches of training images as they are.

    Args:
        graph: The network.
        data: Its images.
        task: What is asked of them.
        recipe: How.
        seed: Decides every random choice, at least 0.
        device: A torch device.
        initial: State dict to begin with; None for fresh weights. Not changed.
        factors: Pairs of a prefix of parameter names and what the learning rate is multiplied by
            for them, at least 0. The longest prefix that matches a name counts, 1 where none does;
            a prefix ends where a part of a name ends (``stages.1``, not ``stage``). Parameters of
            factor 0 are frozen, and so are the statistics of batch norms below that prefix.

    Raises:
        ValueError: If the network does not fit the task, a prefix is of no parameter, or everything
            is frozen.
    """

    def __init__(  # noqa: PLR0913 - a training has that many parts
        self,
        graph: Graph,
        data: ImageData,
        task: Task,
        recipe: FullRecipe,
        *,
        seed: int,
        device: str,
        initial: Mapping[str, Tensor] | None = None,
        factors: Factors = (),
    ) -> None:
        if graph.output_shape != task.output_shape:
            raise ValueError(f"network must return {task.output_shape}, got {graph.output_shape}")
        self._task, self._recipe, self._seed, self._device = task, recipe, seed, device
        self._validation = None if recipe.merge_validation else data.validation
        self._graph = graph
        self._size = tuple(int(side) for side in graph.input_shape[1:])
        with alone(device, seed=seed, keep_memory=False):
            self._model = build(graph, _layer)
        if initial is not None:
            self._model.load_state_dict(dict(initial), strict=True)
        check_factors(self._model, factors)
        self._model.to(device).to(memory_format=torch.channels_last)
        self._frozen_norms = freeze(self._model, factors)
        self._optimizer = _optimizer(self._model, recipe, factors, recipe.of_layers(graph))
        self._average = {name: one.detach().clone() for name, one in self._trained()}
        train = _trained_on(data, recipe)
        self._images = train.images.to(device, memory_format=torch.channels_last)
        self._labels = train.labels.to(device)
        self._augment = Augmentation(
            data.mean, data.std, recipe.shift, recipe.flip, recipe.trivial, recipe.erasing
        )
        self._batch = min(recipe.batch_size, len(train))
        self._batches = len(train) // self._batch  # the odd rest is left out, another one each pass
        self._order = Order(
            len(train),
            self._batch,
            self._batches,
            lambda epoch: seed_of(seed, ORDER, epoch),
            device,
        )
        weights = task.balanced(train.labels) if recipe.class_weights == "balanced" else None
        self._gradients = BatchGradients(
            self._model,
            graph,
            task,
            recipe,
            frozen=self._frozen_norms,
            class_weights=None if weights is None else weights.to(device),
            batch=self._batch,
            seed=seed,
            device=device,
        )
        self._epoch, self._curve = 0, list[Epoch]()

    @property
    def curve(self) -> tuple[Epoch, ...]:
        """One entry for each pass that is done."""
        return tuple(self._curve)

    @property
    def done(self) -> bool:
        """Whether nothing is left to train: all passes, or too many without a better loss."""
        return self._epoch == self._recipe.epochs or self._has_stalled()

    def passes(self) -> Iterator[Epoch]:
        """Train, and yield after every pass over the images.

        Raises:
            EvaluationError: If the loss or a metric is not finite, or not even pieces of two images
                fit the memory of the device.
        """
        while not self.done:
            first = self._epoch * self._batches
            with self._gradients.in_threads():
                loss = sum(self._step(number) for number in range(first, first + self._batches))
                if not math.isfinite(loss):
                    raise EvaluationError(
                        f"the loss became {loss} in epoch {self._epoch + 1}", cause="nan"
                    )
                self._epoch += 1
                step = self._epoch * self._batches
                line = Epoch(
                    epoch=self._epoch,
                    step=step,
                    learning_rate=self._recipe.learning_rate * self._factor(step - 1),
                    loss=loss / self._batches,
                    validation=self.validate(),
                )
            self._curve.append(line)
            yield line

    def validate(self) -> dict[str, float]:
        """Metrics of the averaged weights on validation images; empty if they are trained on.

        Raises:
            EvaluationError: If one is not finite, or the device has no room.
        """
        if self._validation is None:
            return {}
        with self._alone(), _in_memory():
            model = self._averaged()
            metrics = measure(
                model, self._validation, self._task, graph=self._graph, device=self._device
            )
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise EvaluationError(f"{bad[0]} is {metrics[bad[0]]}", cause="nan")
        return metrics

    def weights(self) -> dict[str, Tensor]:
        """State dict of the averaged weights, on the CPU, in the plain layout.

        Raises:
            EvaluationError: If the device has no room.
        """
        with self._alone(), _in_memory():
            return _on_cpu(self._averaged().state_dict())

    def snapshot(self) -> Snapshot:
        """Where it stands; call it between passes."""
        tensors = {f"model.{name}": one for name, one in self._model.state_dict().items()}
        tensors |= {f"average.{name}": one for name, one in self._average.items()}
        names: dict[Tensor, str] = {one: name for name, one in self._trained()}
        for parameter, state in self._optimizer.state.items():
            for key, value in state.items():
                tensors[f"optimizer.{key}.{names[parameter]}"] = value
        return Snapshot(_on_cpu(tensors), self.curve, self._gradients.parts)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from where another training with the same arguments stood.

        Raises:
            ValueError: If it is of another network or recipe.
        """
        held = dict(snapshot.tensors)
        model, average, state = (
            {name.removeprefix(kind): one for name, one in held.items() if name.startswith(kind)}
            for kind in ("model.", "average.", "optimizer.")
        )
        if set(average) != set(self._average) or len(snapshot.curve) > self._recipe.epochs:
            raise ValueError("snapshot must be of this network and recipe")
        try:
            self._model.load_state_dict(model, strict=True)
        except RuntimeError as error:
            raise ValueError("snapshot must be of this network") from error
        parameters = dict(self._trained())
        for name, one in average.items():
            self._average[name].copy_(one)
        self._optimizer.state.clear()
        for name, value in state.items():
            key, _, parameter = name.partition(".")
            place = parameters[parameter]
            alike = value.clone() if value.ndim == 0 else torch.empty_like(place).copy_(value)
            self._optimizer.state[place][key] = alike.detach()
        self._epoch, self._curve = len(snapshot.curve), list(snapshot.curve)
        self._gradients.parts = snapshot.parts

    def try_steps(self, steps: int, clock: Callable[[], float]) -> float:
        """Take the first steps, and return how long they took by a clock.

        They are taken, so a training whose result is wanted is another one.

        Raises:
            EvaluationError: If the device has no room for them.
        """
        with self._gradients.in_threads():
            return self._timed(steps, clock)

    def seconds_per_pass(self) -> float:
        """How long a pass takes on this machine, by a few steps and some images that are scored.

        A training whose result is wanted is another one: see ``try_steps``.

        Raises:
            EvaluationError: If the device has no room for them.
        """
        with self._alone():
            with self._gradients.in_threads():
                self._timed(WARM_STEPS, time.monotonic)
                step = self._timed(PACE_STEPS, time.monotonic) / PACE_STEPS
            few = Split(self._images[:PACE_IMAGES], self._labels[:PACE_IMAGES])
            begin = time.monotonic()
            with _in_memory():
                scored(self._model, few, graph=self._graph, device=self._device)
            image = (time.monotonic() - begin) / len(few)
        images = 0 if self._validation is None else len(self._validation)
        images += min(STATISTICS_BATCHES, self._batches) * self._batch
        return step * self._batches + image * images

    def _timed(self, steps: int, clock: Callable[[], float]) -> float:
        begin = clock()
        for number in range(steps):
            self._step(number % (self._recipe.epochs * self._batches))
        return clock() - begin

    def _alone(self) -> AbstractContextManager[None]:
        return alone(self._device, seed=self._seed, threads=self._recipe.threads)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, one) for name, one in self._model.named_parameters() if one.requires_grad]

    def _has_stalled(self) -> bool:
        """Whether the validation loss has not become better for ``patience`` passes."""
        patience = self._recipe.patience
        losses = [line.validation["log_loss"] for line in self._curve if line.validation]
        return 0 < patience < len(losses) and min(losses[-patience:]) >= min(losses[:-patience])

    def _step(self, number: int) -> float:
        """One step of the optimizer; its loss."""
        chosen = self._order(number)
        generator = torch.Generator().manual_seed(seed_of(self._seed, IMAGES, number))
        images = self._augment(self._images[chosen], generator)
        expect(self._images, self._order, number + 1)
        rng = np.random.default_rng((self._seed, MIXING, number))
        recipe = self._recipe
        images, others, share = mixed(images, mixup=recipe.mixup, cutmix=recipe.cutmix, rng=rng)
        labels = self._labels[chosen]
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * group["factor"] * self._factor(number)
        loss = self._gradients(images, (labels, labels[others]), share, number)
        if recipe.clip:
            nn.utils.clip_grad_norm_([one for _, one in self._trained()], recipe.clip)
        self._optimizer.step()
        self._move_average(number)
        return loss

    def _factor(self, number: int) -> float:
        """What the peak rate is multiplied by: a linear rise, then half a cosine to zero."""
        total = self._recipe.epochs * self._batches
        rise = round(self._recipe.warmup * total)
        if number < rise:
            return (number + 1) / rise
        return (1 + math.cos(math.pi * (number - rise) / (total - rise))) / 2

    @torch.no_grad()
    def _move_average(self, number: int) -> None:
        """Exponential average of the weights; in the first steps it follows them faster."""
        steps = self._recipe.average * self._recipe.epochs * self._batches
        share = max(1 / max(1.0, steps), 10 / (number + 10))
        for name, one in self._trained():
            self._average[name].lerp_(one, share)

    @torch.no_grad()
    def _averaged(self) -> nn.Module:
        """A copy with the averaged weights and statistics of its own, in eval mode.

        The statistics are of the whole network without dropout, over training images that are not
        augmented: what the network sees when it is used.
        """
        model = copy.deepcopy(self._model).eval()
        choose_paths(model, None)
        for name, parameter in model.named_parameters():
            if name in self._average:
                parameter.copy_(self._average[name])
        norms = [
            module
            for name, module in model.named_modules()
            if isinstance(module, nn.BatchNorm2d) and name not in self._frozen_norms
        ]
        for norm in norms:
            average_statistics(norm)
            norm.train()
        if norms:
            for number in range(min(STATISTICS_BATCHES, self._batches)):
                model(resized(self._images[self._order(number)], self._size))
        return model.eval()


@contextmanager
def _in_memory() -> Iterator[None]:
    """Inside, what the device has no room for is a failure of the training."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EvaluationError(str(error), cause="oom_device") from error


def _layer(node: Node) -> nn.Module | None:
    if isinstance(node.primitive, Dropout):
        return SeededDropout(node.primitive.rate)
    return trained_layer(node)


def _trained_on(data: ImageData, recipe: FullRecipe) -> Split:
    if not recipe.merge_validation:
        return data.train
    one, other = data.train, data.validation
    return Split(joined(one.images, other.images), torch.cat([one.labels, other.labels]))


def _optimizer(
    model: nn.Module, recipe: FullRecipe, factors: Factors, by_layer: Mapping[str, float]
) -> torch.optim.Optimizer:
    parts = groups(
        model,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        factor=lambda name: factor_of(name, factors) * by_layer.get(name.rpartition(".")[0], 1.0),
    )
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parts, lr=recipe.learning_rate, momentum=MOMENTUM, nesterov=True, foreach=True
        )
    return torch.optim.AdamW(parts, lr=recipe.learning_rate, foreach=True)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, in the plain layout."""
    return {
        name: one.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, one in tensors.items()
    }
