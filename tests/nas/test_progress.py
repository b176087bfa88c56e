"""One line per trained child and per finalist, on stderr."""

from dataclasses import replace

import pytest

from estimators.estimator import Evaluation
from nas.children import Children
from nas.finalists import Finalist
from nas.limits import Limits
from nas.progress import Lines, Silent
from nas.trial import Trial
from search_spaces.space import SearchSpace


@pytest.fixture
def trial(mini: type[SearchSpace]) -> Trial:
    genotype = mini((1, 8, 8), 2).genome.unrank(0)
    metrics = {"accuracy": 0.98765, "log_loss": 0.25}
    return Trial(3, genotype, "00", "complete", 12_345, 6_700_000, 1.0, 7, metrics=metrics)


def test_a_trained_child_is_one_line(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    Lines(100, "accuracy").finished(trial, trial, 4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for part in ("[  4/100]", "accuracy 0.9877", "12.3k params", "6.7M MACs", "best 0.9877"):
        assert part in captured.err


def test_children_that_cost_nothing_are_counted_with_the_next(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines(9, "accuracy")
    for state in ("infeasible", "duplicate", "duplicate"):
        lines.finished(replace(trial, state=state), trial, 1)
    assert capsys.readouterr().err == ""
    lines.finished(trial, trial, 2)
    lines.finished(trial, trial, 3)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("(3 known or infeasible)")
    assert "known" not in second


def test_a_failure_is_one_line_whatever_its_message_holds(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = replace(
        trial, state="failed", metrics={}, cause="nan", message="bad\x1b[2J\nworse" + 500 * "x"
    )
    Lines(9, "accuracy").finished(failed, None, 1)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "failed: nan: bad [2J worse" in error
    assert "\x1b" not in error
    assert len(error) < 250


def test_a_finalist_is_one_line(
    trial: Trial, mini: type[SearchSpace], capsys: pytest.CaptureFixture[str]
) -> None:
    child = Children(mini((1, 8, 8), 2), Limits()).child(trial.genotype)
    Lines(9, "accuracy").rescored(Finalist(trial, child, (0.5, 0.75), Evaluation({})))
    assert capsys.readouterr().err == (
        "finalist trial 3: accuracy 0.6250 on fresh seeds (0.5000, 0.7500), 0.9877 in the search\n"
    )


def test_silence_is_silent(
    trial: Trial, mini: type[SearchSpace], capsys: pytest.CaptureFixture[str]
) -> None:
    child = Children(mini((1, 8, 8), 2), Limits()).child(trial.genotype)
    Silent().finished(trial, None, 1)
    Silent().rescored(Finalist(trial, child, (0.5,), Evaluation({})))
    assert capsys.readouterr() == ("", "")
