"""Into how many pieces batches are cut; what is computed on them is tested with full trainings."""

from estimators.batch_gradients import pieces
from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph


def test_a_batch_is_cut_for_threads_unless_pieces_are_small_or_maps_are_large() -> None:
    def graph(side: int, width: int = 16) -> Graph:
        stages = ((ConvNormAct(width),),)
        stem = ConvNormAct(width)
        return lower(Architecture("Net", (1, side, side), stem, stages, Classifier(2)))

    small = graph(28)
    counts = {threads: pieces(small, 64, threads) for threads in (1, 2, 3, 16)}
    assert counts == {1: 1, 2: 2, 3: 2, 16: 2}
    assert [pieces(small, images, 16) for images in (2, 63, 96, 512)] == [1, 1, 3, 16]
    assert pieces(graph(128), 64, 2) == 2  # 16 maps of 64 KiB, 32 MiB for half a batch
    assert pieces(graph(256), 64, 2) == 1
    assert pieces(graph(128, 32), 64, 2) == 1  # 64 MiB
