"""What holds between the nodes of a graph, and the names that modules and classes may have."""

import itertools
from dataclasses import replace

import networkx as nx
import pytest
from torch import nn

from search_spaces.architecture import lower
from search_spaces.graph import (
    MAX_NODES,
    Graph,
    Node,
    Scope,
    check,
    check_argument_name,
    check_class_name,
    check_name,
    join,
    owner,
)
from search_spaces.primitives import Add, Cost, Identity, Input
from search_spaces.reference import REFERENCES

SHAPE = (2, 4, 4)
FREE = Cost(0, 0)
ROOT = Scope("", "Network", "Network", {}, (0,))


def node(name: str, *inputs: int, scope: str = "") -> Node:
    primitive = Identity() if len(inputs) < 2 else Add()
    return Node(name, scope, primitive, inputs, (SHAPE,) * len(inputs), SHAPE, FREE)


def graph(*nodes: Node, scopes: tuple[Scope, ...] = (ROOT,)) -> Graph:
    image = Node("input", "", Input(*SHAPE), (), (), SHAPE, FREE)
    return Graph((image, *nodes), scopes)


def block(path: str) -> Scope:
    return Scope(path, "Block", "Block")


def test_a_sound_graph_passes() -> None:
    check(graph(node("a", 0), node("b", 0), node("c", 1, 2)))
    check(
        graph(
            node("a.b", 0, scope="a"),
            node("a.c.d", 1, scope="a.c"),
            node("a.e", 2, scope="a"),
            scopes=(ROOT, block("a"), block("a.c")),
        )
    )


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (Graph((), (ROOT,)), "graph must start with its input"),
        (Graph((node("a", 0),), (ROOT,)), "graph must start with its input"),
        (graph(node("a", 0), node("b", 0)), "a: its output is read by nobody"),
        (graph(node("a", 0), node("a", 1)), "a: name is taken"),
        (graph(node("a.b", 0)), "a.b: name is taken, or lies outside its scope"),
        (graph(node("b", 0, scope="a"), scopes=(ROOT, block("a"))), "lies outside its scope"),
        (graph(node("a", 0), scopes=()), "must start with the scope of the whole network"),
        (graph(node("a", 0), scopes=(block("a"), ROOT)), "must start with the scope of the whole"),
        (graph(node("a", 0), scopes=(ROOT, ROOT)), "scope paths must differ"),
        (graph(node("a", 0), scopes=(ROOT, block("x.y"))), "the scope around it is not listed"),
        (graph(node("a", 0), scopes=(ROOT, replace(block("x"), kind="x"))), "class name must be"),
        (graph(node("a", 0), scopes=(ROOT, replace(block("x"), title="a b"))), "class name must"),
        (
            graph(node("a", 0), scopes=(ROOT, replace(block("x"), arguments={"self": 1}))),
            "argument must be a lower-case identifier",
        ),
        (
            graph(
                node("a.b", 0, scope="a"),
                node("c", 1),
                node("a.d", 2, scope="a"),
                scopes=(ROOT, block("a")),
            ),
            "a.d: scope 'a' was left and entered again",
        ),
        (
            graph(replace(node("a"), primitive=Input(*SHAPE)), node("b", 0, 1)),
            "a: a graph has one input",
        ),
    ],
)
def test_faults_between_nodes_are_told(faulty: Graph, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check(faulty)
    assert message in str(caught.value)


def test_a_graph_too_long_is_refused() -> None:
    nodes = tuple(node(f"n{position}", position) for position in range(MAX_NODES))
    with pytest.raises(ValueError, match=f"at most {MAX_NODES} nodes, got {MAX_NODES + 1}"):
        check(graph(*nodes))
    check(graph(*nodes[:-1]))


@pytest.mark.parametrize("name", ["conv", "norm2", "0", "12345", "expand_conv", "a" * 64])
def test_names_a_person_would_choose_are_fine(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "_a", "a-b", "a b", "a\n", "123456", "1a", "é", "class", "import", "a" * 65, "a.b"],
)
def test_names_that_are_no_identifiers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name must be a lower-case identifier") as caught:
        check_name(name)
    assert "\n" not in str(caught.value)


def test_no_submodule_can_hide_behind_an_attribute_of_torch_modules() -> None:
    attributes = {
        name
        for cls in (nn.Module, nn.Sequential)
        for name in (*dir(cls), *vars(cls()))
        if name == name.lower() and not name.startswith("_")
    }
    assert len(attributes) > 50
    for name in attributes:
        with pytest.raises(ValueError, match="must not be one that torch modules use"):
            check_name(name)


@pytest.mark.parametrize(
    "name", ["self", "super", "nn", "int", "0", "", "Width", "lambda", "a b", "*", "a=1"]
)
def test_arguments_cannot_have_names_that_a_constructor_uses(name: str) -> None:
    with pytest.raises(ValueError, match="argument must be a lower-case identifier"):
        check_argument_name(name)


@pytest.mark.parametrize("name", ["", "conv", "A b", "A\n", "None", "True", "A_B", "É", "A" * 65])
def test_classes_are_named_in_cap_words(name: str) -> None:
    with pytest.raises(ValueError, match="class name must be a free identifier in CapWords"):
        check_class_name(name)


def test_a_plain_sequence_borrows_the_arguments_of_the_block_around_it() -> None:
    scopes = {
        scope.path: scope for scope in (ROOT, block("a"), Scope("a.b", "", ""), Scope("c", "", ""))
    }
    assert owner("a", scopes) == "a"
    assert owner("a.b", scopes) == "a"
    assert owner("c", scopes) == ""
    assert join("", "a") == "a"
    assert join("a", "b") == "a.b"


def test_networkx_sees_every_read_with_its_port() -> None:
    digraph = graph(node("a", 0), node("b", 1, 1, 0)).digraph()
    assert isinstance(digraph, nx.MultiDiGraph)
    assert sorted(
        (source, target, data["port"]) for source, target, data in digraph.edges.data()
    ) == [
        (0, 1, 0),
        (0, 2, 2),
        (1, 2, 0),
        (1, 2, 1),
    ]
    assert nx.is_directed_acyclic_graph(digraph)
    assert digraph.nodes[1]["node"].name == "a"


def test_totals_are_the_sums_over_nodes() -> None:
    network = lower(REFERENCES["efficientnet_b0"]())
    assert network.params == sum(node.cost.params for node in network.nodes)
    assert network.macs == sum(node.cost.macs for node in network.nodes)
    assert network.input_shape == (3, 224, 224)
    assert network.output_shape == (1000,)
    first = graph(node("a", 0))
    assert first.activation_bytes == 2 * 4 * 2 * 4 * 4


def test_scopes_stand_before_what_they_hold() -> None:
    network = lower(REFERENCES["efficientnet_b0"]())
    paths = [scope.path for scope in network.scopes]
    assert paths[:4] == ["", "stem", "stages", "stages.0"]
    for earlier, later in itertools.combinations(paths, 2):
        assert not earlier.startswith(later + ".")
    blocks = {"ConvNormAct", "MBConv", "SqueezeExcite", "Classifier"}
    assert {scope.kind for scope in network.scopes} == {"", "EfficientNet", *blocks}
