"""What a running search shows: a line per trained child off a terminal, a panel on one."""

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nas.children import Children
from nas.finalists import Finalist
from nas.limits import Limits, Objective
from nas.progress import Lines, LivePanel, Progress, Silent, for_this_terminal
from nas.record import Record
from nas.trial import Trial
from nas.workers import Activity, Failure, Job, Outcome, Workers
from search_spaces.space import SearchSpace

FOLDER = Path("runs/one")


class Two(Workers):
    """One busy worker and one that starts."""

    @property
    def free(self) -> int:
        return 0

    def submit(self, job: Job) -> None:
        raise AssertionError("only looked at")

    def wait(self, timeout: float) -> Outcome | None:
        raise AssertionError("only looked at")

    def activity(self) -> tuple[Activity, ...]:
        return (
            Activity("host:11", 7, "busy", 75.0),
            Activity("worker", None, "starting", 2.0),
        )

    def close(self) -> None:
        raise AssertionError("only looked at")


class Run:
    """A record that grows."""

    def __init__(self, budget: int = 100) -> None:
        self.record = Record(Objective("accuracy", "maximize"), budget)

    def trial(self, state: str, accuracy: float | None = None, **more: Any) -> Trial:
        ordinal = len(self.record.trials)
        metrics = {} if accuracy is None else {"accuracy": accuracy, "log_loss": 0.25}
        self._add(
            "asked",
            ordinal=ordinal,
            genotype={"width": ordinal},
            proposed_fidelity=1.0,
            fidelity=1.0,
            hash=str(ordinal),
            params=12_345,
            macs=6_700_000,
            latency_ms=None,
            seed=1,
        )
        if state in {"complete", "failed", "running"}:
            self._add("started", ordinal=ordinal, attempt=1)
        if state != "running":
            ended: Mapping[str, Any] = {"cause": "", "message": "", "of": None, "trace": "", **more}
            self._add(
                "finished", ordinal=ordinal, state=state, metrics=metrics, seconds=1.5, **ended
            )
            self._add("told", ordinal=ordinal, rewards=None)
        return self.record.trials[ordinal]

    def _add(self, event: str, **values: Any) -> None:
        self.record.apply({"event": event, "at": float(len(self.record.trials)), **values})


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def finalist(mini: type[SearchSpace], run: Run) -> Finalist:
    trial = run.trial("complete", 0.98765)
    genotype = mini((1, 8, 8), 2).genome.unrank(0)
    child = Children(mini((1, 8, 8), 2), Limits()).child(genotype)
    return Finalist(trial, child, (0.5, 0.75), None, "accuracy", {"accuracy": 0.625})


# Lines ---------------------------------------------------------------------------------------


def test_a_trained_child_is_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin(FOLDER, run.record, Two())
    for _ in range(3):
        run.trial("complete", 0.5)
    lines.finished(run.trial("complete", 0.98765))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for part in ("[  4/100]", "accuracy 0.9877", "12.3k params", "6.7M MACs", "best 0.9877"):
        assert part in captured.err


