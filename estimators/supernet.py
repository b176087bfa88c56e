"""Weight sharing: one network of many children, trained once, scores each of them."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from estimators.data import ImageData
from estimators.determinism import alone
from estimators.estimator import (
    STAND_IN,
    Checkpoint,
    Evaluation,
    EvaluationError,
    Pretrained,
    Pretraining,
    Relative,
    Report,
)
from estimators.filling import Source, read_source, shares_of
from estimators.inherited import STATISTICS_IMAGES, inherited
from estimators.supernet_training import (
    AUTO,
    SAMPLINGS,
    UNIFORM,
    SupernetRecipe,
    SupernetTraining,
)
from estimators.task import Metric, Task
from estimators.training import DROP_PATH, STEPS_WITH_DROP_PATH
from estimators.weight_bank import ELASTIC, SEPARATE, SHARINGS, WeightBank
from search_spaces.graph import Graph

LEAST_STEPS, LEAST_EPOCHS = 1_000, 10
COMPARED = 16  # networks of the space that one to fill it from is compared with


@final
class Supernet(Pretrained, Relative):
    """Trains shared weights once and scores each child with its part of them.

    Batch norms of a child take their statistics anew from training images, on a copy: scoring
    never changes the shared weights. The score is the accuracy that this yields. It says how a
    child stands among others, not how good it is alone, so it is a stand-in: finalists are trained
    by ``training`` and judged by that. ``fidelity`` has no bearing on it.

    Args:
        sharing: ``elastic``: one largest weight per layer, children take a part of it;
            ``separate``: one weight for each form of a block; ``auto``: separate for networks of
            cells, elastic for others. See ``search_spaces.slots``.
        sampling: ``uniform``: one child a step, each option as likely; ``sandwich``: the largest,
            the smallest and two others a step, the others taught by the largest.
        filled_from: A trained network whose weights the shared ones begin with, as far as it has
            them: an exported folder, a run's, or ``REFERENCE:FILE`` with its state dict as
            safetensors; see ``estimators.filling``. Sharing is elastic then. None for fresh ones.
        epochs: Passes over the training images; by default as many as make 1,000 steps, at least
            10. It follows from the data alone, so that a run can be extended. At least 1, with
            ``filled_from`` at least 0.
        batch_size: Images per step, at most the number of training images.
        learning_rate: Peak rate of AdamW, in (0, 10]; falls linearly to zero.
        weight_decay: Decoupled weight decay, in [0, 10]; biases and norms have none.
        drop_path: Probability, in [0, 1), that an input of a mean is dropped in a step, as for
            ``training``; by default 0.15 from 1,000 steps on and 0 below.
        stochastic_depth: Probability, in [0, 1), that the last residual branch is left out.

    Raises:
        ValueError: If a value is out of range.

    Source: single paths, drawn uniformly, and batch norms: SPOS (arXiv:1904.00420), sections 3.2
    and 3.4. Sandwich and its distillation: slimmable networks (arXiv:1903.05134), sections 3.1
    and 3.2. Deviations: AdamW in place of SGD; children within the limits alone.
    """

    stand_in: ClassVar[Metric | None] = Metric("maximize", 0, 1)

    def __init__(  # noqa: PLR0913 - options, by name
        self,
        *,
        sharing: str = AUTO,
        sampling: str = UNIFORM,
        filled_from: str | None = None,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.02,
        drop_path: float | None = None,
        stochastic_depth: float = 0.0,
    ) -> None:
        if sharing not in {AUTO, *SHARINGS}:
            raise ValueError(f"sharing must be {AUTO}, {' or '.join(SHARINGS)}, got {sharing!r}")
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be {' or '.join(SAMPLINGS)}, got {sampling!r}")
        if filled_from is not None and sharing == SEPARATE:
            raise ValueError(f"filled_from needs sharing {ELASTIC}, got {sharing}; leave one out")
        least = 1 if filled_from is None else 0
        if epochs is not None and epochs < least:
            raise ValueError(f"epochs must be at least {least}, got {epochs}")
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
        sharing = sharing if filled_from is None else ELASTIC
        self._words, self._lengths = (sharing, sampling), (epochs, batch_size)
        self._filled_from = filled_from
        self._source: Source | None = None
        self._digest = ""
        self._sample: Sequence[Graph] = ()
        self._shares: Sequence[float] = ()
        self._rates = (learning_rate, weight_decay)
        self._drop_path, self._stochastic_depth = drop_path, stochastic_depth
        self._prepared: tuple[ImageData, Task, SupernetRecipe] | None = None
        # Arrays, as those are not copied on the way to workers of one machine.
        self._trained: tuple[Mapping[str, Any], Mapping[str, NDArray[Any]]] | None = None
        self._bank: WeightBank | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made of the arrays, and what they began with."""
        return {**self.__dict__, "_bank": None, "_source": None, "_sample": ()}

    @property
    def references(self) -> int:
        """Networks of the space to which one that fills the shared weights must be like."""
        return 0 if self._filled_from is None else COMPARED

    def refer(self, graphs: Sequence[Graph]) -> None:
        """Take them."""
        self._sample = tuple(graphs)

    def prepare(self, data: ImageData, task: Task) -> None:
        """Take the data and settle the recipe; see the contract.

        Raises:
            ValueError: If ``filled_from`` names nothing that fits, or something damaged.
        """
        if self._filled_from is not None:
            self._source = read_source(self._filled_from)
            self._digest = self._source.digest
            self._shares = shares_of(self._source, self._sample)
        epochs, batch_size = self._lengths
        batch_size = min(batch_size, len(data.train))
        batches = len(data.train) // batch_size
        if epochs is None:
            epochs = max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / batches))
        drop_path = self._drop_path
        if drop_path is None:
            drop_path = DROP_PATH if epochs * batches >= STEPS_WITH_DROP_PATH else 0.0
        paths = (drop_path, self._stochastic_depth)
        recipe = SupernetRecipe(*self._words, epochs, batch_size, *self._rates, *paths)
        self._prepared = data, task, recipe

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        """The resolved options."""
        data, _, recipe = self._ready()
        return {
            "estimator": "supernet",
            **asdict(recipe),
            **({} if self._filled_from is None else {"filled_from": self._digest}),
            "statistics_images": STATISTICS_IMAGES,
            "data": data.fingerprint,
        }

    def pretrain(self, given: Pretraining) -> float | None:
        """Train the shared weights; see the contract."""
        with alone(given.device):
            data, task, recipe = self._ready()
            if self._shares:
                given.tell(
                    f"supernet: {self._filled_from} fills {min(self._shares):.0%} to "
                    f"{max(self._shares):.0%} of the weights of {len(self._shares)} networks "
                    "drawn; the rest is freshly initialised"
                )
            training = SupernetTraining(data, task, recipe, given=given, source=self._source)
            if not training.run():
                return None
            self._trained = training.finish()
        return training.seconds

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
        """Score one child with shared weights; see the contract."""
        data, task, _ = self._ready()
        if not 0 < fidelity <= 1:
            raise ValueError(f"fidelity must be in (0, 1], got {fidelity}")
        if graph.output_shape != task.output_shape:
            raise ValueError(f"network must return {task.output_shape}, got {graph.output_shape}")
        weights = self._shared().state_dict(graph)
        with alone(device, keep_memory=False):
            try:
                metrics = inherited(
                    graph,
                    weights,
                    data=data,
                    validation=data.validation,
                    task=task,
                    seed=seed,
                    device=device,
                )
            except torch.OutOfMemoryError as error:
                raise EvaluationError(str(error), cause="oom_device") from error
        metric = next(iter(task.metrics))
        if not math.isfinite(metrics[metric]):
            raise EvaluationError(f"{metric} is {metrics[metric]}", cause="nan")
        return Evaluation({STAND_IN: metrics[metric]})

    def _shared(self) -> WeightBank:
        if self._bank is None:
            if self._trained is None:
                raise RuntimeError("pretrain must be called before the first evaluation")
            layout, arrays = self._trained
            self._bank = WeightBank.of(layout, {key: _read(one) for key, one in arrays.items()})
        return self._bank

    def _ready(self) -> tuple[ImageData, Task, SupernetRecipe]:
        if self._prepared is None:
            raise RuntimeError("prepare must be called first")
        return self._prepared


def _read(array: NDArray[np.float32]) -> torch.Tensor:
    """The array as a tensor that is only read: a worker's may lie in memory that all share."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
