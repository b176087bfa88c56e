"""What is believed about the scores of networks, given everything asked and told so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies.cheap_costs import CheapCosts
from strategies.cheap_scores import CheapScores
from strategies.encodings import Codes, Encodings
from strategies.gaussian_process import (
    Array,
    GaussianProcess,
    Hyperparameters,
    Kernel,
    Points,
    fit,
)
from strategies.history import History, Success
from strategies.improvement import log_expected_improvement
from strategies.luck import own_share, spread_above
from strategies.strategy import Features, ScoredFeatures
from strategies.warping import straight, warped

MAX_POINTS = 300  # scores that a belief is conditioned on
MAX_FIT_POINTS = 120  # scores that hyperparameters are fitted to
FIT_ALWAYS = 12  # scores up to which they are fitted each time
FIT_GROWTH = 1.1  # after that: by how many times as many as before
LEAST_CHANCE = 0.01  # of being scored at all
PROBES = 128  # draws that say how far the scores of the space spread


@final
@dataclass(frozen=True, slots=True)
class Belief:
    """What a surrogate made of a history.

    Attributes:
        successes: Those that it takes into account.
        codes: Of these, shape ``(successes, names)``.
        means: How good each of them is believed to be, shape ``(successes,)``.
        best: The best of these means and of those of children that run.
        own: Variance of what is special to one network; what else no kernel explains is noise.
        process: Of scores, given the successes, and its own means where children run.
        failures: Of minus the chance to fail; None where no child failed.
    """

    successes: Sequence[Success]
    codes: Codes
    means: Array
    best: float
    own: float
    process: GaussianProcess
    failures: GaussianProcess | None

    def log_value(self, points: Points) -> Array:
        """Logarithm of the expected improvement times the chance of a score, ``(points,)``."""
        means, variances = self.process.predict(points)
        values = log_expected_improvement(means, variances + self.own, self.best)
        if self.failures is not None:
            chances = 1.0 + self.failures.predict(points)[0]
            values += np.log(chances.clip(LEAST_CHANCE, 1.0))
        return values


@final
class Surrogate:
    """Turns a history into a belief. Keeps what is expensive: functions of genome and history.

    Scores are warped; hyperparameters are fitted as their number grows. A child that runs is
    believed to score what it is expected to, so that the next proposal goes elsewhere. Children
    that failed within the limits are a process of their own with the same kernel. Of more than
    ``MAX_POINTS`` scores the best half and the newest others count.

    Source: children that run: the kriging believer of Ginsbourger, Le Riche and Carraro, Kriging
    is well-suited to parallelize optimization (2010), section 4.2.
    """

    def __init__(self, genome: Genome, features: Features | None, encodings: Encodings) -> None:
        """Set up without knowledge.

        Args:
            genome: The space.
            features: Costs and limits, if any, and scores of untrained networks.
            encodings: Of the genome.
        """
        self._genome = genome
        self._features = features
        self._encodings = encodings
        self._costs: CheapCosts | None = None
        self._scores: CheapScores | None = None
        self._kernel: Kernel | None = None
        self._probe: Points | None = None
        self._codes: dict[Genotype, Codes] = {}
        self._fitted: tuple[int, Hyperparameters] | None = None

    def belief(self, history: History) -> Belief:
        """What follows from a history with at least one success."""
        kernel = self._prepared()
        successes = _counting(history.successes)
        genotypes = [success.proposal.genotype for success in successes]
        scored = self.points(genotypes)
        at = self._hyperparameters(kernel, history.successes)
        scores = _scores(successes)
        process = GaussianProcess(kernel, at, scored, scores)
        share = own_share(at.noise, self._spread(kernel, at, scored, successes))
        means = process.known(share=share)
        best = float(means.max())
        running = [proposal.genotype for proposal in history.running]
        if running:
            there = self.points(running)
            expected = process.predict(there)[0]
            best = max(best, float(expected.max()))
            process = GaussianProcess(
                kernel, at, scored.joined(there), np.concatenate((scores, expected))
            )
        failures: GaussianProcess | None = None
        if failed := self._failed(history):
            outcomes = np.concatenate((np.zeros(len(scores)), -np.ones(len(failed))))
            failures = GaussianProcess(kernel, at, scored.joined(self.points(failed)), outcomes)
        own = share * at.noise
        return Belief(successes, self.codes(genotypes), means, best, own, process, failures)

    def points(self, genotypes: Sequence[Genotype]) -> Points:
        """Genotypes with what they really cost and score untrained."""
        found = [known.exact(genotypes) for known in self._known]
        features = np.hstack([np.zeros((len(genotypes), 0)), *found])
        return Points(self._encodings.one_hot(self.codes(genotypes)), features)

    def estimated(self, codes: Codes) -> Points:
        """Candidates with what they probably cost and score untrained."""
        one_hot = self._encodings.one_hot(codes)
        found = [known.estimate(one_hot) for known in self._known]
        return Points(one_hot, np.hstack([np.zeros((len(codes), 0)), *found]))

    def log_chance_feasible(self, candidates: Points, belief: Belief) -> Array:
        """Logarithm of the chance that candidates are within the limits, ``(candidates,)``."""
        if self._costs is None:
            return np.zeros(len(candidates.one_hot))
        count = self._costs.count
        known = belief.process.points.features[:, :count]
        return self._costs.log_chance_feasible(candidates.features[:, :count], known)

    def codes(self, genotypes: Sequence[Genotype]) -> Codes:
        """Genotypes as rows, shape ``(genotypes, names)``."""
        for genotype in genotypes:
            if genotype not in self._codes:
                self._codes[genotype] = self._genome.encode(genotype)
        rows = [self._codes[genotype] for genotype in genotypes]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self._genome.names))

    @property
    def _known(self) -> list[CheapCosts | CheapScores]:
        """What there is to look up, in the order of the features."""
        return [known for known in (self._costs, self._scores) if known is not None]

    def _prepared(self) -> Kernel:
        """The kernel; the first call probes the costs of the space, and its scores."""
        if self._kernel is None:
            if self._features is not None:
                self._costs = CheapCosts(self._genome, self._features, self._encodings)
            if isinstance(self._features, ScoredFeatures):
                self._scores = CheapScores(self._genome, self._features, self._encodings)
            self._kernel = Kernel(self._genome, sum(known.count for known in self._known))
        return self._kernel

    def _spread(
        self, kernel: Kernel, at: Hyperparameters, scored: Points, successes: Sequence[Success]
    ) -> float:
        """How far scores of the better half of the space spread, in the unit of warped scores.

        Those of some draws are predicted, from scores that are not warped: the space has more bad
        networks than were scored, and how bad they are matters here.
        """
        if self._probe is None:
            codes = self._encodings.draw(PROBES, np.random.default_rng(0))
            self._probe = self.estimated(codes)
        process = GaussianProcess(kernel, at, scored, straight(_rewards(successes)))
        return spread_above(process.predict(self._probe)[0])

    def _hyperparameters(self, kernel: Kernel, successes: Sequence[Success]) -> Hyperparameters:
        """Those fitted to as many of the first successes as the present number is due for."""
        count = min(len(successes), FIT_ALWAYS)
        while (more := round(count * FIT_GROWTH)) <= len(successes) and more > count:
            count = more
        if self._fitted is None or self._fitted[0] != count:
            places = np.linspace(0, count - 1, min(count, MAX_FIT_POINTS)).astype(np.int64)
            chosen = [successes[place] for place in places]
            points = self.points([success.proposal.genotype for success in chosen])
            self._fitted = count, fit(kernel, points, _scores(chosen))
        return self._fitted[1]

    def _failed(self, history: History) -> list[Genotype]:
        """Genotypes within the limits that were told without a score, in the order of the asks."""
        open_or_scored = {proposal.genotype for proposal in history.running}
        open_or_scored.update(success.proposal.genotype for success in history.successes)
        failed = dict.fromkeys(
            proposal.genotype
            for proposal in history.asked
            if proposal.genotype not in open_or_scored
        )
        features = self._features
        found = [one for one in failed if features is None or features.feasible(one)]
        return found[-MAX_POINTS:]


def _counting(successes: Sequence[Success]) -> list[Success]:
    """All, or the best half and the newest of the others, in the order of the tells."""
    if len(successes) <= MAX_POINTS:
        return list(successes)
    ranked = sorted(range(len(successes)), key=lambda at: -successes[at].rewards[0])
    kept = set(ranked[: MAX_POINTS // 2])
    others = [at for at in range(len(successes)) if at not in kept]
    kept.update(others[-(MAX_POINTS - len(kept)) :])
    return [successes[at] for at in sorted(kept)]


def _rewards(successes: Sequence[Success]) -> Array:
    return np.array([success.rewards[0] for success in successes], dtype=np.float64)


def _scores(successes: Sequence[Success]) -> Array:
    return warped(_rewards(successes))
