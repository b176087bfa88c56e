"""Short training: the honest estimator."""

import gc
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import final

import numpy as np
import torch

from estimators.child_training import ChildTraining, Recipe
from estimators.data import ImageData, Split
from estimators.determinism import alone
from estimators.estimator import Checkpoint, Estimator, Evaluation, EvaluationError, Report
from estimators.folds import fold, fold_positions, identity
from estimators.parameter_groups import FACTORS_OF_ONE, FamilyFactors
from estimators.splits import Positions
from estimators.task import Task
from estimators.ways import (
    AUTO,
    FLOAT32,
    TIMED_PIXELS,
    Way,
    candidates,
    fastest,
)
from search_spaces.families import family_of
from search_spaces.graph import Graph

SMALLEST_HALVED = 4  # images of a batch: batch norms need two values
CLASS_WEIGHTS = ("none", "balanced")
EPOCH_IMAGES = 10_000  # at most, by default; docs/estimators.md says why
MOST_FOLDS = 20
DROP_PATH = 0.15  # arXiv:1605.07648, section 4
# A training of fewer steps than this is too short for it: after 57 steps on the digits the rate of
# the paper costs networks of 3 columns 0.08 of accuracy and those of 4 columns 0.3, after 152
# steps 0.01 and 0.03.
STEPS_WITH_DROP_PATH = 1_000
TIMED_STEPS = 2  # of one measurement


# Parts that earlier recipes had not, with what they mean there: so runs of old go on.
_SINCE = {"class_weights": "none", "folds": 1, "epoch_images": 0, "ways": "", **FACTORS_OF_ONE}


