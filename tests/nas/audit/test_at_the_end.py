"""A search with an audit: done after the winner, once, with what an audit by itself says."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.audit import auditing, subjects
from nas.audit.command import audit
from nas.errors import NasError
from nas.interrupts import Interrupted
from nas.journal import read_events
from nas.progress import Lines
from nas.run_folder import AuditSize, read_json
from nas.status import read

SIZE = AuditSize(children=6, seeds=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fresh process of the export, with one proxy and a short ranking check."""
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    monkeypatch.setattr("estimators.supernet_training.JUDGED", 2)

    def few(prepared: Any) -> list[str]:
        own = prepared.run.estimator
        return ["proxy:naswot", *([] if own in subjects.BUILT_IN else [own])]

    monkeypatch.setattr(auditing, "default_labels", few)


@pytest.fixture
def options(mini: Any, cheap: Any, images: Any, tmp_path: Path) -> dict[str, Any]:
    parts = {"space": mini, "estimator": cheap, "data": images, "out": tmp_path / "run"}
    settings = {"estimator": {"luck": 0.1}}
    return {**parts, "settings": settings, "budget": 3, "study": False, "workers": 0}


def again(options: Mapping[str, Any], **changes: Any) -> nas.Result:
    given = {name: options[name] for name in ("space", "estimator", "data", "workers", "study")}
    given = {name: value for name, value in given.items() if not isinstance(value, str)}
    return nas.resume(options["out"], **{**given, **changes})


def events(folder: Path) -> list[str]:
    return [event["event"] for event in read_events(folder / "events.jsonl")]


def summary(folder: Path) -> Any:
    return read_json(folder / "summary.json", what="summary")


def test_a_search_ends_with_what_an_audit_of_its_folder_says(options: dict[str, Any]) -> None:
    folder = nas.search(**options, audit=SIZE).folder
    assert events(folder)[-1] == "audited"
    told, found = summary(folder)["audit"], read_json(folder / "audit/audit.json", what="audit")
    assert told["children"] == 6
    assert [one["estimator"] for one in told["estimators"]] == [
        *("params", "macs", "proxy:naswot"),
        read(folder)[0].estimator,
    ]
    assert told["estimators"][0]["value"] == found["estimators"][0]["tau"]["value"]
    assert told["summary"] == found["summary"]
    assert set(told["may_be_best"]) <= {one["trial"] for one in summary(folder)["finalists"]}
    lines = (folder / "audit/measured.jsonl").read_bytes()
    parts = {name: options[name] for name in ("space", "estimator")}
    assert audit(folder, children=6, seeds=1, workers=0, data=options["data"], given=parts) == found
    assert (folder / "audit/measured.jsonl").read_bytes() == lines


def test_it_is_done_once_and_again_when_the_search_is_extended(options: dict[str, Any]) -> None:
    folder = nas.search(**options, audit=SIZE).folder
    before = events(folder)
    again(options)
    assert events(folder) == before
    assert summary(folder)["audit"] is not None
    again(options, budget=4)
    assert events(folder).count("audited") == 2
    assert read(folder)[1].audited == summary(folder)["audit"]


