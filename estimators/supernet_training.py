"""Training of shared weights: one child, or a sandwich of four, in each step."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from estimators.data import ImageData, Split
from estimators.determinism import seed_of
from estimators.estimator import EvaluationError, Pretraining
from estimators.filling import Source, fill
from estimators.inherited import inherited
from estimators.lazy_images import expect
from estimators.order import Order
from estimators.resizing import resized
from estimators.shared_adam import SharedAdamW, Update
from estimators.shared_layers import assemble
from estimators.supernet_file import SupernetFile
from estimators.task import Task
from estimators.weight_bank import ELASTIC, SEPARATE, WeightBank
from search_spaces.graph import Graph
from search_spaces.modules import choose_paths
from search_spaces.paths import Paths
from search_spaces.slots import Slot

UNIFORM, SANDWICH = SAMPLINGS = ("uniform", "sandwich")
AUTO = "auto"

JUDGED, JUDGED_IMAGES, CHECKS = 8, 512, 6  # children, images and times of the ranking check
SAVE_EVERY, TELL_EVERY = 60.0, 5.0  # seconds
# First numbers of the keys that keep the generators of a training apart.
_ORDER, _CHILD, _PATHS, _DROPOUT, _JUDGED = range(5)


@dataclass(frozen=True, slots=True)
class SupernetRecipe:
    """How shared weights are trained; ``Supernet`` says what each value means."""

    sharing: str
    sampling: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    drop_path: float
    stochastic_depth: float
    warmup: float = 0.05
    decay: str = "linear to zero"


@final
class SupernetTraining:
    """A training that can stop before any step and go on as if it had not.

    Attributes:
        bank: The shared weights.
        step: Steps taken.
        seconds: Spent on them, over all sessions.
        rankings: Kendall's tau between successive scorings of a few children that stay the same.
    """

    def __init__(
        self,
        data: ImageData,
        task: Task,
        recipe: SupernetRecipe,
        *,
        given: Pretraining,
        source: Source | None = None,
    ) -> None:
        self._data, self._task, self._recipe, self._given = data, task, recipe, given
        self._source = source
        self._file = SupernetFile(given.folder)
        self._draw = given.population.draw
        self._batches = max(1, len(data.train) // recipe.batch_size)  # the odd rest is left out
        self._total = recipe.epochs * self._batches
        self._images = data.train.images.to(given.device, memory_format=torch.channels_last)
        self._labels = data.train.labels.to(given.device)
        self._order = Order(
            len(self._labels),
            recipe.batch_size,
            self._batches,
            lambda epoch: seed_of(given.seed, _ORDER, epoch) >> 1,
            given.device,
        )
        self._judged = [self._draw(self._generator(_JUDGED, place)) for place in range(JUDGED)]
        self._extremes = given.population.extremes() if recipe.sampling == SANDWICH else None
        self.step, self.seconds = 0, 0.0
        self.rankings: list[float] = []
        self._scores: list[float] = []
        self._saved_whole = False
        self.bank = WeightBank(sharing=self._sharing(), seed=given.seed, device=given.device)
        self._optimizer = SharedAdamW(self.bank, weight_decay=recipe.weight_decay)
        self._restore()

    def run(self) -> bool:
        """Train to the end; False if it was told to stop before.

        Raises:
            EvaluationError: If the loss is not finite.
            OSError: If it cannot be saved.
        """
        saved = told = begin = time.monotonic()
        before, loss = self.seconds, torch.zeros(())
        while self.step < self._total:
            if self._given.stop():
                self._save()
                return False
            loss = self._take_step()
            self.step += 1
            if self.step * CHECKS % self._total < CHECKS:
                self._check_ranking()
            now = time.monotonic()
            self.seconds = before + now - begin
            if now - told > TELL_EVERY or self.step == self._total:
                told = now
                self._given.tell(self._standing(float(loss)))
            if now - saved > SAVE_EVERY:
                self._save()
                saved = now
        return True

    def finish(self) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray[Any, Any]]]:
        """Save the weights alone, and return what ``WeightBank.documents`` does."""
        layout, arrays = self.bank.documents()
        tensors = {f"weights/{key}": torch.from_numpy(array) for key, array in arrays.items()}
        if not self._saved_whole:
            self._file.write({**self._document(layout), "finished": True}, tensors)
        return layout, arrays

    def _sharing(self) -> str:
        """Elastic, unless a block of the first child reads two maps, as cells do."""
        if self._recipe.sharing != AUTO:
            return self._recipe.sharing
        cells = any(scope.kind and len(scope.inputs) > 1 for scope in self._judged[0].scopes)
        return SEPARATE if cells else ELASTIC

    def _take_step(self) -> Tensor:
        """One step; the loss of its first child."""
        torch.manual_seed(seed_of(self._given.seed, _DROPOUT, self.step) >> 1)
        rng = self._generator(_CHILD, self.step)
        images, labels = self._batch()
        rate = self._recipe.learning_rate * self._factor()
        if self._extremes is None:
            loss, updates = self._single(self._draw(rng), images, labels)
        else:
            smallest, largest = self._extremes
            graphs = [largest, smallest, self._draw(rng), self._draw(rng)]
            loss, updates = self._sandwich(graphs, images, labels)
        if not math.isfinite(float(loss)):
            raise EvaluationError(
                f"the loss of the supernet became {float(loss)} at step {self.step}", cause="nan"
            )
        self._optimizer.step(updates, learning_rate=rate)
        return loss

    def _single(self, graph: Graph, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Update]]:
        """Loss of one child, and gradients of what it takes."""
        slots = self.bank.slots(graph)
        self.bank.reserve(slots.values())
        values = self._values(slots)
        loss = self._task.loss(self._outputs(graph, values, images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), [
            Update(slot, values[name].detach(), gradient)
            for name, slot in slots.items()
            if (gradient := values[name].grad) is not None
        ]

    def _sandwich(
        self, graphs: list[Graph], images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[Update]]:
        """Gradients of all children, summed: the first learns the labels, the rest its outputs."""
        taken = [self.bank.slots(graph) for graph in graphs]
        for slots in taken:
            self.bank.reserve(slots.values())
        sums: dict[str, Tensor] = {}
        teacher, first = None, torch.zeros(())
        for graph, slots in zip(graphs, taken, strict=True):
            values = self._values(slots)
            outputs = self._outputs(graph, values, images)
            if teacher is None:
                loss = first = self._task.loss(outputs, labels)
                teacher = outputs.detach().softmax(dim=1)
            else:
                loss = functional.cross_entropy(outputs, teacher)
            loss.backward()  # type: ignore[no-untyped-call]
            for name, slot in slots.items():
                gradient = values[name].grad
                if gradient is not None:
                    if slot.key not in sums:
                        sums[slot.key] = torch.zeros_like(self.bank.tensor(slot.key))
                    sums[slot.key][self.bank.index(slot)] += gradient
        return first.detach(), [
            Update(self.bank.whole(key), self.bank.tensor(key), gradient)
            for key, gradient in sums.items()
        ]

    def _values(self, slots: Mapping[str, Slot]) -> dict[str, nn.Parameter]:
        return {name: nn.Parameter(self.bank.take(slot)) for name, slot in slots.items()}

    def _outputs(self, graph: Graph, values: Mapping[str, nn.Parameter], images: Tensor) -> Tensor:
        model = assemble(graph, values)
        recipe = self._recipe
        if recipe.drop_path or recipe.stochastic_depth:
            choice = Paths(graph).draw(
                self._generator(_PATHS, self.step),
                drop_path=recipe.drop_path,
                stochastic_depth=recipe.stochastic_depth,
                batch=len(images),
            )
            choose_paths(model, choice)
        size = tuple(int(side) for side in graph.input_shape[1:])
        outputs: Tensor = model(resized(images, size))
        return outputs

    def _batch(self) -> tuple[Tensor, Tensor]:
        chosen = self._order(self.step)
        images = self._images[chosen]
        expect(self._images, self._order, self.step + 1)
        return images, self._labels[chosen]

    def _factor(self) -> float:
        """Multiplier of the learning rate."""
        warmup = max(1.0, self._recipe.warmup * self._total)
        return min(1.0, (self.step + 1) / warmup) * (1 - self.step / self._total)

    def _check_ranking(self) -> None:
        validation = self._data.validation
        few = Split(validation.images[:JUDGED_IMAGES], validation.labels[:JUDGED_IMAGES])
        metric = next(iter(self._task.metrics))
        scores = [
            inherited(
                graph,
                self.bank.state_dict(graph),
                data=self._data,
                validation=few,
                task=self._task,
                seed=seed_of(self._given.seed, _JUDGED, place) >> 1,
                device=self._given.device,
            )[metric]
            for place, graph in enumerate(self._judged)
        ]
        if self._scores and len({*scores}) > 1 and len({*self._scores}) > 1:
            tau = float(stats.kendalltau(self._scores, scores).statistic)
            self.rankings.append(round(tau, 4))
        self._scores = scores

    def _standing(self, loss: float) -> str:
        left = self.seconds / max(1, self.step) * (self._total - self.step)
        ranking = f", ranking against the last one {self.rankings[-1]:.2f}" if self.rankings else ""
        return (
            f"supernet: step {self.step:,} of {self._total:,}, loss {loss:.3f}{ranking}, "
            f"{left:.0f} s left"
        )

    def _document(self, layout: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "recipe": {
                **asdict(self._recipe),
                **({} if self._source is None else {"filled_from": self._source.digest}),
                "data": self._data.fingerprint,
            },
            "seed": self._given.seed,
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "rankings": self.rankings,
            "scores": self._scores,
            "layout": layout,
        }

    def _save(self) -> None:
        layout, arrays = self.bank.documents()
        tensors = {f"weights/{key}": torch.from_numpy(array) for key, array in arrays.items()}
        self._file.write(
            {**self._document(layout), "finished": False}, tensors | self._optimizer.state()
        )

    def _restore(self) -> None:
        """Go on from what is in the folder; if there is nothing, begin with the source.

        Raises:
            ValueError: If it is damaged or of another training.
        """
        found = self._file.read()
        if found is None:
            if self._source is not None:
                fill(self.bank, self._source, self._task.output_shape)
            return
        document, tensors = found
        recipe, seed = self._document({})["recipe"], self._given.seed
        if (document["recipe"], document["seed"]) != (recipe, seed):
            raise ValueError(f"{self._given.folder}: holds another training; remove it")
        device = self._given.device
        weights = {
            name.removeprefix("weights/"): tensor.to(device)
            for name, tensor in tensors.items()
            if name.startswith("weights/")
        }
        self.bank = WeightBank.of(document["layout"], weights, device=device)
        self._optimizer = SharedAdamW(self.bank, weight_decay=self._recipe.weight_decay)
        self._optimizer.restore(
            {
                # Counts of steps stay on the CPU, as torch's optimisers have them.
                name: tensor if name.startswith("steps/") else tensor.to(device)
                for name, tensor in tensors.items()
                if not name.startswith("weights/")
            }
        )
        self._saved_whole = document["finished"]
        self.step, self.seconds = document["step"], document["seconds"]
        self.rankings, self._scores = document["rankings"], document["scores"]

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self._given.seed, *key))
