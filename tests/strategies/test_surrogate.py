"""What a surrogate makes of a history: means, luck, running children, failures, many scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from search_spaces.genome import Decision, Genome, Genotype
from strategies import surrogate
from strategies.encodings import Encodings
from strategies.gaussian_process import Array
from strategies.history import History, Proposal
from strategies.surrogate import MAX_POINTS, Belief, Surrogate

GENOME = Genome(tuple(Decision.of(f"d{n}", "abc") for n in range(7)))
CODES = np.array([GENOME.encode(GENOME.unrank(rank)) for rank in range(GENOME.size)])


@dataclass(frozen=True)
class Sum:
    """Cost grows with every answer; what costs more than the limit is not feasible."""

    limit: float = np.inf

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        return (float(np.log(GENOME.encode(genotype).sum())),)

    def feasible(self, genotype: Genotype) -> bool:
        return float(GENOME.encode(genotype).sum()) <= self.limit

    def repaired(self, genotype: Genotype) -> Genotype:
        return GENOME.unrank(0)


def additive(seed: int = 0) -> Array:
    """A score of every genotype: effects of its answers alone, of deviation 1."""
    effects = np.random.default_rng(seed).normal(size=(CODES.shape[1], 4))
    scores: Array = sum(effect[column] for effect, column in zip(effects, CODES.T, strict=True))
    return (scores - scores.mean()) / scores.std()


def told(ranks: Sequence[int], scores: Sequence[float | None]) -> History:
    history = History()
    for rank, score in zip(ranks, scores, strict=True):
        proposal = Proposal(GENOME.unrank(rank))
        history.record_asked(proposal)
        history.record_told(proposal, None if score is None else (score,))
    return history


def drawn(count: int, seed: int = 1) -> list[int]:
    return np.random.default_rng(seed).permutation(GENOME.size)[:count].tolist()


def believed(history: History, features: Sum | None = None) -> Belief:
    return Surrogate(GENOME, features, Encodings(GENOME)).belief(history)


def scored(noise: float, *, count: int = 80) -> tuple[Belief, Array, Array]:
    """A belief from scores with noise; the truth of these networks, and what was told of them."""
    ranks = drawn(count)
    truth = additive()[ranks]
    scores = truth + noise * np.random.default_rng(2).normal(size=count)
    return believed(told(ranks, scores.tolist())), truth, scores


def test_without_noise_the_order_of_the_scores_is_believed() -> None:
    belief, truth, _ = scored(0.0)
    assert belief.means.argmax() == truth.argmax()
    assert np.corrcoef(belief.means, truth)[0, 1] > 0.9
    assert belief.best == belief.means.max()


def test_the_larger_the_noise_the_smaller_the_share_that_is_the_networks_own() -> None:
    shares = []
    for noise in (0.0, 0.3, 1.0):
        belief = scored(noise)[0]
        assert 0.0 <= belief.own <= belief.process.at.noise
        shares.append(belief.own / belief.process.at.noise)
    assert shares[0] > 2.0 * shares[1] > 4.0 * shares[2]


def test_under_noise_the_means_are_nearer_to_the_truth_than_the_scores_are() -> None:
    belief, truth, scores = scored(0.5)
    upper = truth > np.median(truth)  # where means are in the unit of scores

    def unexplained(values: Array) -> float:
        return float(1.0 - np.corrcoef(values[upper], truth[upper])[0, 1] ** 2)

    assert unexplained(belief.means) < 0.6 * unexplained(scores)


def test_the_unit_of_the_scores_does_not_matter() -> None:
    ranks, scores = drawn(30), additive()
    one = believed(told(ranks, scores[ranks].tolist()))
    other = believed(told(ranks, (1e-3 * scores[ranks] + 0.9).tolist()))
    assert other.means == pytest.approx(one.means, abs=1e-5)
    assert other.own == pytest.approx(one.own, rel=1e-3)


def test_a_child_that_runs_is_believed_to_score_what_is_expected() -> None:
    ranks = drawn(20)
    history = told(ranks[:19], additive()[ranks[:19]].tolist())
    model = Surrogate(GENOME, None, Encodings(GENOME))
    there = model.points([GENOME.unrank(ranks[19])])
    before = [value[0] for value in model.belief(history).process.predict(there)]
    history.record_asked(Proposal(GENOME.unrank(ranks[19])))
    belief = model.belief(history)
    after = [value[0] for value in belief.process.predict(there)]
    assert after[0] == pytest.approx(before[0], abs=1e-6)
    assert after[1] < 0.5 * before[1]
    assert len(belief.successes) == len(belief.means) == 19
    assert belief.best >= before[0]


def test_what_is_like_failed_children_is_worth_less_unless_they_were_beyond_the_limits() -> None:
    ranks = drawn(60)
    fails = CODES[:, 3] == 2
    scores = [None if fails[rank] else float(additive()[rank]) for rank in ranks]
    free = believed(told(ranks, scores), Sum())
    assert free.failures is not None
    limited = believed(told(ranks, scores), Sum(limit=0.0))
    assert limited.failures is None
    model = Surrogate(GENOME, Sum(), Encodings(GENOME))
    model.belief(told(ranks[:1], [0.0]))  # now it knows costs
    new = model.estimated(CODES)
    lost = free.log_value(new) - limited.log_value(new)
    assert lost[fails].mean() < lost[~fails].mean() - 0.3


def test_values_rank_what_promises_more() -> None:
    belief, _, _ = scored(0.0)
    new = Surrogate(GENOME, None, Encodings(GENOME)).estimated(CODES)
    assert np.corrcoef(belief.log_value(new), additive())[0, 1] > 0.6


def test_where_networks_are_individual_each_new_one_promises_more() -> None:
    belief, _, _ = scored(0.0)
    new = Surrogate(GENOME, None, Encodings(GENOME)).estimated(CODES)
    individual = replace(belief, own=belief.own + 1.0)
    assert (individual.log_value(new) > belief.log_value(new)).all()


def test_limits_are_likelier_kept_by_what_costs_less() -> None:
    features = Sum(limit=12.0)
    model = Surrogate(GENOME, features, Encodings(GENOME))
    ranks = [rank for rank in drawn(200) if CODES[rank].sum() <= 12][:20]
    belief = model.belief(told(ranks, additive()[ranks].tolist()))
    chances = model.log_chance_feasible(model.estimated(CODES), belief)
    sums = CODES.sum(axis=1)
    assert chances[sums <= 11].min() > chances[sums >= 14].max()
    free = Surrogate(GENOME, None, Encodings(GENOME))
    assert not free.log_chance_feasible(free.estimated(CODES), believed(told([0], [1.0]))).any()


def test_of_many_scores_the_best_half_and_the_newest_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(surrogate, "MAX_POINTS", 40)
    ranks = drawn(100)
    scores = additive()[ranks]
    belief = believed(told(ranks, scores.tolist()))
    kept = [GENOME.rank(success.proposal.genotype) for success in belief.successes]
    best = [ranks[at] for at in np.argsort(-scores)[:20]]
    others = [rank for rank in ranks if rank not in best]
    assert kept == [rank for rank in ranks if rank in {*best, *others[-20:]}]
    assert MAX_POINTS == 300


def test_hyperparameters_are_a_function_of_the_history_and_not_of_when_it_is_asked() -> None:
    ranks, scores = drawn(40), additive().tolist()
    often = Surrogate(GENOME, None, Encodings(GENOME))
    for count in range(1, 41):
        known = often.belief(told(ranks[:count], [scores[rank] for rank in ranks[:count]]))
    once = believed(told(ranks, [scores[rank] for rank in ranks]))
    assert np.array_equal(once.means, known.means)
    assert once.own == known.own


@pytest.mark.parametrize("score", [0.0, 0.9])
def test_one_score_and_equal_ones_are_enough(score: float) -> None:
    for count in (1, 2, 15):
        belief = believed(told(drawn(count), [score] * count), Sum())
        assert np.isfinite(belief.means).all()
        assert np.isfinite(belief.log_value(belief.process.points)).all()
