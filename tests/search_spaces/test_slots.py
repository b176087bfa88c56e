from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import (
    AvgPool,
    BasicBlock,
    Bottleneck,
    Cell,
    CellStem,
    Classifier,
    ConvNormAct,
    DenseLayer,
    FractalBlock,
    MBConv,
    Stem,
    Transition,
)
from search_spaces.lowering import BlockSpec
from search_spaces.modules import build
from search_spaces.slots import Segment, Slot, slots


def network(*stages: tuple[BlockSpec, ...], stem: BlockSpec | None = None) -> Architecture:
    stem = Stem(16, 3, 1, pool=False) if stem is None else stem
    return Architecture("Net", (1, 8, 8), stem, stages, Classifier(10))


def elastic(*stages: tuple[BlockSpec, ...]) -> dict[str, Slot]:
    return slots(lower(network(*stages)), elastic=True)


def separate(*stages: tuple[BlockSpec, ...]) -> dict[str, Slot]:
    return slots(lower(network(*stages)), elastic=False)


def test_every_parameter_has_a_slot_of_its_shape() -> None:
    blocks = (MBConv(24), BasicBlock(24), DenseLayer(8), Transition(), FractalBlock(16))
    for sharing in (True, False):
        graph = lower(network(blocks, (Bottleneck(32, groups=4),)))
        shapes = {name: tuple(value.shape) for name, value in build(graph).named_parameters()}
        found = slots(graph, elastic=sharing)
        assert {name: slot.shape for name, slot in found.items()} == shapes
        assert len({slot.key for slot in found.values()}) == len(found)


def test_blocks_of_a_stage_are_counted_by_family() -> None:
    found = elastic((AvgPool(2, 2), DenseLayer(8), DenseLayer(8), Transition(1.0, 1, width=16)))
    keys = {slot.key for slot in found.values()}
    assert "stages.0.DenseLayer.1.grow_conv.weight" in keys
    assert "stages.0.Transition.0.conv.weight" in keys
    without_pool = elastic((DenseLayer(8), DenseLayer(8), DenseLayer(8), Transition(0.5, 1)))
    assert keys < {slot.key for slot in without_pool.values()}


def test_families_share_nothing_inside_and_the_stage_behind_them() -> None:
    first = elastic((MBConv(16),), (MBConv(24),))
    second = elastic((BasicBlock(16),), (MBConv(24),))
    inside = [slot.key for name, slot in first.items() if name.startswith("stages.0")]
    assert not set(inside) & {slot.key for slot in second.values()}
    assert first["stages.1.0.expand_conv.weight"] == second["stages.1.0.expand_conv.weight"]


def test_the_stage_behind_is_the_same_at_every_depth() -> None:
    shallow = elastic((MBConv(16),), (MBConv(24),))
    deep = elastic((MBConv(16), MBConv(16), MBConv(16)), (MBConv(24),))
    assert shallow.items() <= deep.items()


def test_what_reads_a_concatenation_takes_the_union_of_its_segments() -> None:
    found = elastic((DenseLayer(4, 0), DenseLayer(8, 0), Transition(1.0, 1, width=16)))
    grown = [f"stages.0.DenseLayer.{place}.grow_conv" for place in (0, 1)]
    union = (Segment("stem.Stem.conv", 16), Segment(grown[0], 4), Segment(grown[1], 8))
    assert found["stages.0.2.conv.weight"].dimensions[1] == union
    assert found["stages.0.2.norm.weight"].dimensions == (union,)


def test_depthwise_convolutions_have_the_channels_of_what_they_read() -> None:
    expanded = elastic((MBConv(16, expansion=3),))["stages.0.0.depthwise_conv.weight"]
    plain = elastic((MBConv(16, expansion=1),))["stages.0.0.depthwise_conv.weight"]
    assert expanded.dimensions[0] == (Segment("stages.0.MBConv.0.expand_conv", 48),)
    assert plain.dimensions[0] == (Segment("stem.Stem.conv", 16),)
    assert expanded.key == plain.key


def test_gates_have_the_channels_of_what_they_scale() -> None:
    found = elastic((MBConv(16, expansion=3, squeeze_ratio=0.25),))
    gate = found["stages.0.0.squeeze_excite.expand.weight"]
    assert gate.dimensions[0] == (Segment("stages.0.MBConv.0.expand_conv", 48),)


def test_cardinality_is_never_cut() -> None:
    keys = {
        elastic((Bottleneck(width, groups=4),))["stages.0.0.middle_conv.weight"].key
        for width in (32, 64, 128)
    }
    assert len(keys) == 3


def test_columns_are_the_same_beside_deeper_ones() -> None:
    three, four = (elastic((FractalBlock(16, columns),)) for columns in (3, 4))
    assert {slot.key for slot in three.values()} < {slot.key for slot in four.values()}
    assert three["stages.0.0.conv2_2.conv.weight"] == four["stages.0.0.conv2_2.conv.weight"]


def test_separate_slots_are_those_of_one_form_of_a_block() -> None:
    small, large = separate((MBConv(16, 3),)), separate((MBConv(16, 5),))
    same = {slot.key for slot in small.values()} & {slot.key for slot in large.values()}
    assert not any("MBConv.0.expand_conv" in key for key in same)
    assert {slot.key for slot in small.values() if slot.key.startswith("head")} <= same
    assert separate((MBConv(16, 3),)) == small


def test_separate_slots_in_a_cell_are_those_of_an_edge() -> None:
    def cells(first: str) -> dict[str, Slot]:
        cell = Cell(8, (0, 1, 0, 2), (first, "sep3", "sep5", "dil3"))
        stem = CellStem(24)
        return slots(lower(network((cell,), stem=stem)), elastic=False)

    one, other = cells("sep3"), cells("max_pool")
    edge = "stage0_block0.edge0_3.first.depthwise_conv.weight"
    assert one[edge] == other[edge]
    assert "edge0_3.TwiceSeparable" in one[edge].key


def test_the_same_channels_twice_have_weights_of_their_own() -> None:
    found = elastic((ConvNormAct(16), BasicBlock(16)))
    for slot in found.values():
        for size in slot.dimensions:
            if not isinstance(size, int):
                sources = [segment.source for segment in size]
                assert len(set(sources)) == len(sources)
