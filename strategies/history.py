"""What a strategy has proposed and what came of it."""

import math
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import final

from search_spaces.genome import Genotype


@final
@dataclass(frozen=True, slots=True)
class Proposal:
    """A child to train.

    Attributes:
        genotype: Which child.
        fidelity: Share of full training, in (0, 1].
    """

    genotype: Genotype
    fidelity: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.fidelity <= 1.0:
            raise ValueError(f"fidelity must be in (0, 1], got {self.fidelity}")


@final
@dataclass(frozen=True, slots=True)
class Success:
    """A proposal and its rewards, one per objective, larger is better."""

    proposal: Proposal
    rewards: tuple[float, ...]


@final
class History:
    """Everything asked and told so far, in order; written by ``Strategy`` alone, read by all.

    Attributes:
        asked: Every proposal, in the order of the asks.
        genotypes: The distinct genotypes among them.
        running: Proposals that were asked and not yet told, in the order of the asks.
        successes: What was told with rewards, in the order of the tells.
    """

    __slots__ = ("_asked", "_genotypes", "_open", "_successes")

    def __init__(self) -> None:
        self._asked: list[Proposal] = []
        self._genotypes: set[Genotype] = set()
        self._successes: list[Success] = []
        self._open: Counter[Proposal] = Counter()

    @property
    def asked(self) -> Sequence[Proposal]:
        """Every proposal, in the order of the asks."""
        return self._asked

    @property
    def genotypes(self) -> AbstractSet[Genotype]:
        """The distinct genotypes asked."""
        return self._genotypes

    @property
    def running(self) -> Sequence[Proposal]:
        """Proposals that were asked and not yet told, in the order of the asks."""
        return tuple(self._open.elements())

    @property
    def successes(self) -> Sequence[Success]:
        """What was told with rewards, in the order of the tells."""
        return self._successes

    def record_asked(self, proposal: Proposal) -> None:
        """Append an ask."""
        self._asked.append(proposal)
        self._genotypes.add(proposal.genotype)
        self._open[proposal] += 1

    def record_told(self, proposal: Proposal, rewards: tuple[float, ...] | None) -> None:
        """Append a tell.

        Raises:
            ValueError: If the proposal was not asked, was told already, or a reward is not finite.
        """
        if not self._open[proposal]:
            raise ValueError(f"proposal must be asked and not yet told, got {proposal}")
        if rewards is not None and not all(map(math.isfinite, rewards)):
            raise ValueError(f"rewards must be finite, got {rewards}; tell None for a failure")
        self._open[proposal] -= 1
        if not self._open[proposal]:
            del self._open[proposal]
        if rewards is not None:
            self._successes.append(Success(proposal, rewards))

    def best(self) -> Genotype:
        """The genotype with the largest first reward at the highest fidelity.

        Ties go to the next reward, so that nothing dominates it, and then to what was told first.

        Raises:
            ValueError: If nothing succeeded yet.
        """
        if not self._successes:
            raise ValueError("history must hold a success to recommend from, got none")
        best = max(self._successes, key=lambda told: (told.proposal.fidelity, told.rewards))
        return best.proposal.genotype
