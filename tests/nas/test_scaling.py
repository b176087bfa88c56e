"""``nas scale``: what a user writes, what is refused, and what a run on digits finds."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from nas import family, scaling
from nas.children import Children
from nas.errors import NasError
from nas.export import Winner, export
from nas.finalists import Finalist
from nas.limits import Limits, Objective
from nas.run_folder import DataOptions
from nas.scaling_chart import SURFACE, chart
from nas.trial import Trial
from search_spaces.architecture import Architecture, lower, to_document
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.compound import Rounding
from search_spaces.genome import Genotype
from search_spaces.reference import REFERENCES
from search_spaces.scaling import ScalingSpace, points

BASE = Architecture(
    "Base",
    (1, 8, 8),
    ConvNormAct(4),
    ((MBConv(4, expansion=2),) * 2, (MBConv(8, stride=2, expansion=2),) * 2),
    Classifier(10, width=16),
)
TRIAL = Trial(0, Genotype(()), "digest", "complete", 1, 1, 1.0, 0)
# Eight different networks of the base, or a few more.
OPTIONS: dict[str, Any] = {
    "base": to_document(BASE),
    "alpha": [1.0, 1.2, 1.4, 1.6],
    "beta": [1.0, 1.25, 1.5],
    "gamma": [1.0, 1.13, 1.25],
    "tolerance": 0.3,
    "divisor": 2,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.15", [1.15]),
        ("1.0:1.2:0.05", [1.0, 1.05, 1.1, 1.15, 1.2]),
        ("1:1.3:0.1", [1.0, 1.1, 1.2, 1.3]),
        ("1:1.25:0.1", [1.0, 1.1, 1.2]),
        ("1:1:0.1", [1.0]),
    ],
)
def test_a_range_holds_its_last_number_where_steps_reach_it(
    text: str, expected: list[float]
) -> None:
    assert scaling.values(text, "--grid alpha") == expected


def test_powers_go_up_by_one() -> None:
    assert scaling.values("1:4", "--phi", step=1.0) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("text", ["", "1:2", "x", "-1", "2:1:0.1", "1:2:0", "1:9:0.001", "1,2"])
def test_another_range_is_refused(text: str) -> None:
    with pytest.raises(NasError, match="--grid alpha must") as caught:
        scaling.values(text, "--grid alpha")
    assert caught.value.exit_code == 2


def test_a_grid_names_its_axes() -> None:
    assert scaling.grid("") == {}
    found = scaling.grid("alpha=1:1.2:0.1, gamma=1.15,phi=2")
    assert found == {"alpha": [1.0, 1.1, 1.2], "gamma": [1.15], "phi": [2.0]}


@pytest.mark.parametrize("text", ["alpha", "delta=1:2:1", "alpha=1,alpha=2", "alpha=1,"])
def test_another_grid_is_refused(text: str) -> None:
    with pytest.raises(NasError, match="--grid must be alpha="):
        scaling.grid(text)


def test_a_tolerance_is_a_share() -> None:
    assert scaling.share("5%") == scaling.share("0.05") == 0.05
    with pytest.raises(
        NasError, match=r"--tolerance must be a share such as 5% or 0\.05, got '-1'"
    ):
        scaling.share("-1")


def test_a_gamma_of_eleven_tenths_beside_the_papers_others_is_explained() -> None:
    said = scaling.note([1.2], [1.1], [1.1])
    assert "product of 1.757, not 2" in said
    assert "1.15, 1.920" in said
    assert scaling.note([1.0, 1.2], [1.1], [1.1])
    assert not scaling.note([1.2], [1.1], [1.15])
    assert not scaling.note([1.2], [1.1], [1.1, 1.15])


def test_a_grid_of_few_networks_is_refused_with_what_leaves_more() -> None:
    few = {**OPTIONS, "tolerance": 0.02}
    with pytest.raises(NasError, match=r"at least 8 different networks within 0\.02") as caught:
        scaling.surveyed(few, "digits", DataOptions())
    assert caught.value.exit_code == 2
    offered = str(caught.value).split("--tolerance ")[1].split("%")
    share, count = int(offered[0]) / 100, int(offered[1].split("for ")[1].split(",")[0])
    space = scaling.surveyed({**OPTIONS, "tolerance": share}, "digits", DataOptions())
    assert space.genome.size == count >= 8
    assert "half the steps for" in str(caught.value)
    assert "--divisor 1 for" in str(caught.value)


def test_a_base_is_kept_whole_in_the_options(tmp_path: Path) -> None:
    export(Winner(lower(BASE), to_document(BASE)), tmp_path / "base")
    assert scaling.option_of(str(tmp_path / "base"), None) == to_document(BASE)
    sized = scaling.option_of(str(tmp_path / "base"), (10, 12))
    assert isinstance(sized, dict)
    assert sized["input_shape"] == [1, 10, 12]
    assert scaling.option_of("resnet18", None) == "resnet18"
    small = scaling.option_of("resnet18", (16, 16))
    assert isinstance(small, dict)
    assert small["input_shape"] == [3, 16, 16]


def test_a_graph_without_its_architecture_is_no_base(tmp_path: Path) -> None:
    export(Winner(lower(BASE)), tmp_path / "base")
    with pytest.raises(NasError, match="holds a graph alone"):
        scaling.base_of(str(tmp_path / "base"), None)


def test_a_family_is_written_with_its_costs(tmp_path: Path) -> None:
    b0 = REFERENCES["efficientnet_b0"]()
    grown = points(alpha=[1.2], beta=[1.1], gamma=[1.15], phi=[1, 2])
    document = family.family(b0, grown, rounding=Rounding.of(b0), out=tmp_path / "out")
    assert document["base"]["macs"] == 385_814_752
    realised = [row["realised"] for row in document["members"]]
    assert realised == pytest.approx([2.57, 4.69], abs=0.005)
    assert [row["formula"] for row in document["members"]] == pytest.approx([1.92, 3.69], abs=0.005)
    names = {path.name for path in (tmp_path / "out" / "phi_2").iterdir()}
    assert names == {"README.md", "SHA256SUMS", "architecture.json", "architecture.svg", "model.py"}
    assert scaling.base_of(str(tmp_path / "out" / "phi_2"), None).input_shape == (3, 296, 296)
    assert "3x296x296" in family.family_text(document)
    with pytest.raises(NasError, match="is there already"):
        family.family(b0, grown, rounding=Rounding.of(b0), out=tmp_path / "out")


def test_a_base_without_stages_has_no_family() -> None:
    base = REFERENCES["googlenet"]()
    grown = points(alpha=[1.2], beta=[1.1], gamma=[1.15], phi=[1])
    with pytest.raises(NasError, match=r"--base: base must .* got GoogLeNet with Inception blocks"):
        family.family(base, grown, rounding=Rounding(8, 1), out=None)


@pytest.fixture(scope="module")
def space() -> ScalingSpace:
    return ScalingSpace((1, 8, 8), 10, **OPTIONS)


def trials(space: ScalingSpace, scores: Sequence[float]) -> list[Trial]:
    """One complete trial for each score, and one that failed."""
    made = [
        replace(TRIAL, ordinal=at, genotype=space.genome.unrank(at), metrics={"accuracy": score})
        for at, score in enumerate(scores)
    ]
    last = replace(TRIAL, ordinal=len(made), genotype=made[0].genotype, state="failed")
    return [*made, last]


def found_with(space: ScalingSpace, made: Sequence[Trial], fresh: Any) -> dict[str, Any]:
    """Findings where the first trials have fresh scores, the best first."""
    children = Children(space, Limits())
    finalists = [
        Finalist(trial, children.child(trial.genotype), own, None, "accuracy", {})
        for trial, own in zip(made, fresh, strict=False)
    ]
    objective = Objective("accuracy", "maximize")
    return scaling.findings(space, made, finalists, objective=objective)


def test_networks_within_the_noise_of_the_best_are_not_told_from_it(space: ScalingSpace) -> None:
    fresh = [(0.91, 0.93), (0.89, 0.91), (0.80, 0.82)]  # pooled deviation 0.0141, 3 degrees
    found = found_with(space, trials(space, [0.95, 0.94, 0.93, 0.87, 0.86]), fresh)
    noise = math.sqrt(3 * 0.0002 / 3)
    assert found["noise"]["deviation"] == pytest.approx(noise)
    assert found["noise"]["degrees_of_freedom"] == 3
    half = 3.182446 * noise / math.sqrt(2)  # Student's t, 3 degrees of freedom, 97.5 %
    assert found["best"]["interval"] == pytest.approx([0.92 - half, 0.92 + half], abs=1e-6)
    # 0.0450 for two fresh scores against two, 0.0551 for one score of the search.
    assert [one["told_apart"] for one in found["networks"]] == [False, False, True, False, True]
    assert found["not_told_apart"] == [1, 3]
    assert [one["score"] for one in found["networks"]] == pytest.approx(
        [0.92, 0.90, 0.81, 0.87, 0.86]
    )


def test_a_best_network_that_stopped_below_the_full_fidelity_is_found(space: ScalingSpace) -> None:
    made = [replace(one, state="stopped") for one in trials(space, [0.9, 0.8, 0.7])]
    found = found_with(space, made, [(0.91, 0.93), (0.89, 0.91)])
    assert found["best"]["trial"] == 0
    assert [one["trial"] for one in found["networks"]] == [0, 1]  # the third has no fresh scores


def test_findings_name_the_coefficients_and_both_costs(space: ScalingSpace, tmp_path: Path) -> None:
    found = found_with(space, trials(space, [0.95, 0.94]), [(0.91, 0.93), (0.89, 0.91)])
    one = space.scaled(space.genome.unrank(0))
    best = found["best"]
    assert tuple(best[name] for name in ("phi", "alpha", "beta", "gamma")) == one.points[0]
    assert best["realised"] == one.realised
    assert best["formula"] == one.points[0].formula
    text = scaling.findings_text(found, tmp_path)
    assert "not to be told from it: 1 of 1 others" in text
    assert f"{one.realised:.3f} realised" in text
    assert str(tmp_path / SURFACE) in text


def test_a_grid_is_shown_with_both_factors(space: ScalingSpace) -> None:
    document = scaling.grid_document(space)
    assert document["points"] == 36
    assert len(document["networks"]) == space.genome.size
    text = scaling.grid_text(document)
    assert "formula  realised" in text
    assert f"{document['networks'][0]['realised']:.3f}" in text


def row(trial: int, score: float, *, told_apart: bool) -> dict[str, Any]:
    shares = {"phi": 1.0, "alpha": 1.1 + trial / 10, "beta": 1.1, "gamma": 1.15}
    return {"trial": trial, **shares, "score": score, "told_apart": told_apart}


def test_the_picture_has_a_mark_for_every_network_and_rings_for_the_best() -> None:
    rows = [row(0, 0.9, told_apart=False), row(1, 0.8, told_apart=True)]
    rows.append(row(2, 0.89, told_apart=False))
    rows.append({**row(3, 0.85, told_apart=True), "alpha": 1.0, "beta": 1.0, "gamma": 1.0})
    found = {"metric": "accuracy", "target": 2.0, "on": "realised", "networks": rows}
    tree = ET.fromstring(chart({**found, "best": rows[0]}))  # noqa: S314 - our own
    circles = [part for part in tree.iter() if part.tag.endswith("circle")]
    marks = [one for one in circles if len(one)]
    assert len(marks) == 4
    assert [one.get("stroke-width") for one in marks] == ["0.8", "0.8", "1.6", "3"]
    assert all(100 < float(one.get("cx", 0)) < 600 for one in marks)


@pytest.mark.slow
def test_a_killed_run_on_digits_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    export(Winner(lower(BASE), to_document(BASE)), tmp_path / "base")
    flags = [
        *("scale", "--base", "base", "--tolerance", "30%", "--divisor", "2", "--workers", "0"),
        *("--grid", "alpha=1:1.6:0.2,beta=1:1.5:0.25,gamma=1:1.26:0.13"),
        *("--set", "estimator.epochs=1", "--set", "estimator.batch_size=256"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "nas", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    whole = begin(*flags, "--out", "whole")
    assert whole.wait(300) == 0
    broken = begin(*flags, "--out", "broken")
    events = tmp_path / "broken" / "events.jsonl"
    end = time.monotonic() + 300
    while not (events.exists() and events.read_text().count('"finished"') >= 3):
        assert broken.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    broken.send_signal(signal.SIGKILL)
    broken.wait(60)
    assert not (tmp_path / "broken" / "summary.json").exists()
    (tmp_path / "base" / "architecture.json").unlink()  # the run has it
    resumed = begin("resume", "broken", "--workers", "0")
    assert resumed.wait(300) == 0
    found = [
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "broken")
    ]
    assert found[0]["scaling"] == found[1]["scaling"]
    assert found[0]["best"] == found[1]["best"]
    assert len(found[0]["scaling"]["networks"]) >= 8