@final
class Training(Estimator):
    """Trains each child alone and scores its last weights on the validation split.

    Where the device has no room for a child's batches, its training begins again with each batch
    in two halves whose gradients are added up: the same steps on the same images, but batch norms
    take their statistics from halves. ``details`` then hold ``batch_parts``, 2.

    The score is that of the last step, never the best over epochs. AdamW with one recipe for
    all children, rates as in ``Schedule``.

    Args:
        epochs: Of ``epoch_images`` each, at fidelity 1; by default as many as make 50 steps, at
            least 3.
        batch_size: Images per step, at most the number of training images.
        learning_rate: Peak rate of AdamW, in (0, 10].
        weight_decay: Decoupled weight decay, in [0, 10]; biases and norms have none.
        drop_path: Probability, in [0, 1), that an input of a mean is dropped, in half of the
            steps; the others take one column of the network. It concerns networks with means
            alone; 0 switches it off. By default that of FractalNet, 0.15 (arXiv:1605.07648),
            where full training has at least 1,000 steps, and 0 where it has fewer.
        stochastic_depth: Probability, in [0, 1), that the last residual branch is left out for an
            image, linearly less for those before it (arXiv:1603.09382); see ``Paths.draw``.
        precision: ``float32``, or ``bfloat16`` for mixed precision while training; ``auto`` for
            what a run times to be faster for a family of blocks (``fastest_way``, ``settle``), and
            ``float32`` where nothing was timed.
        layout: ``channels_last`` or ``contiguous``; ``auto`` likewise, and ``channels_last`` where
            nothing was timed.
        class_weights: ``balanced`` for a training loss in which rare classes count as much as
            frequent ones; ``none`` for one in which images do.
        folds: 1, or from 2 to 20 for cross-validation, at as many times the cost: training and
            validation images together are cut into so many folds, stratified, groups whole; a
            network is trained for each on all the others and scored on it. Metrics are the mean;
            weights are those of the first fold's network. For sets of less than about 2,000
            images, whose validation images alone are too few to tell children apart.
        mbconv_rate_factor: What the learning rate is multiplied by for MBConv blocks, from 0.01 to
            100; likewise for other families.
        residual_rate_factor: Likewise.
        dense_rate_factor: Likewise.
        fractal_rate_factor: Likewise.
        epoch_images: Images of an epoch, at least 2; the next epoch goes on with others until all
            had their turn. By default 10,000 where ``epochs`` is left out too, else all. Where
            there are not more than that, an epoch is a pass over all of them.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(  # noqa: PLR0913 - options, by name
        self,
        *,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.02,
        drop_path: float | None = None,
        stochastic_depth: float = 0.0,
        precision: str = AUTO,
        layout: str = AUTO,
        class_weights: str = "none",
        folds: int = 1,
        mbconv_rate_factor: float = 1.0,
        residual_rate_factor: float = 1.0,
        dense_rate_factor: float = 1.0,
        fractal_rate_factor: float = 1.0,
        epoch_images: int | None = None,
    ) -> None:
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        if batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, got {batch_size}")
        if not 0 < learning_rate <= 10:
            raise ValueError(f"learning_rate must be in (0, 10], got {learning_rate}")
        if not 0 <= weight_decay <= 10:
            raise ValueError(f"weight_decay must be in [0, 10], got {weight_decay}")
        if drop_path is not None and not 0 <= drop_path < 1:
            raise ValueError(f"drop_path must be in [0, 1), got {drop_path}")
        if not 0 <= stochastic_depth < 1:
            raise ValueError(f"stochastic_depth must be in [0, 1), got {stochastic_depth}")
        self._candidates = candidates(precision, layout)
        if class_weights not in CLASS_WEIGHTS:
            known = " or ".join(CLASS_WEIGHTS)
            raise ValueError(f"class_weights must be {known}, got {class_weights!r}")
        if not 1 <= folds <= MOST_FOLDS:
            raise ValueError(f"folds must be from 1 to {MOST_FOLDS}, got {folds}")
        self._epoch_images = _most_images(epoch_images, epochs)
        self._class_weights, self._folds = class_weights, folds
        self._factors = FamilyFactors(
            mbconv_rate_factor=mbconv_rate_factor,
            residual_rate_factor=residual_rate_factor,
            dense_rate_factor=dense_rate_factor,
            fractal_rate_factor=fractal_rate_factor,
        )
        self._factors.check_range()
        self._options = (epochs, batch_size, learning_rate, weight_decay)
        self._drop_path, self._stochastic_depth = drop_path, stochastic_depth
        self._prepared: tuple[ImageData, Task, Recipe] | None = None
        self._ways: Mapping[str, Way] = {}
        self._scored: tuple[Positions, ...] = ()  # by each fold

    def prepare(self, data: ImageData, task: Task) -> None:
        """Take the data and settle the recipe; see the contract.

        Raises:
            ValueError: If the images cannot be cut into so many folds.
        """
        epochs, batch_size, learning_rate, weight_decay = self._options
        images = len(data.train)
        if self._folds > 1:
            self._scored = fold_positions(data, self._folds)
            images += len(data.validation) - max(map(len, self._scored))
        part = 0
        if self._epoch_images is not None and self._epoch_images < images:
            images = part = self._epoch_images
        batch_size = min(batch_size, images)
        if epochs is None:
            epochs = max(3, math.ceil(50 * batch_size / images))
        drop_path = self._drop_path
        if drop_path is None:
            long = epochs * (images // batch_size) >= STEPS_WITH_DROP_PATH
            drop_path = DROP_PATH if long else 0.0
        rates = learning_rate, weight_decay, drop_path, self._stochastic_depth
        recipe = Recipe(
            epochs,
            batch_size,
            *rates,
            precision=self._candidates[0].precision,
            layout=self._candidates[0].layout,
            class_weights=self._class_weights,
            folds=self._folds,
            **asdict(self._factors),
            epoch_images=part,
        )
        self._prepared = data, task, recipe

    @property
    def is_open(self) -> bool:
        """Whether ``fastest_way`` is worth asking: options leave a choice, training is long."""
        data, _, recipe = self._ready()
        images = self._folds * recipe.epochs * (recipe.epoch_images or len(data.train))
        pixels = images * math.prod(data.input_shape[1:])
        return len(self._candidates) > 1 and pixels >= TIMED_PIXELS

    def fastest_way(self, graph: Graph, *, device: str) -> str:
        """The fastest of the ways that options leave open, timed on a few steps.

        CPU time on a CPU. Unless another one is clearly faster, or where there is no room to tell,
        it is the one that is taken untimed.

        Args:
            graph: A network like those that are to be trained so.
            device: ``cpu`` or one of CUDA.
        """
        data, task, recipe = self._ready()
        count = TIMED_STEPS * recipe.batch_size
        few = replace(data, train=Split(data.train.images[:count], data.train.labels[:count]))
        plain = replace(recipe, class_weights="none")  # a class may not be among so few
        with alone(device, seed=0):
            children: dict[Way, ChildTraining] = {}
            try:
                children = {
                    way: ChildTraining(
                        graph, few, task, replace(plain, **asdict(way)), seed=0, device=device
                    )
                    for way in self._candidates
                }
                seconds = {way: one.seconds for way, one in children.items()}
                return str(fastest(self._candidates, seconds, steps=TIMED_STEPS))
            except (torch.OutOfMemoryError, EvaluationError):
                return str(self._candidates[0])
            finally:  # workers on the same device need what they hold
                children.clear()
                gc.collect()
                torch.cuda.empty_cache()

    def settle(self, ways: Mapping[str, str]) -> None:
        """Train networks in the way of their family, after ``prepare``.

        A network's family is the one with most of its multiply-accumulates. Ways that options
        exclude are not taken.

        Args:
            ways: What ``fastest_way`` returned, by family.

        Raises:
            ValueError: If one is no way.
        """
        data, task, recipe = self._ready()
        found = {family: Way.of(text) for family, text in sorted(ways.items())}
        self._ways = {family: way for family, way in found.items() if way in self._candidates[1:]}
        text = ", ".join(f"{family}: {way}" for family, way in self._ways.items())
        self._prepared = data, task, replace(recipe, ways=text)

    def precision_of(self, graph: Graph) -> str:
        """What a network is trained in: by options, or as its family where bfloat16 is faster.

        ``auto`` where options leave it open and float32 is only what such a network is trained in.
        """
        precision = self._recipe_of(graph).precision
        is_open = len({way.precision for way in self._candidates}) > 1
        return AUTO if is_open and precision == FLOAT32 else precision

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        """The resolved options."""
        data, _, recipe = self._ready()
        settled = {
            name: value
            for name, value in asdict(recipe).items()
            if name not in _SINCE or value != _SINCE[name]
        }
        known_by = data.fingerprint if recipe.folds == 1 else identity(data)
        return {"estimator": "training", **settled, "data": known_by}

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
        """Train one child and score it; see the contract."""
        _, task, _ = self._ready()
        if not 0 < fidelity <= 1:
            raise ValueError(f"fidelity must be in (0, 1], got {fidelity}")
        if graph.output_shape != task.output_shape:
            raise ValueError(f"network must return {task.output_shape}, got {graph.output_shape}")
        once = None if report is None else _each_once(report)
        with alone(device):
            try:
                return self._fitted(
                    graph, fidelity, seed=seed, device=device, start=start, report=once
                )
            except torch.OutOfMemoryError as error:
                raise EvaluationError(str(error), cause="oom_device") from error

    def _fitted(
        self,
        graph: Graph,
        fidelity: float,
        *,
        seed: int,
        device: str,
        start: Checkpoint | None,
        report: Report | None,
    ) -> Evaluation:
        """Train with whole batches or, where the device has no room for them, with halves.

        Raises:
            torch.OutOfMemoryError: If there is no room for halves either.
        """
        _, _, recipe = self._ready()
        train = partial(
            self._trained, graph, fidelity, seed=seed, device=device, start=start, report=report
        )
        try:
            return train(parts=1)
        except torch.OutOfMemoryError:
            if recipe.batch_size < SMALLEST_HALVED:
                raise
        gc.collect()  # what the first training holds on the device is needed
        torch.cuda.empty_cache()  # does nothing where there is no such device
        return train(parts=2)

    def _trained(  # noqa: PLR0913 - what evaluate is handed, and parts
        self,
        graph: Graph,
        fidelity: float,
        *,
        seed: int,
        device: str,
        start: Checkpoint | None,
        report: Report | None,
        parts: int,
    ) -> Evaluation:
        """Train with batches in so many parts."""
        if self._scored:
            return self._cross_validated(graph, fidelity, seed=seed, device=device, parts=parts)
        data, task, _ = self._ready()
        recipe = self._recipe_of(graph)
        child = ChildTraining(graph, data, task, recipe, seed=seed, device=device, parts=parts)
        return child.evaluate(fidelity, start=start, report=report)

    def _cross_validated(
        self, graph: Graph, fidelity: float, *, seed: int, device: str, parts: int
    ) -> Evaluation:
        """The mean over all folds, with the weights of the first; it cannot be continued."""
        data, task, _ = self._ready()
        recipe = self._recipe_of(graph)
        found = []
        for scored in self._scored:
            images = fold(data, scored)
            child = ChildTraining(
                graph, images, task, recipe, seed=seed, device=device, parts=parts
            )
            found.append(child.evaluate(fidelity, start=None, report=None))
        metrics = {
            name: float(np.mean([one.metrics[name] for one in found])) for name in found[0].metrics
        }
        return Evaluation(metrics, found[0].weights, details=found[0].details)

    def _recipe_of(self, graph: Graph) -> Recipe:
        """The recipe in the way of the network's family."""
        _, _, recipe = self._ready()
        way = self._ways.get(family_of(graph)) if self._ways else None
        return recipe if way is None else replace(recipe, **asdict(way))

    def _ready(self) -> tuple[ImageData, Task, Recipe]:
        if self._prepared is None:
            raise RuntimeError("prepare must be called before the first evaluation")
        return self._prepared


def _most_images(given: int | None, epochs: int | None) -> int | None:
    """How many images an epoch may have, as the user has said or not; None for all.

    Raises:
        ValueError: If it is out of range.
    """
    if given is None:
        return EPOCH_IMAGES if epochs is None else None
    if given < 2:
        raise ValueError(f"epoch_images must be at least 2, got {given}")
    return given


def _each_once(report: Report) -> Report:
    """A report that keeps from the run what it was told before, by a training that began again."""
    told = 0.0

    def once(fidelity: float, metrics: Mapping[str, float]) -> bool:
        nonlocal told
        if fidelity <= told:
            return False  # as it was answered then, or training had stopped
        told = fidelity
        return report(fidelity, metrics)

    return once
