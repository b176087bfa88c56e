"""The supernet: the same to the last bit however it was stopped, and never changed by a score."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from estimators.data import ImageData, from_arrays
from estimators.estimator import Evaluation, EvaluationError, Population, Pretraining
from estimators.filling import read_source
from estimators.shared_adam import SharedAdamW, Update
from estimators.supernet import Supernet
from estimators.task import Classification
from estimators.weight_bank import WeightBank
from search_spaces import graph_json
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import (
    Cell,
    CellStem,
    Classifier,
    ConvNormAct,
    DenseLayer,
    FractalBlock,
    MBConv,
    Transition,
)
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec
from search_spaces.modules import build

OPTIONS = {"epochs": 2, "batch_size": 16}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer children for the ranking check, which is most of a training of six steps."""
    monkeypatch.setattr("estimators.supernet_training.JUDGED", 2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Supernet, Path]:
    """A training that tests only read."""
    folder = tmp_path_factory.mktemp("supernet")
    return trained(folder), folder


STEPS = 6


def network(*blocks: BlockSpec, stem: BlockSpec | None = None) -> Graph:
    stem = ConvNormAct(4) if stem is None else stem
    head = Classifier(2, dropout=0.3)
    return lower(Architecture("Child", (1, 8, 8), stem, (blocks,), head))


CHILDREN = [
    network(MBConv(4, 5, expansion=2)),
    network(MBConv(8, 3, expansion=3), MBConv(8, 3, expansion=2)),
    network(DenseLayer(4, 0), DenseLayer(4, 0), Transition(1.0, 1, width=8)),
    network(DenseLayer(6, 0), DenseLayer(6, 0), Transition(1.0, 1, width=8)),
    network(FractalBlock(8, 2, pool=1)),
]


def images() -> ImageData:
    """Noise, brighter on the left for one class."""
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    pixels = rng.random((80, 8, 8)) / 2
    pixels[labels == 1, :, :4] += 0.3
    return from_arrays(pixels.astype(np.float32), labels)


DATA = images()


def population(children: list[Graph] = CHILDREN) -> Population:
    return Population(
        lambda rng: children[int(rng.integers(len(children)))],
        lambda: (children[0], children[1]),
    )


def given(
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda line: None,
    children: list[Graph] = CHILDREN,
) -> Pretraining:
    return Pretraining(population(children), folder, 7, "cpu", tell, stop)


def prepared(**options: Any) -> Supernet:
    estimator = Supernet(**{**OPTIONS, **options})
    estimator.prepare(DATA, Classification(2))
    return estimator


def trained(folder: Path, **options: Any) -> Supernet:
    estimator = prepared(**options)
    assert estimator.pretrain(given(folder)) is not None
    return estimator


def score(estimator: Supernet, graph: Graph, seed: int = 0) -> Evaluation:
    return estimator.evaluate(graph, fidelity=1.0, seed=seed, device="cpu")


def weights(folder: Path) -> bytes:
    (path,) = folder.glob("*.safetensors")
    return path.read_bytes()


def test_shared_weights_that_are_filled_begin_with_the_source(tmp_path: Path) -> None:
    graph = CHILDREN[1]
    place = tmp_path / "source"
    place.mkdir()
    document = {"schema_version": 1, "graph": graph_json.to_document(graph)}
    (place / "architecture.json").write_text(json.dumps(document))
    save_file(build(graph).state_dict(), place / "model.safetensors")
    before = {path: path.read_bytes() for path in place.iterdir()}

    def filled(epochs: int, folder: Path, source: Path = place) -> tuple[Supernet, list[str]]:
        estimator = Supernet(filled_from=str(source), **{**OPTIONS, "epochs": epochs})
        estimator.refer(CHILDREN[:2])
        assert estimator.references > 0
        estimator.prepare(DATA, Classification(2))
        told: list[str] = []
        assert estimator.pretrain(given(folder, tell=told.append)) is not None
        return estimator, told

    estimator, told = filled(0, tmp_path / "none")
    assert told[0].endswith("of the weights of 2 networks drawn; the rest is freshly initialised")
    assert "to 100 %" in told[0].replace("100%", "100 %")
    source = read_source(str(place)).weights
    bank = estimator._shared()
    assert all(
        torch.equal(value, source[name])
        for name, value in bank.state_dict(graph).items()
        if "running" not in name
    )
    again = pickle.loads(pickle.dumps(estimator))  # noqa: S301 - as it goes to workers
    assert score(again, graph) == score(estimator, graph)
    assert again.recipe == estimator.recipe != prepared(epochs=1).recipe
    score(estimator, CHILDREN[2])  # of which the source has hardly anything
    trained_on, _ = filled(1, tmp_path / "one")
    assert not torch.equal(
        trained_on._shared().state_dict(graph)["stem.conv.weight"], source["stem.conv.weight"]
    )
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    other = shutil.copytree(place, tmp_path / "other")
    save_file(build(graph).state_dict(), other / "model.safetensors")
    with pytest.raises(ValueError, match="holds another training"):
        filled(1, tmp_path / "one", other)