def test_children_that_cost_nothing_are_counted_with_the_next(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines()
    lines.begin(FOLDER, run.record, Two())
    run.trial("infeasible")
    lines.finished(run.trial("duplicate", 0.5))
    run.trial("duplicate", 0.5)
    assert capsys.readouterr().err == ""
    lines.finished(run.trial("complete", 0.5))
    lines.finished(run.trial("complete", 0.5))
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("(3 known or infeasible)")
    assert "known" not in second


def test_a_failure_is_one_line_whatever_its_message_holds(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines()
    lines.begin(FOLDER, run.record, Two())
    message = "bad\x1b[2J\nworse" + 500 * "x"
    lines.finished(run.trial("failed", cause="nan", message=message))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "failed: nan: bad [2J worse" in error
    assert "\x1b" not in error
    assert len(error) < 250


def test_the_first_traceback_is_shown_and_no_other(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines()
    lines.begin(FOLDER, run.record, Two())
    for number in range(2):
        lines.finished(run.trial("failed", cause="nan", trace=f"Traceback\n  here {number}"))
    error = capsys.readouterr().err
    assert "here 0" in error
    assert "here 1" not in error


def test_a_run_that_goes_on_says_where(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.trial("complete", 0.5)
    run.trial("running")
    Lines().begin(FOLDER, run.record, Two())
    assert capsys.readouterr().err == (
        "runs/one: 2 of 100 children were started before; 1 of them are trained again\n"
    )


def test_a_finalist_is_one_line(
    run: Run, finalist: Finalist, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines()
    lines.begin(FOLDER, run.record, Two())
    capsys.readouterr()
    lines.rescored(finalist)
    assert capsys.readouterr().err == (
        "finalist trial 0: accuracy 0.6250 on fresh seeds (0.5000, 0.7500), 0.9877 in the search\n"
    )


def test_silence_is_silent(
    run: Run, finalist: Finalist, capsys: pytest.CaptureFixture[str]
) -> None:
    with Silent() as silent:
        silent.begin(FOLDER, run.record, Two())
        silent.started(0, "trial 0")
        silent.finished(run.trial("complete", 0.5))
        silent.rescored(finalist)
        silent.tick()
        silent.notice("stopping")
    assert capsys.readouterr() == ("", "")


# The panel -----------------------------------------------------------------------------------


def drawn(progress: Progress, run: Run, finalist: Finalist | None = None) -> None:
    with progress:
        progress.begin(FOLDER, run.record, Two())
        progress.started(7, "trial 7")
        progress.finished(run.trial("complete", 0.75))
        progress.finished(run.trial("failed", cause="nan", message="lost\x1b[2J"))
        if finalist is not None:
            progress.rescored(finalist)
        progress.tick()


def test_the_panel_shows_states_best_pace_and_every_worker(run: Run, finalist: Finalist) -> None:
    out = StringIO()
    run.trial("infeasible")
    drawn(LivePanel(Console(file=out, force_terminal=True, width=100)), run, finalist)
    text = out.getvalue()
    assert "runs/one: running" in text
    assert "2 complete, 1 failed, 1 infeasible" in text
    assert "3 of 100" in text
    assert "trial 0: accuracy 0.9877, 12.3k parameters, 6.7M MACs" in text
    assert "children an hour" in text
    assert "left" in text
    assert "host:11" in text
    assert "trial 7, 1:15" in text
    assert "starting, 2 s" in text
    assert "finalist trial 0" in text


def test_what_a_child_says_cannot_command_the_terminal(run: Run) -> None:
    out = StringIO()
    drawn(LivePanel(Console(file=out, force_terminal=True, width=100)), run)
    assert "trial 1 failed: nan: lost [2J" in out.getvalue()
    assert "lost\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("tty", "terminal", "kind"),
    [(False, "xterm", Lines), (True, "dumb", Lines), (True, "xterm", LivePanel)],
)
def test_a_panel_is_for_terminals_that_can_show_one(
    monkeypatch: pytest.MonkeyPatch, *, tty: bool, terminal: str, kind: type[Progress]
) -> None:
    stream = StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", terminal)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(for_this_terminal(), kind)


def test_the_clocks_of_the_panel_run_on_between_looks(run: Run) -> None:
    panel = LivePanel(Console(file=StringIO(), force_terminal=True))
    panel.begin(FOLDER, run.record, Two())
    assert panel._shown is not None
    standing = panel._shown[0]
    later = standing.later(10)
    assert later.seconds == standing.seconds + 10
    assert [since for *_, since in later.workers] == [85.0, 12.0]
    assert replace(later, seconds=standing.seconds, workers=standing.workers) == standing


def test_a_notice_of_a_signal_is_shown_by_both(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Lines().notice("stopping: soon")
    assert capfd.readouterr().err == "stopping: soon\n"
    out = StringIO()
    progress = LivePanel(Console(file=out, force_terminal=True, width=100))
    progress.notice("stopping: soon")
    drawn(progress, run)
    assert "stopping: soon" in out.getvalue()


def test_a_training_beside_the_search_that_fails_is_told_with_its_trace(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    failure = Failure("user_code", "ValueError: odd\x1b[2J", "Traceback\n  line 7\nValueError: odd")
    Lines().failed("trial 3, final training", failure)
    first, *trace = capfd.readouterr().err.splitlines()
    assert first == "trial 3, final training failed: user_code: ValueError: odd [2J"
    assert trace == ["    Traceback", "      line 7", "    ValueError: odd"]
    out = StringIO()
    progress = LivePanel(Console(file=out, force_terminal=True, width=100))
    progress.failed("trial 3, final training", failure)
    assert "      line 7" in out.getvalue()
    before = len(out.getvalue())
    drawn(progress, run)
    assert "trial 3, final training failed: user_code" in out.getvalue()[before:]
    assert "odd\x1b" not in out.getvalue()
