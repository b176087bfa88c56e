"""A search space of your own, around a block of your own, and a search in it."""

import sys

from own_block import Ghost

import nas
from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.genome import Decision, Genome, Genotype
from search_spaces.space import SearchSpace


class GhostSpace(SearchSpace):
    """Two stages of Ghost modules; depth and half the width of each are open."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        self._input_shape, self._num_classes = input_shape, num_classes
        depths = [Decision.of(f"stage{stage}.depth", [1, 2, 3]) for stage in range(2)]
        halves = [Decision.of(f"stage{stage}.half", [8, 16, 32]) for stage in range(2)]
        self._genome = Genome((*depths, *halves))

    @property
    def genome(self) -> Genome:
        """Four decisions, 81 genotypes."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """A stem, two stages of which the second halves the map, a classifier."""
        stages = []
        for stage in range(2):
            half, depth = (int(genotype[f"stage{stage}.{name}"]) for name in ("half", "depth"))
            stages.append((Ghost(half, stride=1 + stage), *(Ghost(half),) * (depth - 1)))
        head = Classifier(self._num_classes)
        return Architecture("GhostNet", self._input_shape, ConvNormAct(16), tuple(stages), head)


if __name__ == "__main__":
    print(nas.search(space=GhostSpace, budget=int(sys.argv[1]), out=sys.argv[2]).best.trial)
