"""The contract between a search strategy and whoever trains its children."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, final, runtime_checkable

import numpy as np

from search_spaces.genome import Genome, Genotype
from strategies import SEVERAL_OBJECTIVES
from strategies.history import History, Proposal

__all__ = ["Features", "Proposal", "ScoredFeatures", "Strategy"]

DIRECTIONS = ("maximize", "minimize")


class Features(Protocol):
    """What can be said about a genotype in milliseconds, without training it."""

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Cheap features, each larger for a network that costs more; the first is log MACs."""
        ...

    def feasible(self, genotype: Genotype) -> bool:
        """Whether the network is within the run's limits on parameters and MACs."""
        ...

    def repaired(self, genotype: Genotype) -> Genotype:
        """A feasible genotype a few changes away, or the one nearest to the limits found."""
        ...


@runtime_checkable
class ScoredFeatures(Features, Protocol):
    """Features that know more, if one has up to a second."""

    def scores(self, genotype: Genotype) -> tuple[float, ...]:
        """Finite scores of the untrained network, always as many; NaN for one that is missing.

        They are of any unit; what is looked up again costs nothing.
        """
        ...


class Strategy(ABC):
    """Decides which child is trained next, from what became of the earlier ones.

    **Life cycle.** A run constructs one strategy and keeps it until its budget is spent. It asks
    whenever a worker is free and tells whenever one is done, so there can be any number of asks
    before the first tell, and tells come in any order. Every proposal is told exactly once: with
    one reward per objective, turned so that larger is better, or with None where the child failed,
    was infeasible, or was cancelled. Nothing here waits, trains, reads a clock or opens a file.

    **State.** All state is a function of what was asked and told, in that order; it is kept in
    ``history``, which only this class writes. A subclass writes ``_propose``, which reads the
    history and draws from the generator it is handed and changes nothing that a later proposal
    depends on. What is expensive to derive may be cached, if the cache is itself a function of
    the history. A generator is used during the call and not kept.

    **Resume.** Because of that, a run is resumed by giving the record back to a fresh strategy:
    ``asked`` in place of each ``ask``, and the same tells, in their order. Both leave the same
    state as the first time, and the next ask with the same generator the same proposal. Nothing
    is pickled and nothing recomputed.

    **Limits.** Where ``features`` is given, a strategy prefers feasible genotypes and tries a
    bounded number of times; a proposal beyond the limits is no error, the run counts it and asks
    again. A genotype asked earlier is likewise allowed, though rarely useful: the run tells it
    what the first one scored.

    **Ownership.** Genome and features belong to the caller and are never changed. Genotypes and
    proposals are immutable and may be kept by both sides.

    **Construction.** ``cls(genome, budget, directions, features)``; a subclass adds keyword-only
    options with defaults, which are what users set. What an option's None resolves to is reported
    by ``derived``, whose keys are those options' names, so that a run can store the values and
    hand them back when it goes on with another budget.

    Attributes:
        genome: What there is to choose from.
        budget: Number of children that will be trained, at least 1.
        directions: One per objective, of the metric as the user sees it; for information, since
            rewards are turned already.
        features: Cheap costs and limits, with ``ScoredFeatures`` also scores of untrained networks;
            None for tables and toys.
        history: What was asked and told.
        uses_scores: Whether the strategy makes anything of ``ScoredFeatures``; users are told so
            where it does not.
    """

    uses_scores: ClassVar[bool] = False

    def __init__(
        self,
        genome: Genome,
        budget: int,
        directions: tuple[str, ...],
        features: Features | None,
    ) -> None:
        """Start with an empty history.

        Raises:
            ValueError: If the budget is below 1 or a direction is unknown or missing.
        """
        if budget < 1:
            raise ValueError(f"budget must be at least 1, got {budget}")
        if not directions or not set(directions) <= set(DIRECTIONS):
            raise ValueError(f"directions must be {' or '.join(DIRECTIONS)}, got {directions}")
        self.genome = genome
        self.budget = budget
        self.directions = directions
        self.features = features
        self.history = History()

    @final
    def ask(self, rng: np.random.Generator) -> Proposal | None:
        """The next child to train, or None if there is nothing left to propose.

        Args:
            rng: The only source of chance; not kept.

        Raises:
            ValueError: If the subclass proposes what is not a genotype of the genome.
        """
        proposal = self._propose(rng)
        if proposal is not None:
            self.asked(proposal)
        return proposal

    @final
    def foresee(self, rng: np.random.Generator) -> Proposal | None:
        """What ``ask`` would return now, as often as called; nothing is recorded.

        Args:
            rng: As for ``ask``.
        """
        return self._propose(rng)

    @final
    def asked(self, proposal: Proposal) -> None:
        """Take back a recorded ask; leaves the same state as ``ask`` having returned it.

        Raises:
            ValueError: If its genotype is not one of the genome.
        """
        self.genome.check(proposal.genotype)
        self.history.record_asked(proposal)

    @final
    def tell(self, proposal: Proposal, rewards: tuple[float, ...] | None) -> None:
        """Say what became of a proposal.

        Args:
            proposal: One that was asked and not yet told.
            rewards: One finite number per objective, larger is better; None if the child failed,
                was infeasible, or was cancelled.

        Raises:
            ValueError: If the proposal is not open, or the rewards are not as said.
        """
        if rewards is not None and len(rewards) != len(self.directions):
            raise ValueError(f"rewards must be {len(self.directions)} numbers, got {rewards}")
        self.history.record_told(proposal, rewards)

    @abstractmethod
    def recommend(self) -> Genotype:
        """The genotype to train in full: one of those told with rewards.

        Raises:
            ValueError: If nothing succeeded yet.
        """

    @abstractmethod
    def derived(self) -> dict[str, int | float | str]:
        """Options as they were resolved from the budget, by keyword; empty if there are none."""

    @abstractmethod
    def _propose(self, rng: np.random.Generator) -> Proposal | None:
        """What ``ask`` returns: a function of history and generator that changes no state."""


def require_one_objective(directions: tuple[str, ...], strategy: str) -> None:
    """Refuse several objectives on behalf of a strategy that ranks by a single reward.

    Raises:
        ValueError: If there is not exactly one direction.
    """
    if len(directions) != 1:
        raise ValueError(
            f"{strategy}: objectives must be exactly one, got {len(directions)}; "
            f"several are for {', '.join(SEVERAL_OBJECTIVES)}"
        )
