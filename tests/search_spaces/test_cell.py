"""Cells with two inputs, the network of DARTS, and the space around it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.testing import check_space
from search_spaces import graph_json
from search_spaces.architecture import Architecture, from_document, lower, to_document
from search_spaces.blocks import Cell, CellStem, Classifier, ConvNormAct, FactorizedReduction
from search_spaces.blocks.cell import OPERATIONS
from search_spaces.cell import CellSpace, skeleton
from search_spaces.genome import OptionValue
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.lowering import BlockSpec
from search_spaces.modules import build
from search_spaces.paths import Paths
from search_spaces.primitives import GlobalAvgPool2d
from search_spaces.reference.darts import NORMAL, REDUCTION, Edges, cells, darts_v2, spread
from search_spaces.source import model_source
from search_spaces.strict_json import JsonError, dumps, loads

Liven = Callable[[nn.Module], nn.Module]
ModelFromSource = Callable[[str], nn.Module]

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224), (1, 8, 64), (3, 33, 57)]
EVERY = Cell(4, (0, 1, 0, 2, 1, 3, 0, 4), ("sep3", "dil5", "max_pool", "identity") * 2)


def network(*stages: tuple[BlockSpec, ...], sides: tuple[int, int] = (8, 10)) -> Graph:
    return lower(Architecture("Net", (2, *sides), CellStem(6), stages, Classifier(3)))


# The published network -------------------------------------------------------------------------


def test_darts_has_the_published_parameters() -> None:
    # arXiv:1806.09055, table 1: 3.3 M. To the last one: by the rules that the next test proves.
    assert lower(darts_v2()).params == 3_349_342


def test_the_cells_of_p_darts_have_the_parameters_that_were_counted_in_the_released_code() -> None:
    # chenxin061/pdarts, issue 7: 3433798 without the auxiliary head; cells: arXiv:1904.12760.
    normal: Edges = (
        *((0, "identity"), (1, "dil3"), (0, "identity"), (1, "sep3")),
        *((1, "sep3"), (3, "sep3"), (0, "sep3"), (4, "dil5")),
    )
    reduction: Edges = (
        *((0, "avg_pool"), (1, "sep5"), (0, "sep3"), (2, "dil5")),
        *((0, "max_pool"), (1, "dil3"), (1, "dil3"), (3, "dil5")),
    )
    stages = cells(normal, reduction, width=36, counts=spread(20, 3))
    assert lower(replace(darts_v2(), stages=stages)).params == 3_433_798


def test_stages_end_where_the_released_code_halves_the_map() -> None:
    assert spread(20, 3) == (6, 7, 7)
    assert spread(8, 3) == (2, 3, 3)
    for count in range(3, 30):
        starts = np.cumsum(spread(count, 3))[:2].tolist()
        assert starts == [count // 3, 2 * count // 3]


def test_the_source_has_a_class_for_each_kind_of_cell(
    classes_in_source: Callable[[str], list[str]],
) -> None:
    graph = lower(darts_v2())
    source = model_source(graph)
    named = [name for name in classes_in_source(source) if name.endswith(("Cell", "Reduction"))]
    assert named == [
        *("FirstCell", "NormalCell", "ReductionCell"),
        *("FactorizedReduction", "NormalCellAfterReduction"),
    ]
    again = graph_json.from_document(loads(dumps(graph_json.to_document(graph))))
    assert again == graph
    assert model_source(again) == source


# What a cell computes ----------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", [False, True])
def test_nodes_add_their_edges_and_the_output_is_all_nodes(
    reduction: bool,  # noqa: FBT001 - a parameter of the test
    liven: Liven,
) -> None:
    cell = replace(EVERY, reduction=reduction)
    model = liven(build(network((cell, cell))))
    part = model.get_submodule("stage0_block1")
    sides = (4, 5) if reduction else (8, 10)
    older, newer = torch.randn(2, 6, 8, 10), torch.randn(2, 16, *sides)
    with torch.no_grad():
        places = [part.get_submodule("older")(older), part.get_submodule("newer")(newer)]
        for node in range(2, 6):
            edges = [
                part.get_submodule(f"edge{source}_{node}")(places[source])
                for source in cell.sources[2 * node - 4 : 2 * node - 2]
            ]
            places.append(edges[0] + edges[1])
        assert torch.equal(part(older, newer), torch.cat(places[2:], dim=1))


def test_cells_are_handed_the_outputs_of_the_two_blocks_before(liven: Liven) -> None:
    conv = ConvNormAct(10)
    model = liven(build(network((EVERY, EVERY), (conv, EVERY))))
    names = ("stem", "stage0_block0", "stage0_block1", "stage1_block0", "stage1_block1")
    outputs: dict[str, Tensor] = {}
    inputs: dict[str, tuple[Tensor, ...]] = {}
    for name in names:

        def keep(_: nn.Module, read: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            inputs[name], outputs[name] = read, output

        model.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        model(torch.randn(1, 2, 8, 10))
    read = {
        name: [place for place in names for value in values if value is outputs[place]]
        for name, values in inputs.items()
    }
    assert read["stage0_block0"] == ["stem"]  # once for both
    assert read["stage0_block1"] == ["stem", "stage0_block0"]
    assert read["stage1_block0"] == ["stage0_block1"]
    assert read["stage1_block1"] == ["stage0_block1", "stage1_block0"]


def test_networks_without_cells_keep_their_names() -> None:
    graph = network((ConvNormAct(4), ConvNormAct(4)))
    assert "stages.0.1.conv" in {node.name for node in graph.nodes}


@pytest.mark.parametrize("sides", [(8, 8), (6, 10), (7, 7), (5, 8)])
def test_a_factorised_reduction_reads_even_and_odd_pixels(
    sides: tuple[int, int], liven: Liven
) -> None:
    block = FactorizedReduction(6)
    model = liven(build(network((block,), sides=sides)))
    part = model.get_submodule("stages.0.0")
    x = torch.randn(2, 6, *sides)
    padded = nn.functional.pad(x.relu(), (0, sides[1] % 2, 0, sides[0] % 2))
    with torch.no_grad():
        halves = [
            nn.functional.conv2d(pixels, part.get_submodule(f"{name}_conv").weight)  # type: ignore[arg-type]
            for name, pixels in (
                ("even", padded[:, :, ::2, ::2]),
                ("odd", padded[:, :, 1::2, 1::2]),
            )
        ]
        expected = part.get_submodule("norm")(torch.cat(halves, dim=1))
        assert torch.allclose(part(x), expected, atol=1e-5)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_keeps_the_width_and_halves_where_it_must(
    operation: str, model_from_source: ModelFromSource, liven: Liven
) -> None:
    normal = Cell(4, (0, 1, 0, 2), (operation,) * 4)
    graph = network((normal,), (replace(normal, width=8, reduction=True), normal), sides=(9, 7))
    pool = next(node for node in graph.nodes if isinstance(node.primitive, GlobalAvgPool2d))
    assert pool.input_shapes[0] == (8, 5, 4)
    model, printed = liven(build(graph)), model_from_source(model_source(graph)).eval()
    printed.load_state_dict(model.state_dict())
    images = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        assert torch.equal(model(images), printed(images))


def test_layers_are_named_by_their_edge_whatever_else_there_is() -> None:
    one = Cell(4, (0, 1, 0, 2, 1, 2), ("sep3", "sep5", "dil3", "sep3", "sep3", "dil5"))
    other = Cell(4, (0, 1, 1, 2, 1, 2), ("sep3", "sep5", "dil3", "sep3", "sep3", "dil5"))
    keys = [set(build(network((cell,))).state_dict()) for cell in (one, other)]
    assert {key.split(".")[1] for key in keys[0] - keys[1]} == {"edge0_3"}
    assert {key.split(".")[1] for key in keys[1] - keys[0]} == {"edge1_3"}


def test_cells_have_no_residual_sums_and_no_columns() -> None:
    paths = Paths(lower(darts_v2()))
    assert (paths.residuals, paths.columns) == ((), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cell(4, (), ()), "must be two for each node, got 0 and 0"),
        (lambda: Cell(4, (0, 1, 0), ("sep3",) * 3), "must be two for each node, got 3 and 3"),
        (lambda: Cell(4, (0, 1), ("sep3",)), "must be two for each node, got 2 and 1"),
        (lambda: Cell(4, (0, 0), ("sep3",) * 2), "two different places from 0 to 1, got 0"),
        (lambda: Cell(4, (0, 1, 0, 3), ("sep3",) * 4), "node 3 must be two .* to 2, got 3"),
        (lambda: Cell(4, (-1, 1), ("sep3",) * 2), "two different places from 0 to 1, got -1"),
        (lambda: Cell(4, (0, 1), ("sep3", "zero")), "operations must be of sep3, .*, got 'zero'"),
        (lambda: Cell(5, (0, 1), ("sep3",) * 2), "width must be even, got 5"),
        (lambda: FactorizedReduction(5), "width must be even, got 5"),
        (lambda: CellStem(8, 4), "halvings must be from 0 to 3, got 4"),
    ],
)
def test_what_cannot_be_built_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sources", [0, "1"], "sources must be a list of int"),
        ("sources", [0, True], "sources must be a list of int"),
        ("sources", 3, "sources must be a list of int, got 3"),
        ("operations", ["sep3", 3], "operations must be a list of str"),
        ("operations", "sep3", "operations must be a list of str, got 'sep3'"),
        ("operations", ["sep3", "zero"], "operations must be of"),
    ],
)
def test_documents_of_cells_are_read_strictly(field: str, value: object, message: str) -> None:
    cell = Cell(4, (0, 1), ("sep3", "sep5"))
    architecture = Architecture("Net", (2, 8, 8), CellStem(6), ((cell,),), Classifier(3))
    document = loads(dumps(to_document(architecture)))
    assert from_document(document) == architecture
    document["stages"][0][0][field] = value
    with pytest.raises(JsonError, match=message):
        from_document(document)


# The space -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_genotype_is_a_network_without_degenerate_maps(shape: tuple[int, int, int]) -> None:
    space = CellSpace(shape, 5)
    rng = np.random.default_rng(0)
    for _ in range(8):
        graph = lower(space.architecture(space.genome.sample_options(rng)))
        assert graph.output_shape == (5,)
        assert graph.input_shape[0] == shape[0]
        pool = next(node for node in graph.nodes if isinstance(node.primitive, GlobalAvgPool2d))
        assert min(pool.input_shapes[0][1:]) >= 3


@pytest.mark.parametrize(
    ("side", "found"),
    [(8, (0, 2)), (15, (0, 2)), (16, (0, 3)), (48, (0, 3)), (49, (1, 3)), (224, (3, 3))],
)
def test_the_skeleton_follows_the_images(side: int, found: tuple[int, int]) -> None:
    assert skeleton(side, side) == skeleton(side, 500) == found


def test_darts_is_a_point_of_the_space() -> None:
    space = CellSpace((3, 32, 32), 10)
    answers: dict[str, OptionValue] = {
        "resolution": "32x32",
        "activation": "relu",
        "cells": 20,
        "width": 36,
    }
    for kind, edges in (("normal", NORMAL), ("reduction", REDUCTION)):
        for place, (source, operation) in enumerate(edges):
            answers[f"{kind}.edge{source}_{2 + place // 2}.operation"] = operation
        for node in range(3, 6):
            pair = sorted(source for source, _ in edges[2 * node - 4 : 2 * node - 2])
            answers[f"{kind}.node{node}.sources"] = ",".join(map(str, pair))
    found = space.architecture(space.genome.genotype(answers))
    assert digest(lower(found)) == digest(lower(darts_v2()))


def test_there_are_as_many_cells_as_darts_counts() -> None:
    # arXiv:1806.09055, section 2.1 and appendix: pairs of places 1, 3, 6 and 10, with 7
    # operations on each of 8 edges; for both kinds of cell.
    fixed = 4 * 3 * 5 * 5  # resolutions, activations, cells, widths
    assert CellSpace((3, 32, 32), 10).genome.size == fixed * (180 * 7**8) ** 2
    assert CellSpace((3, 32, 32), 10, nodes=1).genome.size == fixed * (7**2) ** 2


def test_an_edge_that_stays_keeps_its_operation() -> None:
    space = CellSpace((1, 8, 8), 10)
    genotype = space.genome.sample_options(np.random.default_rng(0)).to_dict()
    genotype |= {"normal.node3.sources": "0,1"}
    for name in ("normal.edge0_3.operation", "normal.edge1_3.operation"):
        genotype.setdefault(name, "dil5")
    genotype.pop("normal.edge2_3.operation", None)
    parent = space.genome.genotype(genotype)
    child = next(
        found for found in space.genome.neighbours(parent) if found["normal.node3.sources"] == "1,2"
    )
    assert child["normal.edge1_3.operation"] == parent["normal.edge1_3.operation"]
    assert "normal.edge0_3.operation" not in child


@pytest.mark.parametrize("nodes", [1, 2, 4, 6])
def test_the_space_keeps_the_contract(nodes: int) -> None:
    check_space(CellSpace((1, 8, 8), 10, nodes=nodes), num_classes=10, samples=4, built=1)


@pytest.mark.parametrize("nodes", [0, 7])
def test_a_number_of_nodes_out_of_range_is_refused(nodes: int) -> None:
    with pytest.raises(ValueError, match=f"nodes must be from 1 to 6, got {nodes}"):
        CellSpace((1, 8, 8), 10, nodes=nodes)
