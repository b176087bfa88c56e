"""What a search is to do, and where each of its random choices comes from."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from nas.limits import Limits, Objective

# First numbers of the spawn keys that keep the generators of a run apart.
ASK, TRAINING, RESCORING, PREFLIGHT, FINAL = range(5)
REFERENCE, AUDIT, PRETRAINING, SCREENING, RIVAL = range(5, 10)

FINALISTS = 3  # of the best trials, to be scored again
FRONT_FINALISTS = 8  # of the front, where there are several objectives
FRESH_SEEDS = 2  # that each of them is scored on
LEAST_AUDITED = 6  # children, of fewer nothing can be said

AUTO: Final = "auto"
OFF: Final = "off"
References = Literal["auto", "off"] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search is to do; kept unchanged for the whole run.

    Attributes:
        budget: Trials to start on a worker.
        seed: Seed of the run.
        objective: What trials are ranked by; the first of several, a metric of the task.
        limits: What a network may cost.
        fidelity: Share of full training for every child, in (0, 1]; a strategy that proposes a
            fidelity of its own gets that share of it, unless there are rungs.
        device: Where networks are trained and latency is measured.
        asked: What the user asks for, if the estimator has a score of its own to rank trials by.
        beside: Further objectives, in their order; none where ``asked`` is given.
        halving: Of the children that reach a rung, one in so many goes on; 0 without rungs.
        rungs: Fidelities at which children are compared, lowest first, ``fidelity`` last; empty
            where each is trained in one piece.
        references: The published networks that the winner is compared with, by name; ``auto`` for
            those within the limits and fast enough, ``off`` for none.
    """

    budget: int
    seed: int
    objective: Objective
    limits: Limits
    device: str = "cpu"
    fidelity: float = 1.0
    asked: Objective | None = None
    beside: tuple[Objective, ...] = ()
    halving: int = 0
    rungs: tuple[float, ...] = ()
    references: References = OFF

    @property
    def verdict(self) -> Objective:
        """What finalists are ranked by: a metric of the task."""
        return self.objective if self.asked is None else self.asked

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All that is searched for, in the order of the rewards."""
        return (self.objective, *self.beside)

    @property
    def times_children(self) -> bool:
        """Whether the latency of children is measured."""
        wanted = any(one.metric == "latency_ms" for one in self.beside)
        return wanted or self.limits.max_latency_ms is not None


def finalists_of(objectives: int) -> int:
    """How many trials are scored again, at most, in a search for so many objectives."""
    return FINALISTS if objectives == 1 else FRONT_FINALISTS


def rng_of(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose of a run."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def training_seed(seed: int, *key: int) -> int:
    """A seed below 2**31 for one training."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0] >> 1)
