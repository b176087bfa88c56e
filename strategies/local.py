"""Local search: climb from one network to a better neighbour until there is none, start again."""

from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from search_spaces.genome import Genome, Genotype
from strategies.history import Proposal
from strategies.spread import draw_spread
from strategies.strategy import Features, Strategy, require_one_objective


@final
class LocalSearch(Strategy):
    """First-improvement hill climbing with restarts, for one objective.

    The first ``starts`` asks span cost, from the largest network to the smallest and then between.
    From the best of them neighbours are asked in random order, each one decision away; as soon as
    one is better it is the new centre. A neighbour beyond the limits is passed over; once all
    others were asked, one of *its* neighbours that is within them is asked instead, since at a
    limit one thing can often grow only if another shrinks. Where nothing is left round a centre,
    the climb goes on from the next best one: another start, or a new one if there is none.

    A centre is what was told and has no better neighbour among those told, so that any number of
    children can be asked at once: a climb never waits, and goes on from the best of it so far.

    Source: White et al., Local Search is State of the Art for Neural Architecture Search
    Benchmarks (arXiv:2005.02960), Algorithm 1. Deviations: the first improvement is taken, not the
    best of a whole neighbourhood; genotypes are not proposed twice; starts span cost; it starts
    again as long as it is asked.
    """

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
        *,
        starts: int | None = None,
    ) -> None:
        """Set up a search without a start.

        Args:
            genome: See ``Strategy``.
            budget: See ``Strategy``.
            directions: See ``Strategy``; exactly one.
            features: See ``Strategy``.
            starts: Networks of which the first climb takes the best, at least 1. None: a fifth of
                the budget, but at least 1 and at most 4.

        Raises:
            ValueError: If ``starts`` is below 1, or there are several objectives.
        """
        super().__init__(genome, budget, directions, features)
        require_one_objective(directions, "local")
        if starts is None:
            starts = min(max(budget // 5, 1), 4)
        if starts < 1:
            raise ValueError(f"starts must be at least 1, got {starts}")
        self._starts = starts
        # Functions of the history, kept because they only grow.
        self._codes: list[NDArray[np.int64]] = []  # of each success
        self._beaten: list[bool] = []  # whether a neighbour of it is better

    def recommend(self) -> Genotype:
        """The best told; ties: told first."""
        return self.history.best()

    def derived(self) -> dict[str, int | float | str]:
        """The number of starts."""
        return {"starts": self._starts}

    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        genotype: Genotype | None = None
        if len(self.history.asked) >= self._starts:
            genotype = self._neighbour(rng)
        if genotype is None:
            genotype = draw_spread(self.genome, self.history, features=self.features, rng=rng)
        return None if genotype is None else Proposal(genotype)

    def _neighbour(self, rng: np.random.Generator) -> Genotype | None:
        """What to ask next to the best centre that has something left; None if none has."""
        for centre in self._centres():
            beyond: list[Genotype] = []
            for neighbour in self._shuffled_neighbours(centre, rng):
                if not self._feasible(neighbour):
                    beyond.append(neighbour)
                elif neighbour not in self.history.genotypes:
                    return neighbour
            for over in beyond:
                for back in self._shuffled_neighbours(over, rng):
                    if back not in self.history.genotypes and self._feasible(back):
                        return back
        return None

    def _feasible(self, genotype: Genotype) -> bool:
        return self.features is None or self.features.feasible(genotype)

    def _shuffled_neighbours(
        self, genotype: Genotype, rng: np.random.Generator
    ) -> Iterator[Genotype]:
        neighbours = list(self.genome.neighbours(genotype))
        return (neighbours[at] for at in rng.permutation(len(neighbours)))

    def _centres(self) -> list[Genotype]:
        """Centres that may have a neighbour left to ask, the best first; ties: told first."""
        successes = self.history.successes
        for success in successes[len(self._codes) :]:
            self._add(self.genome.encode(success.proposal.genotype), success.rewards[0])
        centres = [
            success for success, beaten in zip(successes, self._beaten, strict=True) if not beaten
        ]
        centres.sort(key=lambda success: -success.rewards[0])
        return [success.proposal.genotype for success in centres]

    def _add(self, codes: NDArray[np.int64], reward: float) -> None:
        """Compare one success with all before it."""
        beaten = False
        if self._codes:
            before = np.stack(self._codes)
            differ = (before != codes) & (before > 0) & (codes > 0)
            for at in np.flatnonzero(np.count_nonzero(differ, axis=1) == 1).tolist():
                theirs = self.history.successes[at].rewards[0]
                self._beaten[at] = self._beaten[at] or theirs < reward
                beaten = beaten or theirs > reward
        self._codes.append(codes)
        self._beaten.append(beaten)
