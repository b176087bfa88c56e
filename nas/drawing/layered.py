"""Where the boxes of a small directed graph go: in layers from top to bottom, edges in lanes.

The method of Sugiyama, Tagawa and Toda (doi:10.1109/TSMC.1981.4308636): nodes in layers, long
edges broken into one point per layer, an order in each layer with few crossings, then places.
Edges that leave one node share their points, so that a value that many nodes read is one line
with branches. Chains are placed upright: whoever reads one node and is its only reader stands
exactly below it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

GAP = 26.0  # between boxes beside each other, and between layers
LANE = 12.0  # of a line that passes between boxes
SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of all boxes and lines, in pixels from the top left corner.

    Attributes:
        centers: Of each node: x of its middle and y of its upper side.
        routes: Of each edge: the points that its line runs through, downwards.
        width: Of the whole.
        height: Of the whole.
    """

    centers: tuple[tuple[float, float], ...]
    routes: Mapping[tuple[int, int], tuple[tuple[float, float], ...]]
    width: float
    height: float


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place the nodes of a graph.

    Args:
        sizes: Width and height of each node, in pixels; at least one node.
        edges: ``(source, target)``, each once, with ``source < target``.
    """
    net = _Net(sizes, edges)
    net.reorder()
    return net.layout(edges)


@final
class _Net:
    """Nodes and the points of long edges, as one graph whose edges reach the next layer only."""

    def __init__(
        self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]
    ) -> None:
        self._sizes = sizes
        self._count = len(sizes)
        ranks = _ranks(self._count, edges)
        self._layers: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
        self._rank = list(ranks)
        for node, rank in enumerate(ranks):
            self._layers[rank].append(node)
        self._above: list[list[int]] = [[] for _ in ranks]
        self._below: list[list[int]] = [[] for _ in ranks]
        self._lanes: dict[tuple[int, int], int] = {}  # (source, layer): its point there
        for source, target in sorted(edges, key=lambda edge: (ranks[edge[1]], edge)):
            self._connect(self._lane(source, ranks[target] - 1), target)

    def _lane(self, source: int, layer: int) -> int:
        """The point in ``layer`` of the edges that leave ``source``."""
        if layer == self._rank[source]:
            return source
        if (source, layer) not in self._lanes:
            above = self._lane(source, layer - 1)
            point = len(self._rank)
            self._rank.append(layer)
            self._above.append([])
            self._below.append([])
            self._layers[layer].append(point)
            self._lanes[source, layer] = point
            self._connect(above, point)
        return self._lanes[source, layer]

    def _connect(self, upper: int, lower: int) -> None:
        self._below[upper].append(lower)
        self._above[lower].append(upper)

    # Order ----------------------------------------------------------------------------------

    def reorder(self) -> None:
        """Sort each layer by the middle of its neighbours, down and up; keep the best order."""
        best, fewest = [list(layer) for layer in self._layers], self._crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            for layer in self._layers if down else reversed(self._layers):
                places = self._places()
                neighbours = self._above if down else self._below
                layer.sort(key=lambda node: _middle(node, neighbours[node], places))
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self._layers], crossings
        self._layers = best

    def _places(self) -> dict[int, int]:
        return {node: place for layer in self._layers for place, node in enumerate(layer)}

    def _crossings(self) -> int:
        places = self._places()
        found = 0
        for layer in self._layers:
            ends = [
                place
                for node in layer
                for place in sorted(places[reader] for reader in self._below[node])
            ]
            found += sum(earlier > later for at, later in enumerate(ends) for earlier in ends[:at])
        return found

    # Places ---------------------------------------------------------------------------------

    def layout(self, edges: Sequence[tuple[int, int]]) -> Layout:
        """Places for the order that there is."""
        column = self._columns()
        x = self._across(column)
        tops: list[float] = []
        y = 0.0
        for layer in self._layers:
            tops.append(y)
            y += max(self._height(node) for node in layer) + GAP
        left = min(x[column[node]] - self._width(node) / 2 for node in range(len(self._rank)))
        right = max(x[column[node]] + self._width(node) / 2 for node in range(len(self._rank)))
        middle = [round(x[place] - left, 1) for place in column]
        heights = [max(self._height(node) for node in layer) for layer in self._layers]
        routes = {edge: tuple(self._route(*edge, middle, tops, heights)) for edge in edges}
        centers = tuple((middle[node], tops[self._rank[node]]) for node in range(self._count))
        return Layout(centers, self._spread(routes, middle), right - left, y - GAP)

    def _columns(self) -> list[int]:
        """The column of each node; those of one column stand exactly below each other."""
        column = list(range(len(self._rank)))
        taken_below: set[int] = set()
        taken_above: set[int] = set()
        kept: list[tuple[int, int]] = []
        places = self._places()
        for upper, lower in self._upright():
            one, other = places[upper], places[lower]
            crosses = any(
                self._rank[u] == self._rank[upper] and (places[u] < one) != (places[v] < other)
                for u, v in kept
            )
            if upper in taken_below or lower in taken_above or crosses:
                continue
            taken_below.add(upper)
            taken_above.add(lower)
            kept.append((upper, lower))
        for upper, lower in sorted(kept, key=lambda pair: self._rank[pair[0]]):
            column[lower] = column[upper]
        return column

    def _upright(self) -> list[tuple[int, int]]:
        """Edges that should be upright, the most important first."""
        inner, chains, ends = [], [], []
        for upper, readers in enumerate(self._below):
            real = [node for node in readers if node < self._count]
            for lower in readers:
                sources = [node for node in self._above[lower] if node < self._count]
                if upper >= self._count and lower >= self._count:
                    inner.append((upper, lower))
                elif upper < self._count and lower < self._count:
                    if len(real) == 1 and len(sources) == 1:
                        chains.append((upper, lower))
                elif len(readers if upper < self._count else self._above[lower]) == 1:
                    ends.append((upper, lower))
        return inner + chains + ends

    def _across(self, column: Sequence[int]) -> dict[int, float]:
        """X of each column: as far left as it can be, then in the middle of what it joins."""
        neighbours = [(left, right) for layer in self._layers for left, right in pairwise(layer)]
        apart = {(column[left], column[right]): 0.0 for left, right in neighbours}
        for left, right in neighbours:
            pair = column[left], column[right]
            apart[pair] = max(apart[pair], self._apart(left, right))
        x = _leftmost(set(column), apart)
        before: dict[int, list[tuple[int, float]]] = {place: [] for place in x}
        behind: dict[int, list[tuple[int, float]]] = {place: [] for place in x}
        for (one, other), gap in apart.items():
            before[other].append((one, gap))
            behind[one].append((other, gap))
        joined: dict[int, list[int]] = {place: [] for place in x}
        for upper, readers in enumerate(self._below):
            for lower in readers:
                if column[upper] != column[lower]:
                    joined[column[upper]].append(column[lower])
                    joined[column[lower]].append(column[upper])
        order = sorted(x, key=lambda place: -x[place])
        for sweep in range(4 * SWEEPS):
            for place in order if sweep % 2 == 0 else reversed(order):
                if joined[place]:
                    wanted = sum(x[other] for other in joined[place]) / len(joined[place])
                    least = [x[other] + gap for other, gap in before[place]]
                    most = [x[other] - gap for other, gap in behind[place]]
                    x[place] = max([min([wanted, *most]), *least])
        return x

    def _apart(self, left: int, right: int) -> float:
        both_lanes = left >= self._count and right >= self._count
        return (self._width(left) + self._width(right)) / 2 + (0 if both_lanes else GAP)

    def _width(self, node: int) -> float:
        return self._sizes[node][0] if node < self._count else LANE

    def _height(self, node: int) -> float:
        return self._sizes[node][1] if node < self._count else 0.0

    def _route(
        self,
        source: int,
        target: int,
        middle: Sequence[float],
        tops: Sequence[float],
        heights: Sequence[float],
    ) -> list[tuple[float, float]]:
        points = [(middle[source], tops[self._rank[source]] + self._height(source))]
        if heights[self._rank[source]] > self._height(source):
            points.append((middle[source], tops[self._rank[source]] + heights[self._rank[source]]))
        for layer in range(self._rank[source] + 1, self._rank[target]):
            lane = middle[self._lanes[source, layer]]
            points += [(lane, tops[layer]), (lane, tops[layer] + heights[layer])]
        return [*points, (middle[target], tops[self._rank[target]])]

    def _spread(
        self,
        routes: dict[tuple[int, int], tuple[tuple[float, float], ...]],
        middle: Sequence[float],
    ) -> dict[tuple[int, int], tuple[tuple[float, float], ...]]:
        """Let lines that end at one node arrive beside each other, in the order they come in."""
        for target in range(self._count):
            ending = sorted(
                (edge for edge in routes if edge[1] == target), key=lambda edge: routes[edge][-2]
            )
            upright = [
                place for place, edge in enumerate(ending) if routes[edge][-2][0] == middle[target]
            ]
            center = upright[0] if len(upright) == 1 else (len(ending) - 1) / 2
            farthest = max(center, len(ending) - 1 - center)
            step = min(14.0, (self._width(target) / 2 - 8) / max(1, farthest))
            for place, edge in enumerate(ending):
                x, y = middle[target] + step * (place - center), routes[edge][-1][1]
                routes[edge] = (*routes[edge][:-1], (round(x, 1), y))
        return routes


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Layer of each node: midway between the first and the last in which it can be."""
    earliest = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        earliest[target] = max(earliest[target], earliest[source] + 1)
    latest = [max(earliest)] * count
    for source, target in sorted(edges, key=lambda edge: -edge[0]):
        latest[source] = min(latest[source], latest[target] - 1)
    return [(first + last) // 2 for first, last in zip(earliest, latest, strict=True)]


def _middle(node: int, neighbours: Sequence[int], places: Mapping[int, int]) -> float:
    if not neighbours:
        return float(places[node])
    return sum(places[other] for other in neighbours) / len(neighbours)


def _leftmost(columns: set[int], apart: Mapping[tuple[int, int], float]) -> dict[int, float]:
    """The least x of each column that keeps all columns apart."""
    x = dict.fromkeys(sorted(columns), 0.0)
    for _ in columns:
        moved = False
        for (left, right), gap in apart.items():
            if x[left] + gap > x[right]:
                x[right] = x[left] + gap
                moved = True
        if not moved:
            break
    return x
