"""Plug-ins by name: built in or installed, listed even where one is broken."""

import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from estimators import ESTIMATORS
from estimators.training import Training
from nas import plugins
from nas.errors import NasError
from search_spaces import SEARCH_SPACES
from strategies import STRATEGIES
from strategies.random import RandomSearch
from strategies.strategy import Strategy

KINDS = [*plugins.BUILT_IN]


class Own(Strategy):
    """A strategy of somebody else."""


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs plug-ins under entry points of one kind: name and value of each."""
    module = ModuleType("somebody")
    module.Own = Own  # type: ignore[attr-defined]
    module.number = 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebody", module)

    def entry_points(kind: str, *points: tuple[str, str]) -> None:
        group = f"nas.{kind}"
        installed = [EntryPoint(name, value, group) for name, value in points]
        monkeypatch.setattr(
            plugins, "entry_points", lambda group: [p for p in installed if p.group == group]
        )

    return entry_points


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_can_be_loaded_by_the_name_in_its_table(kind: str) -> None:
    assert plugins.names(kind) == sorted(plugins.BUILT_IN[kind])
    for name, target in plugins.BUILT_IN[kind].items():
        module, _, attribute = target.partition(":")
        assert plugins.load(kind, name) is getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("strategies", "evolutoin", "strategy: there is no 'evolutoin'; did you mean evolution?"),
        (
            "search_spaces",
            "zzz",
            f"search space: there is no 'zzz'; known are {', '.join(SEARCH_SPACES)}",
        ),
        ("estimators", "", f"estimator: there is no ''; known are {', '.join(ESTIMATORS)}"),
        ("datasets", "digit", "data set: there is no 'digit'; did you mean digits?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(kind: str, name: str, message: str) -> None:
    with pytest.raises(NasError) as caught:
        plugins.load(kind, name)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_a_name_of_a_thousand_letters_is_cut_short() -> None:
    with pytest.raises(NasError) as caught:
        plugins.load("strategies", "x" * 1000)
    assert len(str(caught.value)) < 200


def test_an_installed_plug_in_is_listed_and_loaded(install: Install) -> None:
    install("strategies", ("own", "somebody:Own"))
    assert plugins.names("strategies") == sorted([*STRATEGIES, "own"])
    assert plugins.load("strategies", "own") is Own
    assert plugins.names("estimators") == sorted(ESTIMATORS)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nowhere.at_all:Own", "ModuleNotFoundError: No module named 'nowhere'"),
        ("somebody:Missing", "AttributeError: module 'somebody' has no attribute 'Missing'"),
        ("somebody", "AttributeError"),
        ("somebody:number", "somebody:number must be a class, got 7"),
    ],
)
def test_a_plug_in_that_cannot_be_had_is_named_with_the_reason(
    install: Install, value: str, reason: str
) -> None:
    install("strategies", ("own", value))
    with pytest.raises(NasError) as caught:
        plugins.load("strategies", "own")
    assert str(caught.value).startswith("strategy own: ")
    assert reason in str(caught.value)
    assert plugins.load("strategies", "random") is RandomSearch


@pytest.mark.parametrize("error", ["raise ValueError('no')", "this is no python", "1 / 0"])
def test_a_module_may_fail_in_any_way(
    install: Install, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (tmp_path / "breaks.py").write_text(error)
    monkeypatch.syspath_prepend(tmp_path)
    install("strategies", ("own", "breaks:Own"))
    with pytest.raises(NasError, match="strategy own: cannot be imported: "):
        plugins.load("strategies", "own")


@pytest.mark.parametrize(
    "points",
    [
        [("random", "somebody:Own")],
        [("own", "somebody:Own"), ("own", "other:Own")],
    ],
)
def test_a_name_that_is_taken_twice_is_nobodys(
    install: Install, points: list[tuple[str, str]]
) -> None:
    install("strategies", *points)
    name = points[0][0]
    with pytest.raises(NasError, match=f"strategy {name}: the name is taken twice, by ") as caught:
        plugins.load("strategies", name)
    assert "somebody:Own" in str(caught.value)
    assert plugins.names("strategies").count(name) == 1
    assert inspect.isclass(plugins.load("strategies", "grid"))


def test_a_plug_in_that_is_found_twice_is_one(install: Install) -> None:
    install("strategies", ("own", "somebody:Own"), ("own", "somebody:Own"))
    assert plugins.load("strategies", "own") is Own


def test_an_option_that_does_not_exist_is_answered_with_the_nearest() -> None:
    plugins.check_options(Training, {"epochs": 3}, "estimator")
    with pytest.raises(NasError) as caught:
        plugins.check_options(Training, {"epoch": 3}, "estimator")
    assert str(caught.value) == "estimator.epoch: there is no 'epoch'; did you mean epochs?"


def odd(
    genome: object, *, path: object = sys.stdout, needed: int, rate: float = float("nan")
) -> None: ...


def test_options_are_the_keyword_only_parameters() -> None:
    assert [*plugins.options(odd)] == ["path", "needed", "rate"]
    assert [*plugins.options(RandomSearch)] == ["uniform"]


def test_a_description_is_json_whatever_the_defaults_are() -> None:
    described = plugins.description("odd", odd)
    defaults = {option["name"]: option["default"] for option in described["options"]}
    assert defaults["needed"] == "(required)"
    assert defaults["rate"] == "NaN"
    assert isinstance(defaults["path"], str)
    assert described["text"] == ""


def test_what_has_no_signature_has_no_options() -> None:
    assert plugins.options(int) == {}


def test_settings_are_read_by_part() -> None:
    texts = [
        "strategy.population_size=20",
        "estimator.learning_rate=1e-3",
        "space.granularity=block",
        "space.flag=true",
        "space.nothing=null",
        "space.text=a=b",
        "space.empty=",
        "estimator.not_a_number=NaN",
        "estimator.large=" + "1" * 5000,
        "estimator.deep=" + "[" * 10_000,
    ]
    parsed = plugins.parse_settings(texts)
    assert parsed["strategy"] == {"population_size": 20}
    assert parsed["space"] == {
        "granularity": "block",
        "flag": True,
        "nothing": None,
        "text": "a=b",
        "empty": "",
    }
    assert parsed["estimator"]["learning_rate"] == 1e-3
    assert parsed["estimator"]["not_a_number"] == "NaN"  # a text, which no number option takes
    assert isinstance(parsed["estimator"]["large"], str)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("population_size=20", "--set must be PART.OPTION=VALUE, got 'population_size=20'"),
        ("strategy.population_size", "--set must be PART.OPTION=VALUE"),
        ("strategy.=20", "--set must be PART.OPTION=VALUE"),
        ("=20", "--set must be PART.OPTION=VALUE"),
        ("", "--set must be PART.OPTION=VALUE"),
        ("strtaegy.x=1", "there is no 'strtaegy'; did you mean strategy?"),
    ],
)
def test_a_setting_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(NasError) as caught:
        plugins.parse_settings([text])
    assert message in str(caught.value)


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(NasError, match=r"--set estimator\.epochs: is given twice"):
        plugins.parse_settings(["estimator.epochs=1", "estimator.epochs=2"])
