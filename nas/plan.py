"""What a search is to do, and where each of its random choices comes from."""

from dataclasses import dataclass

import numpy as np

from nas.limits import Limits, Objective

# First numbers of the spawn keys that keep the generators of a run apart.
ASK, TRAINING, RESCORING, PREFLIGHT, FINAL, PRETRAINING = range(6)

FINALISTS = 3  # of the best trials, to be scored again
FRESH_SEEDS = 2  # that each of them is scored on


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search is to do; kept unchanged for the whole run.

    Attributes:
        budget: Trials to start on a worker.
        seed: Seed of the run.
        objective: What is searched for.
        limits: What a network may cost.
        fidelity: Share of full training for every child, in (0, 1]; a strategy that proposes a
            fidelity of its own gets that share of it.
        device: Where latency is measured.
    """

    budget: int
    seed: int
    objective: Objective
    limits: Limits
    device: str = "cpu"
    fidelity: float = 1.0


def rng_of(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose of a run."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def training_seed(seed: int, *key: int) -> int:
    """A seed below 2**31 for one training."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0] >> 1)
