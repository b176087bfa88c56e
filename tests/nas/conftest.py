"""A search space of tiny networks, images for it, and one finished run to look at."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from estimators.data import ImageData
from estimators.estimator import Checkpoint, Estimator, Evaluation, Report
from estimators.task import Task
from nas import api, final_recipe
from nas.plan import OFF
from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.genome import Decision, Genome, Genotype
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace


class Mini(SearchSpace):
    """Two layers. The label changes nothing, so that every network has two genotypes."""

    def __init__(
        self, input_shape: tuple[int, int, int], num_classes: int, *, kernel: int = 3
    ) -> None:
        self._shape, self._classes, self._kernel = input_shape, num_classes, kernel
        widths = Decision.of("width", (2, 4, 6, 8, 10, 12))
        self._genome = Genome((widths, Decision.of("label", ("a", "b"))))

    @property
    def genome(self) -> Genome:
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        stem = ConvNormAct(4, stride=2)
        stages = ((ConvNormAct(int(genotype["width"]), self._kernel),),)
        return Architecture("Mini", self._shape, stem, stages, Classifier(self._classes))


class Cheap(Estimator):
    """Trains nothing; scores grow with the number of parameters, up to the seed's luck."""

    def __init__(self, *, luck: float = 0.0) -> None:
        self._luck = luck

    def prepare(self, data: ImageData, task: Task) -> None:
        pass

    @property
    def recipe(self) -> Mapping[str, float | int | str]:
        return {"estimator": "cheap", "luck": self._luck}

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
        accuracy = graph.params / 10_000 + self._luck * (seed % 1000) / 1000
        return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy})


@pytest.fixture(autouse=True, scope="session")
def _no_final_training() -> Iterator[None]:
    """Searches of tests end without a final training unless they ask for one."""
    usual, final_recipe.USUAL = final_recipe.USUAL, OFF
    yield
    final_recipe.USUAL = usual


class Finished(NamedTuple):
    """A run, and what it was asked for."""

    result: api.Result
    options: Mapping[str, Any]


@pytest.fixture(scope="session")
def mini() -> type[SearchSpace]:
    return Mini


@pytest.fixture(scope="session")
def cheap() -> type[Estimator]:
    return Cheap


@pytest.fixture(scope="session")
def images() -> tuple[np.ndarray, np.ndarray]:
    """80 images of 8x8 pixels, brighter on the left for one of two classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pixels = rng.random((80, 8, 8)) / 2
    pixels[labels == 1, :, :4] += 0.3
    return pixels.astype(np.float32), labels


@pytest.fixture
def untrained_run(
    mini: type[SearchSpace],
    cheap: type[Estimator],
    images: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """Parts of a search that trains nothing and exports without a fresh process."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    return {"space": mini, "data": images, "estimator": cheap}


@pytest.fixture(scope="session")
def finished(
    images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A whole search, trained and exported; for reading only."""
    options: dict[str, Any] = {
        "space": Mini,
        "data": images,
        "strategy": "random",
        "budget": 3,
        "seed": 4,
        "workers": 0,
        "settings": {"estimator": {"epochs": 2, "batch_size": 16}},
    }
    folder = tmp_path_factory.mktemp("finished") / "run"
    return Finished(api.search(out=folder, **options), options)


@pytest.fixture(scope="session")
def exported(finished: Finished) -> Path:
    """The exported folder of that search; for reading only."""
    return finished.result.folder / "best"
