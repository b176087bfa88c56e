"""Whether networks keep the limits of a run, also that on latency, which has to be measured."""

from typing import final

from nas.children import Child, Children
from nas.latency import network_latency_ms
from nas.plan import Plan
from nas.trial import Trial


@final
class KeepingLimits:
    """Holds children against the limits of a plan; measures each network once.

    Args:
        plan: Has the limits, and the device that latencies are measured on.
        children: Know which networks are within the other limits.
    """

    def __init__(self, plan: Plan, children: Children) -> None:
        self._plan, self._children = plan, children
        self._latencies: dict[str, float] = {}

    def latency_ms(self, child: Child) -> float | None:
        """Median latency where it is limited or an objective.

        None where it is neither, and for a network beyond the other limits. Infinite where the
        device cannot compute it.
        """
        if not self._plan.times_children or not self._children.feasible(child.genotype):
            return None
        if child.digest not in self._latencies:
            measured = network_latency_ms(child.graph, device=self._plan.device)
            self._latencies[child.digest] = measured
        return self._latencies[child.digest]

    def is_fast(self, child: Child) -> bool:
        """Whether a child is within the limit on latency, or beyond another one."""
        most = self._plan.limits.max_latency_ms
        latency = None if most is None else self.latency_ms(child)
        return most is None or latency is None or latency <= most

    def broken_by(self, trial: Trial) -> str:
        """The limit that a trial is beyond, in words; empty within all of them."""
        limits = self._plan.limits
        costs: tuple[tuple[str, float | None, float | None], ...] = (
            ("params", trial.params, limits.max_params),
            ("macs", trial.macs, limits.max_macs),
            ("latency_ms", trial.latency_ms, limits.max_latency_ms),
        )
        for name, cost, most in costs:
            if cost is not None and most is not None and cost > most:
                return f"{name} {cost:,.6g} is above the limit of {most:,.6g}"
        if self._plan.times_children and trial.latency_ms is None:
            return f"{self._plan.device} cannot compute the network"
        return ""