@pytest.mark.parametrize(
    ("sharing", "sampling"),
    [("elastic", "uniform"), ("elastic", "sandwich"), ("separate", "uniform")],
)
def test_a_training_that_was_stopped_ends_as_one_in_a_single_piece(
    tmp_path: Path, sharing: str, sampling: str
) -> None:
    words = {"sharing": sharing, "sampling": sampling, "drop_path": 0.3}
    trained(tmp_path / "whole", **words)
    steps = iter(range(STEPS))
    stopped = prepared(**words)
    assert stopped.pretrain(given(tmp_path / "cut", stop=lambda: next(steps) == 3)) is None
    assert json.loads((tmp_path / "cut/supernet.json").read_text())["step"] == 3
    trained(tmp_path / "cut", **words)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_shared_weights_learn(tmp_path: Path) -> None:
    estimator = trained(tmp_path, epochs=30, learning_rate=0.01)
    assert min(score(estimator, graph).metrics["score"] for graph in CHILDREN) >= 0.9


def test_scores_are_the_same_twice_and_write_nothing(finished: tuple[Supernet, Path]) -> None:
    estimator, _ = finished
    first = [score(estimator, graph) for graph in CHILDREN]
    assert [score(estimator, graph) for graph in reversed(CHILDREN)] == first[::-1]
    # A child whose slots nobody has trained leaves no trace, either.
    score(estimator, network(MBConv(32, 7, expansion=6), DenseLayer(8)))
    assert [score(estimator, graph) for graph in CHILDREN] == first
    assert all(one.weights is None for one in first)


def test_a_worker_scores_as_the_one_that_trained(finished: tuple[Supernet, Path]) -> None:
    estimator, folder = finished
    here = score(estimator, CHILDREN[1])
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(estimator, protocol=5, buffer_callback=buffers.append)
    read_only = [bytes(buffer) for buffer in buffers]
    assert sum(map(len, read_only)) >= len(weights(folder)) * 0.5  # the bank is not in ``data``
    there = pickle.loads(data, buffers=read_only)  # noqa: S301 - our own
    assert score(there, CHILDREN[1]) == here


def test_a_finished_training_is_only_read(finished: tuple[Supernet, Path]) -> None:
    _, folder = finished
    before = weights(folder)

    def refuse() -> bool:
        raise AssertionError

    again = prepared()
    assert again.pretrain(given(folder, stop=refuse)) is not None
    assert weights(folder) == before


def test_it_tells_how_far_it_is_and_how_the_ranking_settles(tmp_path: Path) -> None:
    lines: list[str] = []
    estimator = prepared(epochs=3)
    estimator.pretrain(given(tmp_path, tell=lines.append))
    assert lines[-1].startswith("supernet: step 9 of 9, loss ")
    document = json.loads((tmp_path / "supernet.json").read_text())
    assert all(-1 <= tau <= 1 for tau in document["rankings"])


