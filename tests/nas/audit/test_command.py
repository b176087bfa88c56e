"""An audit measures each thing once, whatever ends it, and says what follows."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nas.audit import report
from nas.audit.command import audit
from nas.errors import NasError
from nas.run_folder import read_json

ESTIMATORS = ("proxy:naswot", "training@0.5")


@pytest.fixture
def run(finished: Any, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(finished.result.folder, tmp_path / "run"))


def audited(run: Path, finished: Any, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "children": 6,
        "seeds": 1,
        "estimators": ESTIMATORS,
        "workers": 0,
        "data": finished.options["data"],
        "given": {"space": finished.options["space"]},
        **changes,
    }
    return audit(run, **options)


def untimed(document: Any) -> Any:
    """Without what depends on clocks."""
    if isinstance(document, Mapping):
        return {key: untimed(value) for key, value in document.items() if "seconds" not in key}
    if isinstance(document, list):
        return [untimed(one) for one in document]
    return document


def measured(run: Path) -> list[bytes]:
    return (run / "audit" / "measured.jsonl").read_bytes().splitlines()[1:]


def test_an_audit_says_what_was_measured_and_is_written_down(run: Path, finished: Any) -> None:
    shown: list[str] = []
    found = audited(run, finished, seeds=2, show=shown.append)
    assert found["children"] == 6
    assert [row["estimator"] for row in found["estimators"]] == ["params", "macs", *ESTIMATORS]
    assert found["estimators"][0]["seconds"] == 0 < found["estimators"][2]["seconds"]
    assert found["estimators"][0]["minus_params"] is None
    assert -1 <= found["ceiling"] <= 1
    assert found["noise"] >= 0
    assert {row["trial"] for row in found["finalists"]} == {
        one.trial.ordinal for one in finished.result.finalists
    }
    assert all(row["seeds"] == 4 for row in found["finalists"])
    assert found["random"] is None
    assert read_json(run / "audit" / "audit.json", what="audit") == found
    # 6 children twice, 2 estimators once; 3 finalists on 4 seeds, less what the sample has of them.
    assert len(measured(run)) == len(shown) <= 12 + 12 + 12


@pytest.mark.slow
def test_nothing_is_measured_twice_and_more_seeds_are_added(run: Path, finished: Any) -> None:
    first = audited(run, finished)
    lines = measured(run)
    assert audited(run, finished) == first
    assert measured(run) == lines
    audited(run, finished, seeds=2)
    assert measured(run)[: len(lines)] == lines
    assert len(measured(run)) > len(lines)


@pytest.mark.slow
def test_an_audit_that_was_killed_ends_as_one_that_was_not(run: Path, finished: Any) -> None:
    calm = audited(run, finished)
    journal = run / "audit" / "measured.jsonl"
    data = journal.read_bytes()
    lines = data.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]) + lines[5][:30])  # as SIGKILL may leave it
    (run / "audit" / "audit.json").unlink()
    again = audited(run, finished)
    assert untimed(again) == untimed(calm)
    assert measured(run)[:4] == data.splitlines()[1:5]


@pytest.mark.slow
def test_ctrl_c_loses_no_measurement_that_was_made(run: Path, finished: Any) -> None:
    def show(_: str) -> None:
        if len(measured(run)) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audited(run, finished, show=show)
    before = measured(run)
    audited(run, finished)
    assert measured(run)[:3] == before


@pytest.mark.slow
def test_random_search_works_for_as_many_seconds(run: Path, finished: Any) -> None:
    random = audited(run, finished, against_random=True)["random"]
    assert random["seconds"] == sum(trial.seconds for trial in finished.result.trials)
    # It stops with the first child that reaches them, or has no network left: there are 6.
    assert random["random_seconds"] >= random["seconds"] or random["random_children"] == 6
    assert random["best"] == finished.result.best.mean
    assert random["gain"] == pytest.approx(random["best"] - random["random_best"])
    lines = len(measured(run))
    audited(run, finished, against_random=True)
    assert len(measured(run)) == lines


@pytest.mark.slow
def test_the_report_fits_a_screen(run: Path, finished: Any) -> None:
    text = report.text(audited(run, finished, seeds=2, against_random=True))
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 40
    for part in ("proxy:naswot", "cannot tell", "(blind choice)", "finalists", "random search: "):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"children": 5}, "--children must be at least 6, got 5"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
        ({"estimators": ["proxi"]}, "did you mean proxy"),
        ({"estimators": ["proxy:nasvot"]}, "did you mean naswot"),
        ({"estimators": ["proxy:scare=naswot"]}, "estimator.scare: .*did you mean score"),
        ({"estimators": ["proxy:score="]}, "must be NAME:OPTION=VALUE"),
        ({"estimators": ["training@2"]}, r"fidelity must be in \(0, 1\]"),
        ({"estimators": ["training@x"]}, r"fidelity must be in \(0, 1\]"),
    ],
)
def test_what_cannot_be_audited_is_told_before_anything_is_trained(
    run: Path, finished: Any, changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(NasError, match=message) as error:
        audited(run, finished, **changes)
    assert error.value.exit_code == 2
    assert not (run / "audit" / "measured.jsonl").exists() or measured(run) == []


def test_a_run_without_a_winner_is_told_how_to_go_on(run: Path, finished: Any) -> None:
    (run / "summary.json").unlink()
    with pytest.raises(NasError, match="has no winner yet; finish it with: nas resume") as error:
        audited(run, finished)
    assert error.value.exit_code == 4


def test_a_damaged_record_of_measurements_is_refused(run: Path, finished: Any) -> None:
    audited(run, finished)
    journal = run / "audit" / "measured.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"repeat":0', b'"repeat":-1', 1))
    with pytest.raises(NasError, match="line 2 is damaged") as error:
        audited(run, finished)
    assert error.value.exit_code == 4


@pytest.mark.slow
def test_measurements_of_another_recipe_are_not_taken(run: Path, finished: Any) -> None:
    audited(run, finished, estimators=["training@0.5"])
    lines = len(measured(run))
    audited(run, finished, estimators=["training:batch_size=8@0.5"])
    assert len(measured(run)) == lines + 6
