"""Predictor-guided search: a model of the scores proposes what promises most."""

from typing import ClassVar, final

import numpy as np
from threadpoolctl import ThreadpoolController

from search_spaces.genome import Genome, Genotype
from strategies.encodings import Codes, Encodings
from strategies.history import Proposal
from strategies.spread import draw_spread
from strategies.strategy import Features, Strategy, require_one_objective
from strategies.surrogate import Belief, Surrogate

PARENTS = 10  # the networks believed best
MUTANTS = 400  # of them, with one change to three
DRAWS = 200  # of the whole space
CLIMBS = 3
CLIMBERS = 6  # the candidates that promise most, all neighbours of which become candidates
MAX_NEIGHBOURS = 400  # in one climb
MAX_CHECKED = 96  # candidates held against the limits
MAX_EXACT = 24  # of them within the limits, valued again with what they really cost and score


@final
class Predictor(Strategy):
    """A Gaussian process over the decisions, and the largest expected improvement, one objective.

    The first ``starts`` asks span cost. From then on a process is conditioned on all scores: each
    decision has an effect of its own, a Hamming kernel adds interactions, a smooth function of
    log-costs what size explains; where a run has scores of untrained networks, it is one of these
    too. Candidates are mutations of the networks believed best and draws from the whole space;
    from those that promise most the search climbs over neighbours. Limits are part of the
    promise: estimated costs say how likely a candidate is to keep them, and for the first ones it
    is looked up.

    Any number of children can run: each is believed to score what the process expects. What
    failed is not proposed again, and what is like it only if it promises more.

    Linear algebra takes one thread: workers train beside it, and several threads that wait for
    each other on busy cores take ten times as long as one.

    ``recommend`` is, among those at the highest fidelity, the network with the highest mean given
    all scores, not the one with the luckiest score.

    Source: Gaussian processes for architectures: Kandasamy et al., NASBOT (arXiv:1802.07191);
    candidates by mutation of the best: White et al., BANANAS (arXiv:1910.11858), section 4. The
    kernel, the warping and the acquisition name theirs in their own modules.
    """

    uses_scores: ClassVar[bool] = True

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        starts: int | None = None,
    ) -> None:
        """Set up a search that knows nothing.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``; exactly one.
            features: See ``Strategy``.
            starts: Asks before the model proposes, at least 1. None: a third of the budget, but
                at least 1 and at most 4.

        Raises:
            ValueError: If ``starts`` is below 1, or there are several objectives.
        """
        super().__init__(genome, budget, directions, features)
        require_one_objective(directions, "predictor")
        if starts is None:
            starts = min(max(budget // 3, 1), 4)
        if starts < 1:
            raise ValueError(f"starts must be at least 1, got {starts}")
        self._starts = starts
        self._encodings = Encodings(genome)
        self._surrogate = Surrogate(genome, features, self._encodings)
        self._threads = ThreadpoolController()

    def recommend(self) -> Genotype:
        """The highest mean among those told at the highest fidelity; ties: told first."""
        if not self.history.successes:
            return self.history.best()
        with self._threads.limit(limits=1, user_api="blas"):
            belief = self._surrogate.belief(self.history)
        fidelities = np.array([success.proposal.fidelity for success in belief.successes])
        means = np.where(fidelities == fidelities.max(), belief.means, -np.inf)
        return belief.successes[int(means.argmax())].proposal.genotype

    def derived(self) -> dict[str, int | float | str]:
        """The number of starts."""
        return {"starts": self._starts}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        genotype: Genotype | None = None
        if len(self.history.asked) >= self._starts and len(self.history.successes) > 1:
            with self._threads.limit(limits=1, user_api="blas"):
                genotype = self._promising(rng)
        if genotype is None:
            genotype = draw_spread(self.genome, self.history, features=self.features, rng=rng)
        return None if genotype is None else Proposal(genotype)

    def _promising(self, rng: np.random.Generator) -> Genotype | None:
        """The new, feasible candidate that promises most; None if none was found."""
        belief = self._surrogate.belief(self.history)
        asked = [proposal.genotype for proposal in self.history.asked]
        seen = {row.tobytes() for row in self._surrogate.codes(asked)}
        found = self._candidates(belief, rng)
        candidates, values = found[:0], np.zeros(0)
        for _ in range(CLIMBS + 1):
            found = _unseen(found, seen)
            if not len(found):
                break
            points = self._surrogate.estimated(found)
            value = belief.log_value(points) + self._surrogate.log_chance_feasible(points, belief)
            candidates = np.concatenate((candidates, found))
            values = np.concatenate((values, value))
            order = np.argsort(-values, kind="stable")
            candidates, values = candidates[order], values[order]
            found = self._encodings.neighbours(candidates[:CLIMBERS], rng)
            if len(found) > MAX_NEIGHBOURS:
                found = found[rng.permutation(len(found))[:MAX_NEIGHBOURS]]
        feasible = self._feasible(candidates)
        if self.features is None or not feasible:
            return feasible[0] if feasible else None
        return feasible[int(belief.log_value(self._surrogate.points(feasible)).argmax())]

    def _candidates(self, belief: Belief, rng: np.random.Generator) -> Codes:
        """Mutations of the best and draws from the whole space, shape ``(candidates, names)``."""
        parents = belief.codes[np.argsort(-belief.means, kind="stable")[:PARENTS]]
        mutants = self._encodings.mutate(parents[rng.integers(len(parents), size=MUTANTS)], rng)
        for share in (0.5, 0.2):
            again = rng.random(MUTANTS) < share
            mutants[again] = self._encodings.mutate(mutants[again], rng)
        return np.concatenate((mutants, self._encodings.draw(DRAWS, rng)))

    def _feasible(self, candidates: Codes) -> list[Genotype]:
        """The first few candidates that are within the limits."""
        if self.features is None:
            return [self.genome.decode(row) for row in candidates[:1]]
        feasible: list[Genotype] = []
        for row in candidates[:MAX_CHECKED]:
            genotype = self.genome.decode(row)
            if self.features.feasible(genotype):
                feasible.append(genotype)
                if len(feasible) == MAX_EXACT:
                    break
        return feasible


def _unseen(codes: Codes, seen: set[bytes]) -> Codes:
    """Rows that are not among those seen, each once; they are seen from then on."""
    new: list[int] = []
    for place, row in enumerate(codes):
        key = row.tobytes()
        if key not in seen:
            seen.add(key)
            new.append(place)
    return codes[new]