def test_cells_have_weights_of_their_own_by_default(tmp_path: Path) -> None:
    cell = Cell(4, (0, 1, 0, 2), ("sep3", "identity", "max_pool", "dil3"))
    cells = [network(cell, cell, stem=CellStem(12))]
    prepared(epochs=1).pretrain(given(tmp_path / "cells", children=cells))
    prepared(epochs=1).pretrain(given(tmp_path / "others"))
    sharings = [
        json.loads((tmp_path / name / "supernet.json").read_text())["layout"]["sharing"]
        for name in ("cells", "others")
    ]
    assert sharings == ["separate", "elastic"]


def test_only_what_a_step_touches_is_moved() -> None:
    bank = WeightBank(sharing="elastic")
    small, large = (bank.slots(network(ConvNormAct(width))) for width in (4, 8))
    bank.reserve(large.values())
    name = "stages.0.0.conv.weight"
    before = bank.tensor(large[name].key).clone()
    value = bank.take(small[name])
    optimizer = SharedAdamW(bank, weight_decay=0.1)
    optimizer.step([Update(small[name], value, torch.ones(value.shape))], learning_rate=0.1)
    after = bank.tensor(large[name].key)
    assert torch.equal(after[4:], before[4:])
    # Eq. of AdamW's first step: decay, then the sign of the gradient.
    assert torch.allclose(after[:4], before[:4] * (1 - 0.1 * 0.1) - 0.1, atol=1e-6)


def test_moments_grow_with_the_bank() -> None:
    bank = WeightBank(sharing="elastic")
    optimizer = SharedAdamW(bank, weight_decay=0.0)
    for width in (4, 8):
        slot = bank.slots(network(ConvNormAct(width)))["stages.0.0.conv.weight"]
        bank.reserve([slot])
        value = bank.take(slot)
        optimizer.step([Update(slot, value, torch.ones(value.shape))], learning_rate=0.1)
    state = optimizer.state()
    assert float(state[f"steps/{slot.key}"]) == 2
    first = state[f"first/{slot.key}"]
    assert torch.allclose(first[:4, :4], torch.tensor(0.19))  # 1 - 0.9 ** 2
    assert torch.allclose(first[4:], torch.tensor(0.1))


def test_a_folder_of_another_training_is_refused(finished: tuple[Supernet, Path]) -> None:
    with pytest.raises(ValueError, match="holds another training"):
        trained(finished[1], learning_rate=0.1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"schema_version":1', '"schema_version":9', "must have schema version 1, got 9"),
        ('"file":"', '"file":"../', "must lie beside it"),
        ('"file":"', '"file":"x', "is missing or damaged"),
        ('"step":6', '"step":"6"', "step is missing or damaged"),
    ],
)
def test_a_damaged_folder_is_told(
    finished: tuple[Supernet, Path], tmp_path: Path, old: str, new: str, says: str
) -> None:
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "supernet.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=says):
        trained(tmp_path)


def test_a_training_that_diverges_says_when(tmp_path: Path) -> None:
    broken = DATA.train.images.clone()
    broken[:] = float("nan")
    estimator = Supernet(**OPTIONS)  # type: ignore[arg-type]
    estimator.prepare(
        ImageData(
            *("broken", type(DATA.train)(broken, DATA.train.labels), DATA.validation, DATA.test),
            *(DATA.classes, DATA.mean, DATA.std, "0"),
        ),
        Classification(2),
    )
    with pytest.raises(EvaluationError, match="became nan at step 0"):
        estimator.pretrain(given(tmp_path))


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("sharing", "all", "sharing must be auto, separate or elastic, got 'all'"),
        ("sampling", "greedy", "sampling must be uniform or sandwich, got 'greedy'"),
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch_size", 1, "batch_size must be at least 2, got 1"),
        ("learning_rate", 0.0, "learning_rate must be in"),
        ("weight_decay", -1.0, "weight_decay must be in"),
        ("drop_path", 1.0, "drop_path must be in"),
        ("stochastic_depth", 1.0, "stochastic_depth must be in"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Supernet(**{option: value})


def test_calls_out_of_order_are_told() -> None:
    with pytest.raises(RuntimeError, match="prepare must be called first"):
        Supernet().recipe  # noqa: B018 - a property that raises
    with pytest.raises(RuntimeError, match="pretrain must be called before the first"):
        score(prepared(), CHILDREN[0])
