"""The contract tests that ship, on spaces; on strategies they are tested with the strategies."""

import pytest

from nas.testing import check_space
from search_spaces.architecture import Architecture
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.genome import Decision, Genome, Genotype
from search_spaces.mbconv import MBConvSpace
from search_spaces.space import SearchSpace


class TwoWidths(SearchSpace):
    """A space whose networks have ``outputs`` scores, whatever was asked for."""

    def __init__(self, *, outputs: int, forgetful: bool = False) -> None:
        self._outputs = outputs
        self._forgetful = forgetful
        self._calls = 0

    @property
    def genome(self) -> Genome:
        return Genome((Decision.of("width", (4, 8)),))

    def architecture(self, genotype: Genotype) -> Architecture:
        self._calls += 1
        width = int(genotype["width"]) + (self._calls if self._forgetful else 0)
        block = ConvNormAct(width)
        return Architecture("Net", (1, 8, 8), block, ((block,),), Classifier(self._outputs))


@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_the_mbconv_space_keeps_the_contract(granularity: str) -> None:
    space = MBConvSpace((1, 8, 8), 10, granularity=granularity)
    check_space(space, num_classes=10, samples=10, built=2)


def test_a_sound_space_of_ones_own_passes() -> None:
    check_space(TwoWidths(outputs=3), num_classes=3, samples=4)


def test_another_number_of_scores_is_found() -> None:
    with pytest.raises(AssertionError, match="networks must return 3 scores"):
        check_space(TwoWidths(outputs=4), num_classes=3)


def test_an_architecture_that_is_no_function_of_the_genotype_is_found() -> None:
    with pytest.raises(AssertionError, match="function of the genotype alone"):
        check_space(TwoWidths(outputs=3, forgetful=True), num_classes=3)
