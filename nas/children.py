"""From a genotype to what can be said of its network in milliseconds."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.errors import NasError, usage_error
from nas.limits import Limits
from search_spaces.architecture import Architecture, lower
from search_spaces.genome import Genotype
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.space import SearchSpace

_KEPT = 64  # whole networks, some hundred kilobytes each
_COSTS_KEPT = 65_536
_TRIES = 32  # draws until one within the limits is walked to


@dataclass(frozen=True, slots=True)
class Child:
    """A genotype with its network.

    Attributes:
        genotype: The answers.
        architecture: What they stand for.
        graph: The lowered network.
        digest: Canonical hash of the network.
        params: Parameters.
        macs: Multiply-accumulates for one image.
    """

    genotype: Genotype
    architecture: Architecture
    graph: Graph
    digest: str
    params: int
    macs: int


@final
class Children:
    """Makes children of one space, and keeps the latest. The strategy's ``Features``."""

    def __init__(self, space: SearchSpace, limits: Limits) -> None:
        self._space = space
        self._limits = limits
        self._kept: OrderedDict[Genotype, Child] = OrderedDict()
        self._sizes: OrderedDict[Genotype, tuple[int, int]] = OrderedDict()

    def child(self, genotype: Genotype) -> Child:
        """The child of one genotype."""
        if genotype in self._kept:
            self._kept.move_to_end(genotype)
            return self._kept[genotype]
        architecture = self._space.architecture(genotype)
        graph = lower(architecture)
        child = Child(genotype, architecture, graph, digest(graph), graph.params, graph.macs)
        self._kept[genotype] = child
        self._sizes[genotype] = child.params, child.macs
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        if len(self._sizes) > _COSTS_KEPT:
            self._sizes.popitem(last=False)
        return child

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Log MACs and log parameters."""
        params, macs = self._size(genotype)
        return math.log(max(1, macs)), math.log(max(1, params))

    def feasible(self, genotype: Genotype) -> bool:
        """Whether parameters and MACs are within the limits."""
        return self._excess(genotype) <= 1

    def repaired(self, genotype: Genotype) -> Genotype:
        """Walks downhill from ``genotype``, one decision at a time, until it is within the limits.

        It goes around the decisions, on from about where it changed the last one: what brought it
        no nearer a step ago is not tried again first. Where no single change brings it nearer any
        more, that is where the walk ends.
        """
        excess, place = self._excess(genotype), 0
        while excess > 1:
            around = list(self._space.genome.neighbours(genotype))
            for step in range(len(around)):
                at = (place + step) % len(around)
                found = self._excess(around[at])
                if found < excess:
                    genotype, excess, place = around[at], found, at
                    break
            else:
                break
        return genotype

    def nearest_feasible(self, rng: np.random.Generator, *, samples: int = 64) -> Child:
        """A child within the limits, or the nearest one found from ``samples`` draws."""
        genome = self._space.genome
        drawn = [genome.sample_options(rng) for _ in range(samples)]
        return self.child(self.repaired(min(drawn, key=self._excess)))

    def check_feasible(self, rng: np.random.Generator) -> None:
        """Refuse limits that no network of the space keeps.

        Raises:
            NasError: With the nearest values that are feasible (exit code 3), or if the space makes
                networks that do not fit the images (2).
        """
        try:
            nearest = self.nearest_feasible(rng)
        except ValueError as error:
            raise usage_error(f"space: {error}") from error
        if not self.feasible(nearest.genotype):
            raise NasError(
                "no network of this space is within the limits; the nearest has "
                f"{nearest.params:,} parameters and {nearest.macs:,} MACs: raise the limit to that",
                exit_code=3,
            )

    def draw(self, rng: np.random.Generator) -> Graph:
        """A network within the limits, each option of each decision as likely as it can be."""
        for _ in range(_TRIES):
            genotype = self._space.genome.sample_options(rng)
            graph = lower(self._space.architecture(genotype))
            if self._limits.excess(graph.params, graph.macs) <= 1:
                return graph
        return self.child(self.repaired(genotype)).graph

    def extremes(self, rng: np.random.Generator, *, samples: int = 64) -> tuple[Graph, Graph]:
        """The smallest and the largest network that walks from ``samples`` draws find.

        By multiply-accumulates, within the limits; each walk changes one decision at a time while
        that helps.
        """
        drawn = [self.repaired(self._space.genome.sample_options(rng)) for _ in range(samples)]
        return self._extreme(drawn, sign=1), self._extreme(drawn, sign=-1)

    def _extreme(self, drawn: Sequence[Genotype], *, sign: int) -> Graph:
        best = min(drawn, key=lambda genotype: sign * self._size(genotype)[1])
        better: Genotype | None = best
        while better is not None:
            best, macs = better, sign * self._size(better)[1]
            better = next(
                (
                    neighbour
                    for neighbour in self._space.genome.neighbours(best)
                    if sign * self._size(neighbour)[1] < macs and self.feasible(neighbour)
                ),
                None,
            )
        return self.child(best).graph

    def drawn(self, rng: np.random.Generator, count: int) -> list[Child]:
        """That many children drawn from the space and brought within the limits."""
        genome = self._space.genome
        return [self.child(self.repaired(genome.sample_options(rng))) for _ in range(count)]

    def _size(self, genotype: Genotype) -> tuple[int, int]:
        if genotype in self._sizes:
            return self._sizes[genotype]
        child = self.child(genotype)
        return child.params, child.macs

    def _excess(self, genotype: Genotype) -> float:
        return self._limits.excess(*self._size(genotype))
