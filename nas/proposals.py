"""What a strategy proposes: drawn before it is asked for, and chosen from where it is screened."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from nas.children import Child, Children
from nas.plan import ASK, SCREENING, rng_of
from nas.record import Record
from nas.screening import Screen
from strategies.strategy import Proposal, ScoredFeatures, Strategy

# That drawing a proposal before its ask may take: a worker may become free meanwhile. With a
# screen it would have to wait for several draws later on, of which many are the same.
FORESIGHT_SECONDS, SCREENED_SECONDS = 0.05, 0.5


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """A proposal that is asked for.

    Attributes:
        proposal: As the strategy knows it.
        screened: Of a screen, as the journal has it: the ``score``, ``of`` how many new networks
            within the limits it is the best, 0 if there was none and the first draw was taken,
            and its ``value``, None if it has none.
    """

    proposal: Proposal
    screened: dict[str, Any] | None = None


@final
class Proposals:
    """Draws what a strategy would propose next, as often as a screen wants, and asks for one.

    A draw changes nothing and holds until the strategy is asked or told something. The first one
    is that of a run without a screen; each further one has a generator of its own.

    Args:
        strategy: Whose proposals they are.
        children: Makes their networks.
        record: What was asked so far.
        seed: Of the run.
        screen: Scores them; None to take the first.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        children: Children,
        record: Record,
        seed: int,
        screen: Screen | None,
    ) -> None:
        self._strategy = strategy
        self._children = children
        self._record = record
        self._seed = seed
        self._screen = screen
        self._count = 1 if screen is None else screen.looked_at
        self._longest = FORESIGHT_SECONDS if screen is None else SCREENED_SECONDS
        # Scores are kept: what was drawn in vain has still made the next draw faster.
        self._hopes = screen is not None or isinstance(strategy.features, ScoredFeatures)
        self._drawn: list[Proposal | None] = []
        self._foresees = True

    def foresee(self) -> bool:
        """Draw the next one ahead of the ask, make its network and score it.

        A strategy that takes long to propose is left alone, with scores of untrained networks until
        its next ask: what it is told before may make the draw useless.

        Returns:
            Whether there is another one to foresee.
        """
        if not self._foresees or len(self._drawn) == self._count:
            return False
        begin = time.thread_time()
        proposal = self._draw()
        self._foresees = time.thread_time() - begin < self._longest
        if proposal is not None:
            self._children.child(proposal.genotype)
        if self._screen is not None:
            for _, child in self._new():  # those drawn before have their scores
                self._screen.score.value(child.genotype)
        return self._foresees and len(self._drawn) < self._count

    def ask(self, within: Callable[[Child], bool]) -> Choice | None:
        """Ask for what is chosen from all draws; None if the strategy proposes nothing.

        Args:
            within: Whether a child keeps the limits that take time to look at; only asked by a
                screen, which would otherwise choose one after the other that does not.
        """
        while len(self._drawn) < self._count:
            self._draw()
        first = next((one for one in self._drawn if one is not None), None)
        choice = None
        if first is not None:
            screen = self._screen
            choice = Choice(first) if screen is None else self._best(screen, first, within)
        self.forget()
        if choice is not None:
            with self._named():
                self._strategy.asked(choice.proposal)
        return choice

    def forget(self) -> None:
        """Drop the draws: the strategy knows more."""
        self._drawn.clear()
        self._foresees |= self._hopes

    def _draw(self) -> Proposal | None:
        ordinal, number = len(self._record.trials), len(self._drawn)
        key = (SCREENING, ordinal, number) if number else (ASK, ordinal)
        with self._named():
            self._drawn.append(self._strategy.foresee(rng_of(self._seed, *key)))
        return self._drawn[-1]

    @contextmanager
    def _named(self) -> Iterator[None]:
        """With the strategy's name on what it raises."""
        try:
            yield
        except Exception as error:
            name = type(self._strategy).__name__
            error.add_note(f"strategy {name} raised this; the record is whole up to its last ask")
            raise

    def _best(self, screen: Screen, first: Proposal, within: Callable[[Child], bool]) -> Choice:
        """The new network that scores best of those within all limits, or the first draw.

        Of equals it is the one drawn first; those without a score come last.
        """
        new = [
            (screen.score.value(child.genotype), proposal, child) for proposal, child in self._new()
        ]
        new.sort(key=lambda one: math.inf if one[0] is None else -one[0])
        value, proposal = next(
            ((value, proposal) for value, proposal, child in new if within(child)),
            new[0][:2] if new else (None, first),
        )
        return Choice(proposal, {"score": screen.score.name, "of": len(new), "value": value})

    def _new(self) -> list[tuple[Proposal, Child]]:
        """Draws within the limits, each network once and none that was asked for before.

        A network at another fidelity is another one.
        """
        record = self._record
        asked = zip(record.trials, record.proposals, strict=True)
        seen = {(trial.digest, proposal.fidelity) for trial, proposal in asked}
        found: list[tuple[Proposal, Child]] = []
        for proposal in self._drawn:
            if proposal is None or not self._children.feasible(proposal.genotype):
                continue
            child = self._children.child(proposal.genotype)
            if (child.digest, proposal.fidelity) not in seen:
                seen.add((child.digest, proposal.fidelity))
                found.append((proposal, child))
        return found
