"""``nas bench`` as a whole: the document, the text, the pictures and the user's mistakes."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from nas.bench import command
from nas.bench.chart import chart
from nas.bench.report import text
from nas.cli import run
from nas.errors import NasError
from strategies import DEFAULT_STRATEGY

RESULT = {
    "strategy",
    "queries",
    "seeds",
    "regret_mean",
    "regret_stderr",
    "rank_mean",
    "optimum_share",
    "seconds_per_ask",
}
PAIR = {"strategy", "other", "queries", "difference_mean", "difference_low", "difference_high"}


def cube(*, best: int, noise: bool = False) -> str:
    """64 networks; the nearer every answer is to ``best``, the better."""
    lines = [
        "decision:a,decision:b,decision:c,cost:macs,"
        + ("run:x,run:y" if noise else "search:s,report:r")
    ]
    for row in range(64):
        answers = (row // 16, row // 4 % 4, row % 4)
        score = -sum((answer - best) ** 2 for answer in answers)
        other = score + (row * 7 % 5 if noise else 0)
        lines.append(",".join(map(str, [*answers, 1 + sum(answers), score, other])))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("tables")
    paths = [folder / "plain.csv", folder / "noisy.csv"]
    paths[0].write_text(cube(best=1))
    paths[1].write_text(cube(best=2, noise=True))
    return paths


@pytest.fixture(scope="module")
def found(tables: list[Path]) -> Mapping[str, Any]:
    return command.bench(tables, ["grid"], queries=[20, 5], seeds=4, limits=["macs=75%"])


def test_the_document_has_every_strategy_table_and_number(found: Mapping[str, Any]) -> None:
    assert [table["table"] for table in found["tables"]] == ["plain", "noisy"]
    names = ["grid", DEFAULT_STRATEGY, "random", "largest"]
    places = [(row["table"], row["strategy"], row["queries"]) for row in found["results"]]
    assert places == [
        (table, name, count) for table in ("plain", "noisy") for name in names for count in (5, 20)
    ]
    assert all(row.keys() >= RESULT and row["seeds"] == 4 for row in found["results"])
    assert all(row.keys() >= PAIR for row in found["paired"])
    assert found["default"] == DEFAULT_STRATEGY
    others = {row["other"] for row in found["paired"]}
    assert others == {"grid", "random", "largest"}
    assert {row["strategy"] for row in found["paired"]} == {DEFAULT_STRATEGY}
    json.dumps(found, allow_nan=False)


def test_pairs_are_the_differences_of_the_results(found: Mapping[str, Any]) -> None:
    means = {
        (row["table"], row["strategy"], row["queries"]): row["regret_mean"]
        for row in found["results"]
    }
    for row in found["paired"]:
        place = (row["table"], row["queries"])
        default, other = (means[place[0], row[who], place[1]] for who in ("strategy", "other"))
        assert row["difference_mean"] == pytest.approx(default - other)
        assert row["difference_low"] <= row["difference_mean"] <= row["difference_high"]
        assert row["p_holm"] >= row["p_value"]


def test_limits_and_floors_are_in_the_document(found: Mapping[str, Any]) -> None:
    plain, noisy = found["tables"]
    assert plain["limits"] == noisy["limits"] == {"macs": 7.0}
    assert 0 < plain["feasible"] < plain["networks"] == 64
    assert [floor["regret_mean"] for floor in plain["floors"]] == [0.0, 0.0]
    assert all(floor["regret_mean"] > 0 for floor in noisy["floors"])


def test_the_text_has_every_figure_on_a_line_of_its_strategy(found: Mapping[str, Any]) -> None:
    shown = text(found)
    assert all(line == line.rstrip() for line in shown.splitlines())
    for row in found["results"]:
        cell = f"{row['regret_mean']:.4f} +- {row['regret_stderr']:.4f}"
        assert any(line.startswith(row["strategy"]) and cell in line for line in shown.splitlines())
    assert "plain: " in shown
    assert "macs at most 7; 4 seeds" in shown
    assert "(floor)" in shown


def test_early_ends_are_told(tables: list[Path]) -> None:
    found = command.bench(tables[:1], ["grid"], queries=[100], seeds=2)
    assert "grid had nothing more to ask before 100 queries in 2 of 2 seeds" in text(found)


def test_the_picture_shows_every_strategy_and_escapes_names(found: Mapping[str, Any]) -> None:
    found = copy.deepcopy(found)
    for row in found["results"]:
        if row["strategy"] == "grid":
            row["strategy"] = "<grid & co>" + "x" * 40
    for table in found["tables"]:
        root = ET.fromstring(chart(found, table))  # noqa: S314 - our own
        spoken = ["".join(element.itertext()) for element in root.iter() if element.text]
        shown = " ".join(spoken)
        for name in ("<grid & co>", DEFAULT_STRATEGY, "random", "largest", "floor of what is told"):
            assert name in shown
        lines = [element for element in root.iter() if element.tag.endswith("polyline")]
        assert len(lines) == 5
        for line in lines:
            points = [
                tuple(map(float, point.split(","))) for point in line.attrib["points"].split()
            ]
            assert len(points) == 2
            assert all(70 <= x <= 470 and 50 <= y <= 370 for x, y in points)


def test_a_picture_of_one_number_of_queries_and_no_regret_is_whole(tables: list[Path]) -> None:
    found = command.bench(tables[:1], ["grid"], queries=[64], seeds=2)
    assert {row["regret_mean"] for row in found["results"]} == {0.0}
    ET.fromstring(chart(found, found["tables"][0]))  # noqa: S314 - our own


def test_a_folder_gets_the_document_and_a_picture_of_each_table(
    tables: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    found = command.bench(tables, ["grid"], queries=[5], seeds=2, out=out)
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "noisy.svg", "plain.svg"]
    assert json.loads((out / "bench.json").read_text()) == json.loads(json.dumps(found))
    with pytest.raises(NasError, match="is there already; choose another folder"):
        command.bench(tables, ["grid"], queries=[5], seeds=2, out=out)


def test_a_folder_that_cannot_be_made_is_told_before_anything_runs(
    tables: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(NasError, match="--out: cannot write") as caught:
        command.bench(tables, ["grid"], queries=[5], seeds=2, out=tables[0] / "below")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--strategies rndom", "did you mean random?"),
        ("--strategies random,,grid", "--strategies must be names or numbers between commas"),
        ("--queries 10,x", "--queries must be whole numbers such as 10,20,50, got '10,x'"),
        ("--queries 0,10", "--queries must be whole numbers in [1, 100,000], got [0, 10]"),
        ("--queries -5", "--queries must be whole numbers"),
        ("--seeds 1", "--seeds must be at least 2"),
        ("--max-cost macs", "--max-cost: must be COST=VALUE"),
        ("--max-cost flops=5", "there is no 'flops'"),
        ("--table {table}", "names of files must differ, got plain twice"),
        ("--strategies evolution:tournament_size=0", "tournament_size must be in"),
    ],
)
def test_a_mistake_is_one_line(tables: list[Path], options: str, message: str) -> None:
    line = f"bench --table {tables[0]} {options.format(table=tables[0])}"
    with pytest.raises(NasError) as caught:
        run(line.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_command_prints_text_or_one_document(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = f"--table {tables[0]} --table {tables[1]}"
    line = f"bench {files} --strategies grid,random --queries 5,9 --seeds 3"
    run(line.split())
    printed = capsys.readouterr()
    assert "regret of the recommended" in printed.out
    assert "plain: 3 of 3 seeds" in printed.err
    run([*line.split(), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [row["queries"] for row in document["results"][:2]] == [5, 9]


def test_a_peer_takes_part_by_its_name(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--queries", "4", "--seeds", "2", "--json"]
    run(["bench", "--table", str(tables[0]), "--strategies", "optuna-gp", *flags])
    names = {row["strategy"] for row in json.loads(capsys.readouterr().out)["results"]}
    assert "optuna-gp" in names
