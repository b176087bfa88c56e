"""Formats beside source and weights: each equals the network, or nothing is written."""

import importlib.util
import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from estimators.data import Split
from nas import formats, fresh_process
from nas.commands.network import export as command
from nas.errors import NasError
from nas.export import Winner, export
from nas.loading import find
from nas.real_images import RealImages, real_images
from nas.sliding import slide
from search_spaces import SEARCH_SPACES
from search_spaces.architecture import lower
from search_spaces.folding import folded_norms
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.reference import REFERENCES

EXTRA = importlib.util.find_spec("onnxruntime") is not None
needs_extra = pytest.mark.skipif(not EXTRA, reason="needs nas-engine[onnx]")
SPACES = [name for name in SEARCH_SPACES if name != "scaling"]


def random_weights(graph: Graph, seed: int = 0) -> dict[str, Tensor]:
    """Batch norms that are no identity, so that every tensor matters."""
    torch.manual_seed(seed)
    state = build(graph).state_dict()
    for name, values in state.items():
        if name.endswith(("running_var", "norm.weight")):
            values.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "norm.bias")):
            values.normal_(0.0, 0.5)
    return state


def test_no_format_is_not_one_and_none_is_made_twice() -> None:
    with pytest.raises(NasError, match="did you mean pt2") as caught:
        formats.chosen(["pt"])
    assert caught.value.exit_code == 2
    assert len(formats.chosen(["pt2", "pt2"])) == 1


@pytest.mark.parametrize("name", ["onnx", "int8"])
def test_what_is_not_installed_is_said_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda module: None)
    with pytest.raises(NasError, match=r"needs onnx; pip install 'nas-engine\[onnx\]'") as caught:
        formats.chosen(["pt2", name], has_data=True)
    assert caught.value.exit_code == 5
    assert formats.chosen(["pt2"])


def test_formats_need_weights(exported: Path, tmp_path: Path) -> None:
    graph = find(exported).winner.graph
    with pytest.raises(NasError, match="needs a network with weights"):
        export(Winner(graph), tmp_path / "out", formats.chosen(["pt2"]))
    assert not (tmp_path / "out").exists()


def test_a_format_that_fails_leaves_nothing(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)

    def failing(
        graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: RealImages | None
    ) -> dict[str, str]:
        (folder / "model.x").write_text("x")
        raise RuntimeError("differs")

    with pytest.raises(RuntimeError, match="differs"):
        export(find(exported).winner, tmp_path / "out", [failing])
    assert list(tmp_path.iterdir()) == []


def compared(script: str, exported: Path, folder: Path, **options: Any) -> float:
    """The comparison of a script with the exported network."""
    winner = find(exported).winner
    assert winner.weights is not None
    check = fresh_process.Check("model.x", script, **options)
    return fresh_process.compare(check, winner.graph, winner.weights, folder)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import numpy\ndef run(x): return numpy.zeros((len(x), 2), 'f')", "differs"),
        ("import numpy\ndef run(x): return numpy.full((len(x), 2), numpy.nan)", "not finite"),
        ("import numpy\ndef run(x): return numpy.zeros((len(x), 3))", "instead of"),
        ("raise SystemExit('no')", "does not run: no"),
    ],
)
def test_the_comparison_finds_a_planted_fault(
    exported: Path, tmp_path: Path, script: str, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        compared(script, exported, tmp_path)
    assert list(tmp_path.iterdir()) == []


# Each format, checked -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_program_reads_any_number_of_images_and_keeps_no_path(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(str(exported), tmp_path / "out", format_=["pt2", "pt2"], json=True)
    assert json.loads(capsys.readouterr().out)["formats"] == ["pt2"]
    program = torch.export.load(tmp_path / "out" / "model.pt2")
    model = program.module()
    assert model(torch.zeros(7, 1, 8, 8)).shape == (7, 2)
    assert all("stack_trace" not in node.meta for node in program.graph.nodes)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| torch.export | model.pt2, for any number of images of 8 x 8" in card
    assert "| `model.pt2` | `" in card


@pytest.mark.slow
@needs_extra
@pytest.mark.parametrize("sliding", [False, True])
def test_an_onnx_model_reads_any_number_of_images_of_what_sizes_there_are(
    exported: Path, tmp_path: Path, *, sliding: bool
) -> None:
    onnxruntime = import_module("onnxruntime")
    winner = find(exported).winner
    if sliding:
        winner = slide(winner)
    export(winner, tmp_path / "out", formats.chosen(["onnx"]))
    path = tmp_path / "out" / "model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    assert [type(side) for side in images.shape] == (
        [str, int, str, str] if sliding else [str, int, int, int]
    )
    size = (16, 24) if sliding else (8, 8)
    batch = np.random.default_rng(0).normal(size=(5, 1, *size)).astype("f")
    (scores,) = session.run(["scores"], {"images": batch})
    assert winner.weights is not None
    with torch.inference_mode():
        expected = fresh_process.loaded(winner.graph, winner.weights)(torch.from_numpy(batch))
    assert float(abs(scores - expected.numpy()).max() / expected.abs().max()) <= 1e-4
    words = f"of {'at least ' if sliding else ''}8 x 8, input images, output scores"
    assert words in (tmp_path / "out" / "README.md").read_text()
    (opset,) = {entry.version for entry in import_module("onnx").load(path).opset_import}
    assert f"opset {opset}," in (tmp_path / "out" / "README.md").read_text()
    assert b".py" not in path.read_bytes()


@pytest.mark.slow
def test_a_folded_network_has_no_batch_norm_and_its_gain_is_said(
    exported: Path, tmp_path: Path
) -> None:
    export(find(exported).winner, tmp_path / "out", formats.chosen(["folded"]))
    source = (tmp_path / "out" / "model_folded.py").read_text()
    assert "BatchNorm2d" not in source
    names = load_file(tmp_path / "out" / "model_folded.safetensors")
    assert not any("norm" in name for name in names)
    card = (tmp_path / "out" / "README.md").read_text()
    assert re.search(r"2 of 2 batch norms folded into convolutions: [0-9.]+ ms instead of", card)


def test_a_network_without_batch_norms_is_not_folded(tmp_path: Path) -> None:
    graph = lower(REFERENCES["siamese_branch"]())
    (write,) = formats.chosen(["folded"])
    with pytest.raises(NasError, match="needs a batch norm after a convolution; leave it out"):
        write(graph, {}, tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_a_child_of_every_space_passes_every_check(name: str, tmp_path: Path) -> None:
    module, _, cls = SEARCH_SPACES[name].partition(":")
    space = getattr(import_module(module), cls)((1, 8, 8), 4)
    rng = np.random.default_rng(1)
    children = [lower(space.architecture(space.genome.sample_options(rng))) for _ in range(20)]
    children = [child for child in children if folded_norms(child)]  # others refuse one format
    graph = min(children, key=lambda child: len(child.nodes))  # seconds instead of minutes
    weights = random_weights(graph)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((80, 1, 8, 8), generator=generator)
    some = Split(images, torch.arange(80) % 4)
    real = real_images("noise", some, some, size=graph.input_shape[1:])
    for format_ in formats.FORMATS:
        if format_ not in {"onnx", "int8"} or EXTRA:
            (write,) = formats.chosen([format_], has_data=True)
            assert write(graph, weights, tmp_path, real)
