"""Which paths through a network one training step takes.

Randomness is not in the graph: a training loop draws a ``PathChoice`` before each step and hands
it to the module, ``modules.choose_paths``. Drop-path of means and stochastic depth of residual
sums are both read from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt

from search_spaces.graph import Graph
from search_spaces.primitives import Add, Mean

GLOBAL_SHARE = 0.5  # of the steps take one column; arXiv:1605.07648, section 3


@final
@dataclass(frozen=True, slots=True, eq=False)
class PathChoice:
    """What of a network one training step computes; what is absent is computed as always.

    Attributes:
        kept: For a join, by the name of its node, positions of the inputs that it reads, rising.
            What no join reads any more is not computed.
        scales: For an input of a sum, by the name of its node and the position of the input, what
            it is multiplied by for each image of the batch, of shape ``(batch,)``: 0 drops it.
    """

    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    scales: Mapping[tuple[str, int], npt.NDArray[np.float32]] = field(default_factory=dict)

    def of_images(self, begin: int, end: int) -> "PathChoice":
        """The same paths for the images of the batch from ``begin`` up to ``end``, left out."""
        return PathChoice(
            self.kept, {branch: scale[begin:end] for branch, scale in self.scales.items()}
        )


@final
class Paths:
    """Where the paths of a network part and meet again, and draws among them.

    Means are those of fractal blocks and any other: a mean can be taken of some of its inputs. A
    scope's means read the same columns, the deepest last, and the mean with most inputs reads
    all of them. Residual sums are those of two values of which one is what the scope was handed,
    so that the other one, the branch, can be left out; a projected shortcut is none.

    Attributes:
        columns: Most columns of a scope; 0 where there is no mean.
        residuals: Names of the residual sums and positions of their branches, in the order of the
            graph.
    """

    def __init__(self, graph: Graph) -> None:
        handed = {scope.path: scope.inputs for scope in graph.scopes}
        self._means: dict[str, dict[str, int]] = {}  # scope -> mean -> number of inputs
        residuals: list[tuple[str, int]] = []
        for node in graph.nodes:
            reads = len(node.inputs)
            if isinstance(node.primitive, Mean):
                self._means.setdefault(node.scope, {})[node.name] = reads
            elif isinstance(node.primitive, Add) and reads == 2 and node.scope:
                computed = [
                    port
                    for port, source in enumerate(node.inputs)
                    if source not in handed[node.scope]
                ]
                residuals += [(node.name, port) for port in computed if len(computed) == 1]
        self.residuals = tuple(residuals)
        self.columns = max((max(found.values()) for found in self._means.values()), default=0)

    def column(self, number: int) -> PathChoice:
        """The global path of one column through the whole network.

        Args:
            number: From 0, the shallowest, to ``columns - 1``. Where there are fewer columns, the
                deepest stands in.

        Raises:
            ValueError: If there is no such column.
        """
        if not 0 <= number < self.columns:
            raise ValueError(f"number must be a column from 0 to {self.columns - 1}, got {number}")
        kept = {}
        for means in self._means.values():
            every = max(means.values())
            for name, inputs in means.items():
                # A mean of the last columns alone is not on the path of a shallower one.
                kept[name] = (max(0, min(number, every - 1) - (every - inputs)),)
        return PathChoice(kept)

    def draw(
        self, rng: np.random.Generator, *, drop_path: float, stochastic_depth: float, batch: int
    ) -> PathChoice:
        """The paths of one training step.

        **Drop-path.** Half of the steps take one column through the whole network, each as
        likely. In the others each input of each mean is dropped with probability ``drop_path``;
        where that leaves none, one of them is kept, each as likely.

        **Stochastic depth.** The branch of a residual sum is left out for some images, with a
        probability that rises linearly over the sums, up to ``stochastic_depth`` at the last one.
        A branch that stays is divided by its chance to.

        Args:
            rng: Where the draws come from.
            drop_path: In [0, 1); 0 switches it off, columns included.
            stochastic_depth: In [0, 1); 0 switches it off.
            batch: Number of images.

        Source: drop-path: FractalNet (arXiv:1605.07648), section 3: half local and half global
        sampling, a new subnetwork for each mini-batch. Stochastic depth: arXiv:1603.09382,
        section 3, linear decay. Deviations, both those of the released EfficientNet: image by
        image, not batch by batch, so that each of a child's few steps trains each block; scaled
        while training, not afterwards. A block with a projected shortcut is never left out.
        """
        return PathChoice(self._kept(rng, drop_path), self._scales(rng, stochastic_depth, batch))

    def _kept(self, rng: np.random.Generator, rate: float) -> Mapping[str, tuple[int, ...]]:
        if rate == 0 or self.columns < 2:
            return {}
        if rng.random() < GLOBAL_SHARE:
            return self.column(int(rng.integers(self.columns))).kept
        kept = {}
        for means in self._means.values():
            for name, inputs in means.items():
                left = tuple(np.flatnonzero(rng.random(inputs) >= rate).tolist())
                kept[name] = left or (int(rng.integers(inputs)),)
        return kept

    def _scales(
        self, rng: np.random.Generator, rate: float, batch: int
    ) -> Mapping[tuple[str, int], npt.NDArray[np.float32]]:
        if rate == 0:
            return {}
        scales = {}
        for place, branch in enumerate(self.residuals, start=1):
            survival = 1 - rate * place / len(self.residuals)
            scales[branch] = ((rng.random(batch) < survival) / survival).astype(np.float32)
        return scales
