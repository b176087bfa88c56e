"""Scores of untrained networks as features: what a run writes down, goes on with and refuses."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from estimators import proxy as proxy_module
from estimators.data import from_arrays
from estimators.proxy import Proxy
from estimators.task import Classification
from nas.children import Children
from nas.configuration import Configuration
from nas.dry_run import dry_run, text
from nas.errors import NasError
from nas.limits import Limits
from nas.preparation import prepare
from nas.proposals import Proposals
from nas.record import Record
from nas.run_folder import read_record, write_json
from nas.untrained import ScoredChildren, UntrainedScore
from search_spaces.space import SearchSpace
from search_spaces.strict_json import loads
from strategies.predictor import Predictor
from strategies.strategy import ScoredFeatures

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def given(untrained_run: dict[str, Any]) -> dict[str, Any]:
    return {
        **untrained_run,
        "strategy": "predictor",
        "budget": 5,
        "features": ("naswot", "log_synflow"),
    }


def test_children_have_scores_beside_costs_and_limits(
    mini: type[SearchSpace], images: Data
) -> None:
    space, task = mini((1, 8, 8), 2), Classification(2)
    children = Children(space, Limits(max_params=1_000))
    known = []
    for name in ("macs", "naswot"):
        proxy = Proxy(score=name, batch_size=8)
        proxy.prepare(from_arrays(*images, name="images"), task)
        known.append(UntrainedScore(proxy, task, children=children, seed=0))
    scored = ScoredChildren(children, known)
    genotype = space.genome.unrank(3)
    macs, naswot = scored.scores(genotype)
    assert macs == children.child(genotype).macs
    assert naswot == known[1].value(genotype)
    assert scored.scores(genotype) == (macs, naswot)
    assert scored.costs(genotype) == children.costs(genotype)
    assert scored.feasible(genotype) == children.feasible(genotype)
    assert scored.repaired(genotype) == children.repaired(genotype)


def test_a_score_that_is_known_makes_no_network_again(
    mini: type[SearchSpace], images: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.children._KEPT", 2)
    space, task = mini((1, 8, 8), 2), Classification(2)
    children, proxy = Children(space, Limits()), Proxy(score="macs", batch_size=8)
    proxy.prepare(from_arrays(*images, name="images"), task)
    scored = ScoredChildren(children, [UntrainedScore(proxy, task, children=children, seed=0)])
    genotypes = [space.genome.unrank(rank) for rank in range(6)]
    found = [scored.scores(one) for one in genotypes]
    monkeypatch.setattr("nas.children.lower", None)
    assert [scored.scores(one) for one in genotypes] == found


def test_a_network_without_a_score_has_none(
    mini: type[SearchSpace], images: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(proxy_module._SCORES, "macs", nan)  # type: ignore[arg-type] # a dict
    space, task = mini((1, 8, 8), 2), Classification(2)
    proxy = Proxy(score="macs", batch_size=8)
    proxy.prepare(from_arrays(*images, name="images"), task)
    children = Children(space, Limits())
    scored = ScoredChildren(children, [UntrainedScore(proxy, task, children=children, seed=0)])
    assert math.isnan(scored.scores(space.genome.unrank(0))[0])


def nan(_: object) -> float:
    return math.nan


def test_the_strategy_gets_them_and_without_any_it_gets_none(given: dict[str, Any]) -> None:
    prepared = prepare(Configuration(**given))
    assert isinstance(prepared.strategy.features, ScoredFeatures)
    genotype = prepared.space.genome.unrank(0)
    found = prepared.strategy.features.scores(genotype)
    assert found == tuple(score.value(genotype) for score in prepared.untrained)
    assert [score.name for score in prepared.untrained] == ["naswot", "log_synflow"]
    plain = prepare(Configuration(**{**given, "features": ()}))
    assert not isinstance(plain.strategy.features, ScoredFeatures)


def test_a_run_is_extended_as_it_was_begun(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = {**given, "workers": 0, "study": False}, tmp_path / "run"
    whole["settings"] = {"strategy": {"starts": 1}}
    calm = nas.search(out=tmp_path / "calm", **whole)
    nas.search(out=folder, **{**whole, "budget": 3})
    run = read_record(folder)
    assert run.features == ("naswot", "log_synflow")
    assert run.derived.features["naswot"]["batch_size"] == 32
    assert run.derived.screen == {}
    monkeypatch.setattr("estimators.proxy.BATCH", 16)  # another default by now
    names = {name: given[name] for name in ("space", "data", "estimator")}
    more = nas.resume(folder, budget=5, workers=0, study=False, **names)
    assert [one.genotype for one in more.trials] == [one.genotype for one in calm.trials]


def test_a_score_may_screen_too_and_is_computed_once(given: dict[str, Any]) -> None:
    prepared = prepare(Configuration(**{**given, "screen": "naswot"}))
    assert prepared.screen is not None
    assert prepared.screen.score is prepared.untrained[0]


def test_one_name_is_one_feature(given: dict[str, Any], tmp_path: Path) -> None:
    whole = {**given, "budget": 1, "features": "naswot", "workers": 0, "study": False}
    nas.search(out=tmp_path / "run", **whole)
    assert read_record(tmp_path / "run").features == ("naswot",)


def test_a_run_from_before_there_were_features_goes_on(
    given: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    whole = {**given, "features": (), "workers": 0, "study": False}
    nas.search(out=folder, **{**whole, "budget": 2})
    document = loads((folder / "run.json").read_bytes())
    assert isinstance(document, dict)
    derived = document["derived"]
    assert isinstance(derived, dict)
    assert (document.pop("features"), derived.pop("features")) == ([], {})
    write_json(folder / "run.json", document)
    names = {name: given[name] for name in ("space", "data", "estimator")}
    assert nas.resume(folder, budget=3, workers=0, study=False, **names).trials[-1].ordinal >= 2


def test_a_dry_run_says_what_scores_take(given: dict[str, Any]) -> None:
    found = dry_run(Configuration(**given, screen="naswot"), workers=1)
    assert found["seconds_of_features"] > 0
    assert found["seconds_of_screening"] > 0  # the same score, computed once
    assert re.search(r"features +\d\.\d\d s for each network", text(found))
    found = dry_run(Configuration(**{**given, "features": ()}), workers=1)
    assert found["seconds_of_features"] == 0
    assert "features" not in text(found)


def test_what_is_refused_is_refused_before_anything_is_scored(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.untrained.untrained_score", None)
    with pytest.raises(NasError, match="no network of this space is within the limits"):
        prepare(Configuration(**given, max_params=1))
    with pytest.raises(NasError, match="--screen-of must be at least 2"):
        prepare(Configuration(**given, screen="naswot", screen_of=1))


def test_after_each_child_a_proposal_is_drawn_ahead_however_long_the_last_one_took(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.proposals.FORESIGHT_SECONDS", -1.0)
    for names, again in ((("naswot",), True), ((), False)):
        prepared = prepare(Configuration(**{**given, "features": names}))
        proposals = Proposals(
            prepared.strategy,
            children=prepared.children,
            record=Record(prepared.plan.objective, 5),
            seed=0,
            screen=None,
        )
        proposals.foresee()
        assert proposals._drawn
        proposals.forget()
        proposals.foresee()
        assert bool(proposals._drawn) == again


class Fresh(Predictor):
    """A strategy of the user's own that knows nothing of scores."""

    uses_scores = False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ("naswott",)}, "--feature: there is no 'naswott'; did you mean naswot?"),
        (
            {"features": ("zico", "naswot", "zico")},
            "--feature must be given once for each score, got zico twice",
        ),
        ({"features": ("macs",)}, "--feature macs is known to every strategy; leave it out"),
        (
            {"features": ("foo",)},
            "known are naswot, jacob_cov, grad_norm, snip, zico, log_synflow, az_nas",
        ),
        (
            {"objective": ("accuracy", "params"), "strategy": None},
            "--feature is for --strategy predictor, which has one --objective, got 2",
        ),
        ({"strategy": "random"}, "--feature needs a strategy that makes something of scores"),
        ({"strategy": Fresh}, "--feature needs a strategy that makes something of scores"),
        (
            {"estimator": "proxy", "settings": {"estimator": {"score": "naswot"}}},
            "--feature must be another score than that of the estimator, got naswot for both",
        ),
    ],
)
def test_a_feature_that_means_nothing_is_refused(
    given: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NasError) as caught:
        prepare(Configuration(**{**given, **changes}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
