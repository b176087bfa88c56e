"""One ask of a run and what became of it."""

from dataclasses import dataclass, field
from typing import Literal

from nas.limits import COSTS
from search_spaces.genome import Genotype

State = Literal["running", "paused", "complete", "stopped", "failed", "infeasible", "duplicate"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A proposal of the strategy, numbered in the order of asks.

    Attributes:
        ordinal: Number of the ask, from 0.
        genotype: What was proposed.
        digest: Canonical hash of its network.
        state: ``running``, or ``paused`` at a rung, to be trained on or not; then for good:
            ``complete``, ``stopped`` (early, with a score), ``failed``, ``infeasible`` (beyond the
            limits, never trained) or ``duplicate`` (its network was scored before; it has the
            score of trial ``of``). The last two cost no budget.
        params: Parameters of the network.
        macs: Multiply-accumulates of the network for one image.
        latency_ms: Median latency, where it is limited or an objective and the device can
            compute the network.
        fidelity: Share of full training, in (0, 1]; with rungs, of the one it is at or on its way
            to.
        seed: Decides all chance in its training.
        metrics: Every metric of the task; empty if there is no score.
        seconds: Wall time on the worker.
        cause: Why it failed, or ``infeasible``; empty otherwise.
        message: The cause in words.
        trace: Traceback of a failure, for the eye; empty otherwise.
        of: Ordinal of the trial that a duplicate repeats.
        reports: Metrics at each rung where it paused, by fidelity.
    """

    ordinal: int
    genotype: Genotype
    digest: str
    state: State
    params: int
    macs: int
    fidelity: float
    seed: int
    latency_ms: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cause: str = ""
    message: str = ""
    trace: str = ""
    of: int | None = None
    reports: dict[float, dict[str, float]] = field(default_factory=dict)

    def figure(self, name: str) -> float:
        """The value of a metric, or of a cost: ``params``, ``macs`` or ``latency_ms``.

        Raises:
            KeyError: If the trial has no such value.
        """
        if name not in COSTS:
            return self.metrics[name]
        costs = {"params": self.params, "macs": self.macs, "latency_ms": self.latency_ms}
        cost = costs[name]
        if cost is None:
            raise KeyError(name)
        return cost
