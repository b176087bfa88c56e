"""The estimator that trains nothing: a score of the untrained network stands in for training."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from estimators.data import ImageData
from estimators.determinism import alone
from estimators.estimator import (
    Checkpoint,
    Estimator,
    Evaluation,
    EvaluationError,
    Relative,
    Report,
)
from estimators.proxies import az_nas, gradients, separation
from estimators.proxies.layers import quiet
from estimators.resizing import resized
from estimators.task import Metric, Task
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.modules import build

REFERENCES = 32  # networks that AZ-NAS ranks a child among
# Training images in a batch: passes backward are dear, and ``zico`` takes two batches.
BATCH, BATCHES = 32, {"grad_norm": 16, "snip": 16, "zico": 8}
NOISE_BATCH = 16  # images of noise that AZ-NAS looks at


@final
@dataclass(frozen=True, slots=True)
class _Untrained:
    """A network as it was initialised, and what it is looked at by."""

    graph: Graph
    model: nn.Module
    batches: Sequence[gradients.Batch]
    loss: gradients.Loss

    @property
    def images(self) -> Tensor:
        """The first batch."""
        return self.batches[0][0]


_SCORES: Mapping[str, Callable[[_Untrained], float]] = {
    "naswot": lambda one: separation.naswot(one.model, one.images),
    "jacob_cov": lambda one: separation.jacob_cov(one.model, one.images),
    "grad_norm": lambda one: gradients.grad_norm(one.model, one.batches[0], one.loss),
    "snip": lambda one: gradients.snip(one.model, one.batches[0], one.loss),
    "zico": lambda one: gradients.zico(one.model, one.batches, one.loss),
    "log_synflow": lambda one: gradients.log_synflow(one.model, _shape(one.graph)),
    "params": lambda one: float(one.graph.params),
    "macs": lambda one: float(one.graph.macs),
}
BASELINES = ("params", "macs")  # what every other score has to beat to add anything
SCORES = (*_SCORES, "az_nas")


@final
class Proxy(Estimator, Relative):
    """Scores untrained networks by a few passes of one batch; the finalists are trained.

    The score is no accuracy and is not called one: a run is guided by it alone, and its finalists
    are trained by the estimator ``training``, which decides among them. Scores can be compared
    within one space and one input size. Fidelity changes nothing.

    ``params`` and ``macs`` are the baselines that every other score has to beat to add anything.

    Args:
        score: ``naswot`` (arXiv:2006.04647), ``log_synflow`` (arXiv:2006.05467), ``grad_norm``,
            ``snip``, ``jacob_cov`` (arXiv:2101.08134), ``zico`` (arXiv:2301.11300), ``az_nas``
            (arXiv:2403.19232), ``params`` or ``macs``; larger is taken for better in all.
        batch_size: Training images that are looked at, at least 2; ``zico`` takes two batches. By
            default 32, for ``grad_norm`` and ``snip`` 16, for ``zico`` 8. Also ``az_nas`` takes
            noise and ``log_synflow`` an image of ones instead.

    Raises:
        ValueError: If a value is out of range.
    """

    stand_in: ClassVar[Metric | None] = Metric("maximize")

    def __init__(self, *, score: str = "log_synflow", batch_size: int | None = None) -> None:
        if score not in SCORES:
            near = difflib.get_close_matches(score, SCORES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(SCORES)}"
            raise ValueError(f"score must be a known one, got {score[:40]!r}; {hint}")
        batch_size = BATCHES.get(score, BATCH) if batch_size is None else batch_size
        if batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, got {batch_size}")
        self._score, self._batch_size = score, batch_size
        self._sample: Sequence[Graph] = ()
        self._reference: az_nas.Reference | None = None
        self._prepared: tuple[Task, tuple[gradients.Batch, ...], str] | None = None

    @property
    def score(self) -> str:
        """Its name."""
        return self._score

    @property
    def references(self) -> int:
        """As many as ranks are taken among, for the one score that is made of ranks."""
        return REFERENCES if self._score == "az_nas" else 0

    def refer(self, graphs: Sequence[Graph]) -> None:
        """Take the networks that children are ranked among."""
        self._sample = tuple(graphs)

    def prepare(self, data: ImageData, task: Task) -> None:
        """Draw the images, the same for every child, and score the networks of reference.

        Raises:
            ValueError: If there are no networks of reference and the score needs them.
        """
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
        size = min(self._batch_size, max(2, len(order) // 2))
        batches = tuple(
            (data.train.images[chosen], data.train.labels[chosen])
            for chosen in (order[:size], order[size : 2 * size])
        )
        self._prepared = task, batches, data.fingerprint
        if self.references:
            if not self._sample:
                raise ValueError("refer must be called before prepare for the score az_nas")
            with alone("cpu", seed=0, keep_memory=False):
                found = [self._parts(graph, "cpu") for graph in self._sample]
            self._reference = az_nas.Reference(found)

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        """The options, the images, and the networks of reference where there are any."""
        _, _, fingerprint = self._ready()
        recipe: dict[str, float | int | str] = {
            "estimator": "proxy",
            "score": self._score,
            "batch_size": self._batch_size,
            "data": fingerprint,
        }
        if self._sample:
            names = "".join(digest(graph) for graph in self._sample)
            recipe["reference"] = blake2b(names.encode(), digest_size=16).hexdigest()
        return recipe

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
        """Score one child; see the contract."""
        task, _, _ = self._ready()
        if graph.output_shape != task.output_shape:
            raise ValueError(f"network must return {task.output_shape}, got {graph.output_shape}")
        details: dict[str, float] = {}
        with alone(device, seed=seed, keep_memory=False):
            try:
                if self._reference is None:
                    score = _SCORES[self._score](self._untrained(graph, device))
                else:
                    found = self._parts(graph, device)
                    score, details = self._reference.score(found), asdict(found)
            except torch.OutOfMemoryError as error:
                raise EvaluationError(str(error), cause="oom_device") from error
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                raise EvaluationError(str(error), cause="nan") from error
        if not math.isfinite(score):
            raise EvaluationError(f"{self._score} is {score}", cause="nan")
        return Evaluation({"score": score}, details=details)

    def _untrained(self, graph: Graph, device: str) -> _Untrained:
        task, batches, _ = self._ready()
        if self._score in BASELINES:
            return _Untrained(graph, nn.Identity(), (), task.loss)
        size = _shape(graph)[1:]
        images = [
            (resized(images.to(device), size).to(memory_format=torch.channels_last), targets)
            for images, targets in ((images, targets.to(device)) for images, targets in batches)
        ]
        return _Untrained(graph, _built(graph, device), images, task.loss)

    def _parts(self, graph: Graph, device: str) -> az_nas.Parts:
        model = _built(graph, device)
        noise = torch.randn((NOISE_BATCH, *_shape(graph)))
        return az_nas.parts(model, graph, noise.to(device, memory_format=torch.channels_last))

    def _ready(self) -> tuple[Task, tuple[gradients.Batch, ...], str]:
        if self._prepared is None:
            raise RuntimeError("prepare must be called before the first evaluation")
        return self._prepared


def _shape(graph: Graph) -> tuple[int, int, int]:
    channels, height, width = graph.input_shape
    return int(channels), int(height), int(width)


def _built(graph: Graph, device: str) -> nn.Module:
    """The network, in the layout that is fast on a CPU."""
    return quiet(build(graph).to(device).to(memory_format=torch.channels_last))
