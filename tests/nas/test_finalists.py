"""Finalists: the best few, scored again on fresh seeds, in any order and session."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from estimators.estimator import Evaluation
from nas.children import Children
from nas.errors import NasError
from nas.finalists import Finalist, Rescoring
from nas.journal import Journal, read_events
from nas.limits import Limits, Objective
from nas.plan import FINALISTS, FRESH_SEEDS, Plan
from nas.record import Record
from nas.weights import forget_others
from nas.workers import Failure, Job, Outcome
from search_spaces.modules import build
from search_spaces.space import SearchSpace

Score = Callable[[Job], Evaluation | Failure]


class Setting:
    """Trials 9, 7, 5, 3 and 1 of ten, best first, and their re-scoring."""

    def __init__(self, space: SearchSpace, folder: Path) -> None:
        self.children = Children(space, Limits())
        self.folder, self.path = folder, folder / "events.jsonl"
        self.shown: list[Finalist] = []
        self.taken: list[Job] = []
        self.front: list[int] = []
        with Journal(self.path) as journal:
            for ordinal in range(10):
                self._trial(journal, space, ordinal)

    def _trial(self, journal: Journal, space: SearchSpace, ordinal: int) -> None:
        child = self.children.child(space.genome.unrank(ordinal))
        journal.append(
            "asked",
            ordinal=ordinal,
            genotype=child.genotype.to_dict(),
            proposed_fidelity=1.0,
            fidelity=0.5,
            hash=child.digest,
            params=child.params,
            macs=child.macs,
            latency_ms=None,
            seed=ordinal,
        )
        journal.append("started", ordinal=ordinal, attempt=1)
        accuracy = ordinal / 10 if ordinal % 2 else 0.0
        journal.append(
            "finished",
            ordinal=ordinal,
            attempt=1,
            state="complete" if ordinal % 2 else "failed",
            metrics={"accuracy": accuracy, "log_loss": 1 - accuracy} if ordinal % 2 else {},
            seconds=0.1,
            cause="",
            message="",
            of=None,
            trace="",
        )
        journal.append("told", ordinal=ordinal, rewards=None)

    def run(
        self,
        score: Score,
        *,
        slots: int = 1,
        order: int = 0,
        most: int = 1000,
        objective: Objective | None = None,
        beside: tuple[Objective, ...] = (),
    ) -> list[Finalist]:
        objective = Objective("accuracy", "maximize") if objective is None else objective
        record = Record.of(read_events(self.path), objective, 10, beside=beside)
        plan = Plan(
            budget=10, seed=3, limits=Limits(), fidelity=0.5, objective=objective, beside=beside
        )
        with Journal(self.path, record.apply) as journal:
            rescoring = Rescoring(
                plan,
                children=self.children,
                record=record,
                journal=journal,
                folder=self.folder,
            )
            in_hand: list[Job] = []
            while not rescoring.over and most:
                job = rescoring.next_job() if len(in_hand) < slots else None
                if job is not None:
                    in_hand.append(job)
                    continue
                most -= 1
                job = in_hand.pop(order)
                self.taken.append(job)
                for trial in rescoring.settle(Outcome(job.key, score(job), 0.5)):
                    self.shown.append(rescoring.finalist(trial))
            if not rescoring.over:
                return []
            self.front = [one.trial.ordinal for one in rescoring.front()]
            return rescoring.finalists()

    @property
    def rescored(self) -> list[Any]:
        return [event for event in read_events(self.path) if event["event"] == "rescored"]


def place(job: Job) -> tuple[int, int]:
    """Ordinal and repeat of a job."""
    return divmod(job.key, FRESH_SEEDS)


def trained(job: Job) -> Evaluation:
    """Leaves weights of its seed."""
    torch.manual_seed(job.seed)
    return Evaluation({"accuracy": 0.5, "log_loss": 0.5}, build(job.graph).state_dict())


@pytest.fixture
def setting(mini: type[SearchSpace], tmp_path: Path) -> Setting:
    return Setting(mini((1, 8, 8), 2), tmp_path)


def scored(*scores: float) -> Score:
    """These accuracies, in this order."""
    left = list(scores)

    def score(job: Job) -> Evaluation:
        accuracy = left.pop(0)
        return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy})

    return score


def test_the_best_mean_wins_whatever_the_search_said(setting: Setting) -> None:
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0))
    assert [finalist.trial.ordinal for finalist in found] == [7, 9, 5]
    assert [finalist.scores for finalist in found] == [(0.9, 0.8), (0.5, 0.7), (0.1, 1.0)]
    assert found[0].mean == pytest.approx(0.85)
    assert [finalist.trial.ordinal for finalist in setting.shown] == [9, 7, 5]


def test_a_minimised_metric_is_ranked_the_other_way_round(setting: Setting) -> None:
    objective = Objective("log_loss", "minimize")
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0), objective=objective)
    assert [finalist.trial.ordinal for finalist in found] == [7, 9, 5]
    assert found[0].scores == pytest.approx((0.1, 0.2))


PARAMS = Objective("params", "minimize")


def test_the_front_is_scored_again_and_what_falls_behind_leaves_it(setting: Setting) -> None:
    def score(job: Job) -> Evaluation:
        accuracy = 0.0 if job.key // FRESH_SEEDS == 5 else job.graph.params / 10_000
        return Evaluation({"accuracy": accuracy, "log_loss": 1 - accuracy})

    found = setting.run(score, beside=(PARAMS,))
    assert {one.trial.ordinal for one in found} == {1, 3, 5, 7, 9}  # by size, as by score
    assert set(setting.front) == {1, 3, 7, 9}
    assert all(one.metrics["accuracy"] == pytest.approx(one.mean) for one in found)


def test_a_long_front_is_scored_again_in_part(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.plan.FRONT_FINALISTS", 3)
    found = setting.run(scored(*6 * [0.5]), beside=(PARAMS,))
    assert {one.trial.ordinal for one in found} >= {1, 9}  # the ends
    assert len(found) == 3
    assert setting.front == [1]  # of equal scores the cheapest


def test_a_member_that_fails_again_makes_room_for_what_is_behind(setting: Setting) -> None:
    def score(job: Job) -> Evaluation | Failure:
        if job.key // FRESH_SEEDS == 9:
            return Failure("nan", "lost", "")
        return Evaluation({"accuracy": 0.5, "log_loss": 0.5})

    goals = (Objective("macs", "minimize"),)
    found = setting.run(score, objective=Objective("log_loss", "minimize"), beside=goals)
    assert 9 not in {one.trial.ordinal for one in found}
    assert setting.front == [1]


def test_the_cheaper_one_of_equals_wins(setting: Setting) -> None:
    found = setting.run(scored(*6 * [0.5]))
    assert [finalist.trial.ordinal for finalist in found] == [5, 7, 9]


def test_seeds_are_fresh_and_fidelity_is_that_of_the_trial(setting: Setting) -> None:
    setting.run(scored(*6 * [0.5]))
    seeds = [job.seed for job in setting.taken]
    assert len(seeds) == len(set(seeds)) == FINALISTS * FRESH_SEEDS
    assert not set(seeds) & set(range(10))
    assert {job.fidelity for job in setting.taken} == {0.5}
    assert all(job.weights for job in setting.taken)


@pytest.mark.parametrize("order", [0, -1])
def test_several_are_scored_at_a_time(setting: Setting, order: int) -> None:
    def score(job: Job) -> Evaluation:
        return Evaluation({"accuracy": sum(place(job)) / 10, "log_loss": 0.5})

    found = setting.run(score, slots=4, order=order)
    assert [finalist.trial.ordinal for finalist in found] == [9, 7, 5]
    assert found[0].scores == pytest.approx((0.9, 1.0))
    assert sorted(one.trial.ordinal for one in setting.shown) == [5, 7, 9]


@pytest.mark.parametrize("slots", [1, 6])
def test_a_finalist_that_fails_gives_its_place_to_the_next(setting: Setting, slots: int) -> None:
    def second_fails(job: Job) -> Evaluation | Failure:
        if place(job)[0] == 7:
            return Failure("nan", "the loss became nan", "")
        return Evaluation({"accuracy": 0.5, "log_loss": 0.5})

    found = setting.run(second_fails, slots=slots)
    assert [finalist.trial.ordinal for finalist in found] == [3, 5, 9]
    failed = [event for event in setting.rescored if event["cause"]]
    assert {event["ordinal"] for event in failed} == {7}


@pytest.mark.parametrize("deaths", [1, 2])
def test_one_whose_worker_was_lost_is_tried_once_more(setting: Setting, deaths: int) -> None:
    lost: Counter[int] = Counter()

    def dies(job: Job) -> Evaluation | Failure:
        lost[job.key] += 1
        if place(job) == (7, 1) and lost[job.key] <= deaths:
            return Failure("worker_died", "it died", "")
        return Evaluation({"accuracy": 0.5, "log_loss": 0.5})

    found = setting.run(dies)
    assert sorted(one.trial.ordinal for one in found) == ([5, 7, 9] if deaths == 1 else [3, 5, 9])


def test_every_score_is_in_the_journal(setting: Setting) -> None:
    found = setting.run(scored(0.5, 0.7, 0.9, 0.8, 0.1, 1.0))
    for finalist in found:
        own = [event for event in setting.rescored if event["ordinal"] == finalist.trial.ordinal]
        assert [event["repeat"] for event in own] == [0, 1]
        assert tuple(event["metrics"]["accuracy"] for event in own) == finalist.scores


def test_fewer_trials_are_fewer_finalists(mini: type[SearchSpace], tmp_path: Path) -> None:
    setting = Setting(mini((1, 8, 8), 2), tmp_path)
    lines = setting.path.read_bytes().splitlines(keepends=True)
    setting.path.write_bytes(b"".join(lines[:9]))  # trials 0 and 1
    assert [one.trial.ordinal for one in setting.run(scored(0.5, 0.5))] == [1]
    setting.path.write_bytes(b"".join(lines[:5]))
    assert setting.run(scored()) == []


# Weights, and going on -----------------------------------------------------------------------


def test_weights_are_kept_and_those_of_the_better_seed_win(setting: Setting) -> None:
    found = setting.run(trained)
    assert len(list((setting.folder / "trials").iterdir())) == FINALISTS * FRESH_SEEDS
    assert found[0].weights is not None
    assert (setting.folder / found[0].weights.file).is_file()


@pytest.mark.parametrize("done", range(1, 6))
def test_what_was_scored_in_an_earlier_session_is_not_scored_again(
    setting: Setting, done: int
) -> None:
    setting.run(trained, most=done)
    first = [place(job) for job in setting.taken]
    found = setting.run(trained)
    taken = [place(job) for job in setting.taken]
    assert len(first) == done
    assert len(taken) == len(set(taken)) == FINALISTS * FRESH_SEEDS
    assert [one.trial.ordinal for one in setting.run(trained)] == [
        one.trial.ordinal for one in found
    ]
    assert len(setting.taken) == FINALISTS * FRESH_SEEDS


@pytest.mark.parametrize("fault", ["missing", "altered"])
def test_weights_that_are_not_there_any_more_are_trained_again(
    setting: Setting, fault: str
) -> None:
    found = setting.run(trained)
    assert found[0].weights is not None
    path = setting.folder / found[0].weights.file
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    setting.taken.clear()
    again = setting.run(trained)
    assert len(setting.taken) == 1
    assert again == found


def test_weights_of_others_are_forgotten(setting: Setting) -> None:
    found = setting.run(trained)
    kept = frozenset(one.weights.file for one in found if one.weights is not None)
    forget_others(setting.folder, kept)
    assert {f"trials/{path.name}" for path in (setting.folder / "trials").iterdir()} == kept


def test_a_journal_cannot_name_a_file_elsewhere(setting: Setting) -> None:
    setting.run(trained)
    text = setting.path.read_text().replace("trials/9-fresh-0", "../../9-fresh-0")
    setting.path.write_text(text)
    with pytest.raises(NasError, match="must lie in trials/") as caught:
        setting.run(trained)
    assert caught.value.exit_code == 4


def test_a_seed_that_fails_before_its_twin_succeeds_leaves_no_finalist(setting: Setting) -> None:
    def first_fails(job: Job) -> Evaluation | Failure:
        if place(job) == (9, 0):
            return Failure("nan", "the loss became nan", "")
        return Evaluation({"accuracy": 0.5, "log_loss": 0.5})

    found = setting.run(first_fails, slots=2)
    assert sorted(one.trial.ordinal for one in found) == [3, 5, 7]
    assert sorted(one.trial.ordinal for one in setting.shown) == [3, 5, 7]
