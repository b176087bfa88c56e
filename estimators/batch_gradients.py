"""Gradients of a batch of a full training, in pieces: at the same time, or one by one."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn

from estimators.determinism import alone, seed_of
from estimators.estimator import EvaluationError
from estimators.full_recipe import FullRecipe
from estimators.replicas import Replicas
from estimators.resizing import resized
from estimators.seeded_dropout import seed_dropout
from estimators.task import Task
from estimators.ways import BFLOAT16
from search_spaces.graph import Graph
from search_spaces.modules import choose_paths
from search_spaces.paths import Paths

# First numbers of the seeds that keep the draws of a training apart.
ORDER, DROPOUT, PATHS, IMAGES, MIXING = range(5)

LEAST_IMAGES = 32  # of a piece, of which batch norms take their statistics
# Of a feature map: the heaps of all threads but the first hold no block as large, and the system
# would map it anew in each step (glibc).
MOST_BYTES = 2**26
_Piece: TypeAlias = tuple[int, tuple[Tensor, ...]]  # its place; images, labels, other labels


@final
class BatchGradients:
    """Computes gradients of batches, with the paths, dropout and precision of a recipe.

    On a CPU several threads compute pieces of a batch at the same time. On another device batches
    are whole until the memory is too small, and then in as many pieces as fit. Batch norms see
    each piece alone.

    Args:
        model: The network, as ``build(graph, ...)`` returned it, on the device.
        graph: It.
        task: What is asked of it.
        recipe: How.
        frozen: Names of batch norms that keep their statistics.
        class_weights: ``(classes,)`` of the loss; None where all count the same.
        batch: Images of a batch.
        seed: Decides paths and dropout, with the number of the step and the place of the piece.
        device: A torch device.

    Attributes:
        parts: Pieces that each batch is cut into.
    """

    def __init__(  # noqa: PLR0913 - the parts of a training that a batch needs
        self,
        model: nn.Module,
        graph: Graph,
        task: Task,
        recipe: FullRecipe,
        *,
        frozen: Collection[str],
        class_weights: Tensor | None,
        batch: int,
        seed: int,
        device: str,
    ) -> None:
        self._model, self._task, self._recipe = model, task, recipe
        self._frozen, self._class_weights = frozen, class_weights
        self._seed, self._device = seed, device
        self._size = tuple(int(side) for side in graph.input_shape[1:])
        paths = Paths(graph)
        dropping = recipe.drop_path > 0 and paths.columns > 1
        thinning = recipe.stochastic_depth > 0 and len(paths.residuals) > 0
        self._paths = paths if dropping or thinning else None
        self._threads = recipe.threads if device == "cpu" else 1
        self.parts = pieces(graph, batch, self._threads)

    @contextmanager
    def in_threads(self) -> Iterator[None]:
        """With networks in train mode, as many as compute at once, and threads divided among them.

        Only inside are gradients computed; parameters may change there in place.
        """
        count = min(self.parts, self._threads)
        with (
            alone(self._device, seed=self._seed, threads=self._threads // count),
            Replicas(self._model, count) as self._replicas,
        ):
            for model in self._replicas.models:
                model.train()
                for name in self._frozen:
                    model.get_submodule(name).eval()
            try:
                yield
            finally:
                del self._replicas  # with the copies

    def __call__(
        self, images: Tensor, labels: tuple[Tensor, Tensor], share: float, number: int
    ) -> float:
        """Leave the gradients of a batch in the parameters, and return its mean loss.

        Where pieces turn out too large for the memory, batch norms see the first ones of that batch
        twice.

        Args:
            images: ``(images, channels, height, width)``.
            labels: Of the images, and of those that they are mixed with.
            share: Of the first labels in the loss, in [0, 1].
            number: Of the step.

        Raises:
            EvaluationError: If not even pieces of two images fit.
        """
        while True:
            try:
                return self._summed(images, labels, share, number)
            except torch.OutOfMemoryError as error:
                if len(images) < 4 * self.parts:
                    raise EvaluationError(str(error), cause="oom_device") from error
                self.parts *= 2

    def _summed(
        self, images: Tensor, labels: tuple[Tensor, Tensor], share: float, number: int
    ) -> float:
        self._model.zero_grad()

        def backward(model: nn.Module, piece: _Piece) -> Tensor:
            place, (inputs, first, second) = piece
            seed_dropout(model, seed_of(self._seed, DROPOUT, number, place), inputs.device)
            self._choose_paths(model, len(inputs), number, place)
            mixed = self._recipe.precision == BFLOAT16
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=mixed):
                outputs = model(resized(inputs, self._size))
            outputs = outputs.float()
            loss = self._loss(outputs, first, labels[0])
            if share < 1:
                loss = share * loss + (1 - share) * self._loss(outputs, second, labels[1])
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        cut = (torch.tensor_split(one, self.parts) for one in (images, *labels))
        losses = self._replicas.map(backward, list(enumerate(zip(*cut, strict=True))))
        return float(sum(losses))

    def _loss(self, outputs: Tensor, labels: Tensor, of_batch: Tensor) -> Tensor:
        """Of a piece, times its part in the mean over its batch."""
        weights, smoothing = self._class_weights, self._recipe.label_smoothing
        loss = self._task.loss(outputs, labels, weights, smoothing=smoothing)
        if weights is None:
            return loss * (len(labels) / len(of_batch))
        return loss * (weights[labels].sum() / weights[of_batch].sum())

    def _choose_paths(self, model: nn.Module, batch: int, number: int, place: int) -> None:
        if self._paths is not None:
            choice = self._paths.draw(
                np.random.default_rng((self._seed, PATHS, number, place)),
                drop_path=self._recipe.drop_path,
                stochastic_depth=self._recipe.stochastic_depth,
                batch=batch,
            )
            choose_paths(model, choice)


def pieces(graph: Graph, images: int, threads: int) -> int:
    """Into how many pieces to cut each batch, for as many threads of a CPU to compute them.

    Threads that are left over compute pieces with them, as many each; what does not divide is idle.
    A batch stays whole if its pieces would have fewer than ``LEAST_IMAGES`` images, or feature maps
    as large as ``MOST_BYTES``: threads within an operation serve these well.

    Args:
        graph: The network.
        images: Of a batch.
        threads: What computes, at least 1.
    """
    count = max(1, min(threads, images // LEAST_IMAGES))
    return count if -(-images // count) * graph.largest_map_bytes < MOST_BYTES else 1
