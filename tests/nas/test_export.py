"""The exported folder: complete, checked in a fresh process, and harmless to read."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import nas
from estimators.class_figures import ClassFigures
from estimators.data import Split
from nas.errors import NasError
from nas.export import MOST_ROWS, Preprocessing, Winner, check_in_fresh_process, export
from nas.loading import find
from nas.real_images import real_images
from search_spaces.architecture import Architecture, lower, to_document
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph
from search_spaces.modules import build
from search_spaces.source import model_source

FILES = [
    "README.md",
    "SHA256SUMS",
    "architecture.json",
    "architecture.svg",
    "model.py",
    "model.safetensors",
]

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "a|b\n| c | d |",
    "`code` *bold* ~~gone~~ &lt;b&gt;",
    "\x1b[31mred\x07\u202e",
    "x" * 1000,
)


def architecture(width: int = 4, classes: int = 2) -> Architecture:
    stages = ((ConvNormAct(width),),)
    head = Classifier(classes, dropout=0.5)
    return Architecture("Mini", (1, 8, 8), ConvNormAct(4, stride=2), stages, head)


def weights_of(graph: Graph) -> dict[str, Tensor]:
    """Weights and batch-norm statistics of unit scale, so that every tensor matters."""
    generator = torch.Generator().manual_seed(1)
    state = build(graph).state_dict()
    return {
        name: torch.rand(value.shape, generator=generator) + 0.5
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


@pytest.fixture
def graph() -> Graph:
    return lower(architecture())


@pytest.fixture
def winner(graph: Graph) -> Winner:
    return Winner(graph, to_document(architecture()), weights_of(graph))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the fresh process, which takes seconds."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_finished_search_leaves_exactly_these_files(exported: Path) -> None:
    assert names(exported) == FILES
    document = json.loads((exported / "architecture.json").read_text())
    assert set(document) == {
        "schema_version",
        "architecture",
        "preprocessing",
        "pretrained_cfg",
        "figures",
        "by_class",
        "graph",
    }
    assert exported.stat().st_mode & 0o777 == 0o755


def test_without_weights_there_is_source_alone(graph: Graph, tmp_path: Path) -> None:
    assert export(Winner(graph), tmp_path / "out") is None
    assert names(tmp_path / "out") == FILES[:-1]
    assert "load_file" not in (tmp_path / "out" / "README.md").read_text()
    assert names(tmp_path) == ["out"]


def test_the_source_in_the_folder_is_the_one_of_the_graph(exported: Path) -> None:
    assert (exported / "model.py").read_text() == model_source(find(exported).winner.graph)


def test_the_card_names_the_digest_of_every_file(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    listed = dict(re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", card))
    assert sorted(listed) == FILES[2:]
    sums = (exported / "SHA256SUMS").read_text().splitlines()
    summed = {line[66:]: line[:64] for line in sums}
    assert sorted(summed) == [name for name in FILES if name != "SHA256SUMS"]
    for name, digest in (*listed.items(), *summed.items()):
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest


def test_real_images_are_checked_on_and_the_card_says_so(
    winner: Winner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    monkeypatch.setattr(
        "nas.export.check_in_fresh_process", lambda *given: checked.append(given[3]) or 0.0
    )
    some = Split(torch.zeros(5, 1, 8, 8), torch.zeros(5, dtype=torch.long))
    export(winner, tmp_path / "out", real=real_images("own", some, some, size=(8, 8)))
    export(winner, tmp_path / "without")
    assert [None if images is None else len(images) for images in checked] == [5, None]
    assert "on random images and 5 of the data" in (tmp_path / "out" / "README.md").read_text()
    assert "of the data" not in (tmp_path / "without" / "README.md").read_text()


def test_a_finished_search_was_checked_on_its_validation_images(exported: Path) -> None:
    assert "random images and 12 of the data" in (exported / "README.md").read_text()


def test_sha256sum_reads_the_sums(exported: Path) -> None:
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("needs sha256sum")
    subprocess.run([program, "--check", "--strict", "SHA256SUMS"], cwd=exported, check=True)


def test_timm_can_read_the_preprocessing(exported: Path) -> None:
    document = json.loads((exported / "architecture.json").read_text())
    terms = document["pretrained_cfg"]
    assert terms["input_size"] == [1, 8, 8]
    assert (terms["interpolation"], terms["crop_pct"], terms["num_classes"]) == ("bilinear", 1.0, 2)
    for name in ("mean", "std"):
        assert terms[name] == document["preprocessing"][name]


def test_the_python_of_the_card_runs_in_the_folder(exported: Path, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    (snippet,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    snippet += (
        "print(tuple(scores.shape), bool(scores.isfinite().all()))\n"
        "import sys\nprint([name for name in sys.modules if name.startswith('search_spaces')])\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (result.stdout.splitlines(), result.stderr) == (["(1, 2) True", "[]"], "")


# The check in a fresh process --------------------------------------------------------------


def staged(graph: Graph, weights: dict[str, Tensor], folder: Path) -> Path:
    """A folder as it is before it is checked."""
    (folder / "model.py").write_text(model_source(graph))
    save_file(weights, folder / "model.safetensors")
    return folder


def test_the_check_passes_what_is_right_and_honours_the_python_path(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    weights = weights_of(graph)
    assert check_in_fresh_process(graph, weights, staged(graph, weights, folder)) <= 1e-5
    assert (tmp_path / "seen").exists()  # torch may be installed there, as on many clusters
    assert names(folder) == ["model.py", "model.safetensors"]


@pytest.mark.parametrize("fault", ["weights", "stride", "import"])
def test_the_check_finds_a_planted_fault(graph: Graph, tmp_path: Path, fault: str) -> None:
    weights = weights_of(graph)
    staged(graph, weights, tmp_path)
    source = model_source(graph)
    if fault == "weights":
        changed = {**weights, "stem.norm.running_mean": weights["stem.norm.running_mean"] + 1e-2}
        save_file(changed, tmp_path / "model.safetensors")
    elif fault == "stride":
        assert source.count("stride=2") == 1
        (tmp_path / "model.py").write_text(source.replace("stride=2", "stride=1"))
    else:
        (tmp_path / "model.py").write_text("import search_spaces\n" + source)
    with pytest.raises(
        RuntimeError, match=r"the exported model\.py (differs|does not run|needs pack)"
    ):
        check_in_fresh_process(graph, weights, tmp_path)


def test_a_check_that_takes_too_long_is_an_error_of_the_surroundings(
    winner: Winner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.fresh_process.MOST_SECONDS", 0.01)
    with pytest.raises(NasError, match=r"check of model\.py took longer than 0\.01 s") as caught:
        export(winner, tmp_path / "out")
    assert caught.value.exit_code == 5
    assert names(tmp_path) == []


def test_a_failed_check_leaves_nothing(
    winner: Winner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "raise SystemExit('broken on purpose')\n"
    monkeypatch.setattr("nas.export.model_source", lambda graph: broken)
    with pytest.raises(RuntimeError, match="does not run: broken on purpose"):
        export(winner, tmp_path / "out")
    assert names(tmp_path) == []


# Where it is written -----------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("there", [False, True])
def test_a_new_or_empty_folder_is_taken(winner: Winner, tmp_path: Path, *, there: bool) -> None:
    if there:
        (tmp_path / "out").mkdir()
    export(winner, tmp_path / "out")
    assert names(tmp_path / "out") == FILES
    assert names(tmp_path) == ["out"]


def test_a_folder_that_holds_something_is_refused_and_left_alone(
    winner: Winner, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(NasError, match="is there already; choose another folder") as caught:
        export(winner, tmp_path / "out")
    assert caught.value.exit_code == 2
    assert (names(tmp_path), names(tmp_path / "out")) == (["out"], ["notes.txt"])


def test_a_file_in_its_place_is_refused(winner: Winner, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(NasError, match="is there already"):
        export(winner, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.usefixtures("unchecked")
def test_nothing_is_written_through_a_link(winner: Winner, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NasError, match="cannot write") as caught:
        export(winner, tmp_path / "out")
    assert caught.value.exit_code == 5
    assert names(tmp_path) == ["elsewhere", "out"]
    assert names(tmp_path / "elsewhere") == []


def test_a_name_that_no_disk_takes_is_an_error_of_the_surroundings(
    winner: Winner, tmp_path: Path
) -> None:
    with pytest.raises(NasError, match="cannot write") as caught:
        export(winner, tmp_path / ("x" * 300))
    assert caught.value.exit_code == 5


@pytest.mark.usefixtures("unchecked")
def test_a_full_disk_leaves_nothing(
    winner: Winner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NasError, match="No space left on device") as caught:
        export(winner, tmp_path / "out")
    assert caught.value.exit_code == 5
    assert names(tmp_path) == []


# Hostile text ------------------------------------------------------------------------------


@pytest.fixture
def hostile(graph: Graph) -> Winner:
    classes = Preprocessing(HOSTILE[:2], (0.5,), (0.25,))
    figures = {text: text for text in HOSTILE} | {"Parameters": "0", "MACs": "none at all"}
    return Winner(graph, to_document(architecture()), None, classes, figures)


def test_text_in_the_card_stays_text(hostile: Winner, tmp_path: Path) -> None:
    export(hostile, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "<img" not in card.replace("\\<img", "")
    assert not re.search(r"(?<!\\)[<>]", card)
    assert re.findall(r"(?<!\\)\]\([^)]*", card) == ["](architecture.svg"]
    assert all(sign.isprintable() or sign == "\n" for sign in card)
    table = card[card.index("|---|---|") : card.index("## Use")].strip().splitlines()[1:]
    assert len(table) == 4 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in table)
    assert "x" * 301 not in card
    assert not re.search(r"(?<!\\)[`*~&]", "\n".join(table))


def test_the_card_has_a_row_for_each_class(hostile: Winner, tmp_path: Path) -> None:
    figures = (ClassFigures(1234, 0.5, 0.25, 1 / 3), ClassFigures(0, 0.0, 0.0, 0.0))
    export(dataclasses.replace(hostile, by_class=figures), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    table = card[card.index("## Classes") : card.index("## Use")].strip().splitlines()[4:]
    assert [row.rpartition("1,234")[2] for row in table[:1]] == [" | 0.5 | 0.25 | 0.3333 |"]
    assert len(table) == 2
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in table)
    assert not re.search(r"(?<!\\)[`*~&<>]", "\n".join(table))


def test_many_classes_are_cut_in_the_card(hostile: Winner, tmp_path: Path) -> None:
    names = tuple(f"class {number}" for number in range(MOST_ROWS + 2))
    many = Preprocessing(names, (0.5,), (0.25,))
    figures = (ClassFigures(1, 1.0, 1.0, 1.0),) * len(names)
    export(dataclasses.replace(hostile, preprocessing=many, by_class=figures), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.count("| 1 | 1 | 1 | 1 |") == MOST_ROWS
    assert "2 more are in architecture.json." in card


def test_figures_do_not_replace_what_was_counted(hostile: Winner, tmp_path: Path) -> None:
    export(hostile, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| Parameters | {hostile.graph.params:,} |" in card
    assert "none at all" not in card


def test_no_text_reaches_the_source(hostile: Winner, tmp_path: Path) -> None:
    export(hostile, tmp_path / "out")
    plain = tmp_path / "plain"
    export(dataclasses.replace(hostile, preprocessing=None, figures=None), plain)
    assert (tmp_path / "out" / "model.py").read_bytes() == (plain / "model.py").read_bytes()


def test_hostile_text_survives_a_second_export(hostile: Winner, tmp_path: Path) -> None:
    export(hostile, tmp_path / "out")
    again = find(tmp_path / "out").winner
    assert again.preprocessing == hostile.preprocessing
    export(again, tmp_path / "again")
    for name in FILES[:5]:
        first, second = (tmp_path / folder / name for folder in ("out", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_more_than_twenty_classes_are_counted(tmp_path: Path) -> None:
    graph = lower(architecture(classes=30))
    names_of = tuple(f"class-{n}" for n in range(30))
    export(Winner(graph, preprocessing=Preprocessing(names_of, (0.5,), (1.0,))), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "class-19 and 10 more." in card
    assert "class-20" not in card


def test_what_is_exported_is_what_was_trained(exported: Path) -> None:
    model = nas.load(exported)
    weights = load_file(exported / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