@pytest.mark.slow
def test_ctrl_c_in_the_audit_leaves_the_winner_and_resume_goes_on(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = nas.search(**{**options, "out": options["out"].with_name("calm")}, audit=SIZE)
    settle, count = auditing.Measurements._settle, iter(range(100))

    def struck(*arguments: Any, **options: Any) -> None:
        settle(*arguments, **options)
        if next(count) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(auditing.Measurements, "_settle", struck)
    with pytest.raises(Interrupted, match=f"go on with: nas resume {options['out']}"):
        nas.search(**options, audit=SIZE)
    assert summary(options["out"])["audit"] is None
    assert (options["out"] / "best/model.py").is_file()
    measured = (options["out"] / "audit/measured.jsonl").read_bytes()
    again(options)
    assert (options["out"] / "audit/measured.jsonl").read_bytes().startswith(measured)
    mine, theirs = summary(options["out"])["audit"], summary(calm.folder)["audit"]
    assert mine | {"seconds": 0} == theirs | {"seconds": 0}


@pytest.mark.slow
def test_an_audit_without_time_is_left_to_resume(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["", "", ""])
    monkeypatch.setattr(
        "nas.driving.Driver.time_is_up",
        lambda _self, _reserve=0.0: (
            "" if not auditing_now() else next(answers, "time limit of 1 h reached")
        ),
    )

    def auditing_now() -> bool:
        return (options["out"] / "audit").exists()

    nas.search(**options, audit=SIZE)
    assert summary(options["out"])["audit"] is None
    assert len((options["out"] / "audit/measured.jsonl").read_bytes().splitlines()) > 1
    monkeypatch.undo()
    monkeypatch.setattr("nas.export.check_in_fresh_process", lambda *_: 0.0)
    monkeypatch.setattr(auditing, "default_labels", lambda _: ["proxy:naswot"])
    again(options)
    assert summary(options["out"])["audit"]["children"] == 6


@pytest.mark.slow
def test_an_audit_without_time_for_a_supernet_is_left_to_resume(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretrain, reached = auditing.pretrain, list[str]()

    def too_late(*arguments: Any, **more: Any) -> float | None:
        reached.append("time limit of 1 h reached")
        return pretrain(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(auditing, "default_labels", lambda _: ["supernet"])
        patch.setattr(auditing, "pretrain", too_late)
        patch.setattr(
            "nas.driving.Driver.time_is_up",
            lambda _self, _reserve=0.0: reached[0] if reached else "",
        )
        nas.search(**options, audit=SIZE, progress=Lines())
    assert len(reached) == 1
    assert "audit not done: time limit of 1 h reached" in capfd.readouterr().err
    assert summary(options["out"])["audit"] is None
    assert (options["out"] / "best/model.py").is_file()
    monkeypatch.setattr(auditing, "default_labels", lambda _: ["supernet"])
    again(options)
    asked = [one["estimator"] for one in summary(options["out"])["audit"]["estimators"]]
    assert asked == ["params", "macs", "supernet"]


def test_an_audit_by_itself_is_in_journal_and_summary_too(options: dict[str, Any]) -> None:
    folder = nas.search(**options).folder
    assert summary(folder)["audit"] is None
    seconds = read(folder)[1].seconds
    parts = {name: options[name] for name in ("space", "estimator")}
    audit(folder, children=6, seeds=1, workers=0, data=options["data"], given=parts)
    record = read(folder)[1]
    assert record.audited == summary(folder)["audit"] != None  # noqa: E711 - a chain
    assert record.seconds == seconds  # its clock is another
    again(options)
    assert record.audited == summary(folder)["audit"]


def test_limits_that_leave_too_few_are_told_before_the_search(
    options: dict[str, Any], mini: Any
) -> None:
    with pytest.raises(NasError, match="a uniform sample needs wider ones") as error:
        nas.search(**options, audit=SIZE, max_params=150)
    assert error.value.exit_code == 3
    assert not options["out"].exists()


@pytest.mark.slow
def test_the_own_supernet_is_asked_with_the_weights_of_the_search(options: dict[str, Any]) -> None:
    settings = {"estimator": {"epochs": 2, "batch_size": 16}}
    changed = {**options, "estimator": "supernet", "settings": settings}
    folder = nas.search(**changed, audit=SIZE).folder
    weights = (folder / "estimator/supernet.json").stat().st_mtime_ns
    rows = read_json(folder / "audit/audit.json", what="audit")["estimators"]
    assert [row["estimator"] for row in rows] == ["params", "macs", "proxy:naswot", "supernet"]
    measured = [
        event
        for event in read_events(folder / "audit/measured.jsonl")
        if event["estimator"] == "supernet"
    ]
    assert [event["cause"] for event in measured] == [""] * 6
    other = "supernet:epochs=1:batch_size=16"
    audit(
        folder,
        children=6,
        seeds=1,
        estimators=["supernet", other],
        workers=0,
        data=options["data"],
        given={"space": options["space"]},
    )
    assert (folder / "estimator/supernet.json").stat().st_mtime_ns == weights
    assert len(list((folder / "audit").glob("estimator-*/supernet.json"))) == 1
