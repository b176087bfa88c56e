"""``nas status`` of folders that are of no search."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nas import folder_status
from nas.cli import run
from nas.errors import NasError
from nas.export import Winner, export
from search_spaces.architecture import lower
from search_spaces.reference import REFERENCES

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What the command prints of a folder."""

    def status(folder: Path, *flags: str) -> str:
        run(["status", str(folder), *flags])
        return capsys.readouterr().out

    return status


def test_an_exported_network_is_named_with_its_figures(exported: Path, said: Said) -> None:
    text = said(exported)
    assert "an exported network, with weights, 1x8x8" in text
    assert "  Data: arrays: 56 training" in text
    document = json.loads(said(exported, "--json"))
    assert (document["kind"], document["state"]) == ("network", "finished")
    assert "Test accuracy" in document["figures"]


def test_a_family_is_named_member_by_member(tmp_path: Path, said: Said) -> None:
    graph = lower(REFERENCES["siamese_branch"]())
    for phi in (1, 2):
        export(Winner(graph), tmp_path / "family" / f"phi_{phi}")
    text = said(tmp_path / "family")
    assert "a scaled family of 2" in text
    assert f"  phi_2: {'x'.join(str(int(side)) for side in graph.input_shape)}, " in text


def test_what_is_none_of_these_is_refused_as_before(tmp_path: Path) -> None:
    assert folder_status.document(tmp_path) is None
    assert folder_status.document(tmp_path / "nowhere") is None
    with pytest.raises(NasError, match=r"holds no run\.json; name the folder of a search"):
        run(["status", str(tmp_path)])


def test_a_damaged_description_is_one_line(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "out")
    (tmp_path / "out" / "architecture.json").write_text('{"graph": []}')
    with pytest.raises(NasError, match="graph must be"):
        folder_status.document(tmp_path / "out")


def test_a_damaged_summary_of_a_training_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text('{"recipe": {"epochs": 3}}')
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(NasError, match=r"summary: .*epochs") as caught:
        folder_status.document(tmp_path)
    assert caught.value.exit_code == 4


def test_watching_ends_when_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.folder_status.time.sleep", lambda _: None)
    found = {"state": "running"}
    assert folder_status.watched(tmp_path / "gone", found) is found
