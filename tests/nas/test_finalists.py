"""Finalists: the best few, scored again on fresh seeds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estimators.estimator import Evaluation
from nas.children import Children
from nas.finalists import FINALISTS, FRESH_SEEDS, Finalist, rescore
from nas.journal import Journal, read_events
from nas.limits import Limits, Objective
from nas.plan import Plan
from nas.trial import Trial
from nas.workers import Failure, Job, Outcome, Workers
from search_spaces.space import SearchSpace

Score = Callable[[Job], Evaluation | Failure]


class One(Workers):
    """One slot, scored by a function."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.taken: list[Job] = []

    @property
    def free(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.taken.append(job)

    def wait(self) -> Outcome:
        return Outcome(self.taken[-1].key, self._score(self.taken[-1]), 0.5)

    def close(self) -> None:
        pass


class Setting:
    """Five trials, best first, and their re-scoring."""

    def __init__(self, space: SearchSpace, path: Path) -> None:
        self.children = Children(space, Limits())
        self.path = path
        self.shown: list[Finalist] = []
        self.ranking = [self.trial(ordinal, space) for ordinal in (9, 7, 5, 3, 1)]

    def trial(self, ordinal: int, space: SearchSpace) -> Trial:
        child = self.children.child(space.genome.unrank(ordinal))
        return Trial(
            ordinal,
            child.genotype,
            child.digest,
            "complete",
            child.params,
            child.macs,
            0.5,
            seed=ordinal,
            metrics={"accuracy": 0.9, "log_loss": 0.1},
        )

    def rescored(self, finalist: Finalist) -> None:
        self.shown.append(finalist)

    def run(self, score: Score, **plan: Any) -> list[Finalist]:
        plan = {"objective": Objective("accuracy", "maximize"), **plan}
        self.workers = One(score)
        with Journal(self.path) as journal:
            return rescore(
                self.ranking,
                Plan(budget=5, seed=3, limits=Limits(), fidelity=0.5, **plan),
                children=self.children,
                workers=self.workers,
                journal=journal,
                audience=self,
            )


@pytest.fixture
def setting(mini: type[SearchSpace], tmp_path: Path) -> Setting:
    return Setting(mini((1, 8, 8), 2), tmp_path / "events.jsonl")


def scored(*scores: float) -> Score:
    """These accuracies, in this order."""
    left = list(scores)

    def score(job: Job) -> Evaluation:
        accuracy = left.pop(0)
        return Evaluation(
            {"accuracy": accuracy, "log_loss": 1 - accuracy}, details={"at": accuracy}
        )

    return score


def test_the_best_mean_wins_whatever_the_search_said(setting: Setting) -> None:
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0))
    assert [finalist.trial.ordinal for finalist in found] == [7, 9, 5]
    assert [finalist.scores for finalist in found] == [(0.9, 0.8), (0.5, 0.7), (0.1, 1.0)]
    assert found[0].mean == pytest.approx(0.85)
    assert [finalist.trial.ordinal for finalist in setting.shown] == [9, 7, 5]


def test_the_evaluation_is_that_of_the_better_seed(setting: Setting) -> None:
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0))
    assert [finalist.evaluation.details["at"] for finalist in found] == [0.9, 0.7, 1.0]


def test_a_minimised_metric_is_ranked_the_other_way_round(setting: Setting) -> None:
    objective = Objective("log_loss", "minimize")
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0), objective=objective)
    assert [finalist.trial.ordinal for finalist in found] == [7, 9, 5]
    assert found[0].scores == pytest.approx((0.1, 0.2))
    assert [finalist.evaluation.details["at"] for finalist in found] == [0.9, 0.7, 1.0]


def test_the_cheaper_one_of_equals_wins(setting: Setting) -> None:
    found = setting.run(scored(*6 * [0.5]))
    assert [finalist.trial.ordinal for finalist in found] == [5, 7, 9]


def test_seeds_are_fresh_and_fidelity_is_that_of_the_trial(setting: Setting) -> None:
    setting.run(scored(*6 * [0.5]))
    seeds = [job.seed for job in setting.workers.taken]
    assert len(seeds) == len(set(seeds)) == FINALISTS * FRESH_SEEDS
    assert not set(seeds) & {trial.seed for trial in setting.ranking}
    assert {job.fidelity for job in setting.workers.taken} == {0.5}
    setting.run(scored(*6 * [0.5]))
    assert [job.seed for job in setting.workers.taken] == seeds


def test_a_finalist_that_fails_gives_its_place_to_the_next(setting: Setting) -> None:
    def second_fails(job: Job) -> Evaluation | Failure:
        if job.key == 7:
            return Failure("nan", "the loss became nan", "")
        return Evaluation({"accuracy": 0.5, "log_loss": 0.5})

    assert [finalist.trial.ordinal for finalist in setting.run(second_fails)] == [3, 5, 9]
    failed = [event for event in read_events(setting.path) if "cause" in event]
    assert [(event["ordinal"], event["repeat"]) for event in failed] == [(7, 0)]


def test_every_score_is_in_the_journal(setting: Setting) -> None:
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0))
    events = [*read_events(setting.path)]
    assert {event["event"] for event in events} == {"rescored"}
    for finalist in found:
        own = [event for event in events if event["ordinal"] == finalist.trial.ordinal]
        assert [event["repeat"] for event in own] == [0, 1]
        assert tuple(event["metrics"]["accuracy"] for event in own) == finalist.scores


def test_fewer_trials_are_fewer_finalists(setting: Setting) -> None:
    setting.ranking = setting.ranking[:1]
    assert len(setting.run(scored(0.5, 0.5))) == 1
    setting.ranking = []
    assert setting.run(scored()) == []
