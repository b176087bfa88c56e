"""A graph as JSON: read back as the very same network, or refused in one line with a place."""

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.architecture import lower
from search_spaces.graph import MAX_DEPTH, MAX_NODES, Graph
from search_spaces.graph_json import from_document, to_document
from search_spaces.identity import digest
from search_spaces.lowering import GraphBuilder, ScopeBuilder, Value
from search_spaces.modules import build
from search_spaces.primitives import Add, Conv2d
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source
from search_spaces.strict_json import JsonError, dumps, loads

Document = dict[str, Any]
Plant = Callable[[Document], None]


def read_back(graph: Graph) -> Graph:
    return from_document(loads(dumps(to_document(graph))))


@settings(max_examples=100)
@given(data=st.data())
def test_a_graph_is_read_back_with_its_digest_and_its_source(
    data: st.DataObject, networks: st.SearchStrategy[Graph]
) -> None:
    graph = data.draw(networks)
    again = read_back(graph)
    assert again == graph
    assert digest(again) == digest(graph)
    assert model_source(again) == model_source(graph)
    assert to_document(again) == to_document(graph)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b7"])
def test_a_reference_is_read_back(name: str) -> None:
    graph = lower(REFERENCES[name]())
    begin = time.process_time()
    again = read_back(graph)
    assert time.process_time() - begin < 5
    assert again == graph
    assert model_source(again) == model_source(graph)
    assert (again.params, again.macs) == (graph.params, graph.macs)


def test_a_block_that_is_handed_one_value_twice_is_read_back() -> None:
    def inside(scope: ScopeBuilder) -> Value:
        older, newer = scope.inputs
        width = scope.argument("out_channels", older.channels + newer.channels)
        return scope.add(
            "join", Add(), scope.conv("a", older, width), scope.conv("b", newer, width)
        )

    builder = GraphBuilder((4, 8, 8), title="Network")
    y = builder.root.conv("conv", builder.image, 6)
    graph = builder.graph(builder.root.enter("block", "Block", inside, y, y))
    assert model_source(read_back(graph)) == model_source(graph)


def test_a_read_network_can_be_built() -> None:
    graph = lower(REFERENCES["efficientnet_b0"]())
    with torch.device("meta"):
        first, second = build(graph), build(read_back(graph))
    assert list(first.state_dict()) == list(second.state_dict())


def test_numbers_that_have_a_name_are_written_as_expressions() -> None:
    nodes = {
        node["name"]: node for node in to_document(lower(REFERENCES["efficientnet_b0"]()))["nodes"]
    }
    depthwise = nodes["stages.1.0.depthwise_conv"]
    assert (depthwise["out_channels"], depthwise["padding"]) == ("inner", "kernel // 2")
    assert nodes["stages.1.0.project_norm"] == {
        "name": "stages.1.0.project_norm",
        "scope": "stages.1.0",
        "op": "batch_norm2d",
        "inputs": ["stages.1.0.project_conv"],
    }


def test_the_number_of_parameters_is_limited() -> None:
    document = to_document(lower(REFERENCES["efficientnet_b0"]()))
    assert from_document(document, max_params=5_288_548).params == 5_288_548
    with pytest.raises(JsonError, match="graph must have at most 5288547 parameters, got 5288548"):
        from_document(document, max_params=5_288_547)


# A small document, and what may be wrong with it ----------------------------------------------


def sound() -> Document:
    """Input, a block of a convolution and a sum, a sequence of two layers, a join."""

    def inside(scope: ScopeBuilder) -> Value:
        x = scope.inputs[-1]
        width = scope.argument("width", x.channels)
        hidden = scope.argument("hidden", 2 * x.channels)
        y = scope.add("wide", Conv2d(hidden, 3, padding=1, bias=True), x)
        return scope.add("sum", Add(), scope.add("narrow", Conv2d(width), y), x)

    def body(scope: ScopeBuilder) -> Value:
        return scope.activation("1", scope.norm("0", scope.inputs[-1]), "relu")

    builder = GraphBuilder((4, 8, 8), title="Network")
    root = builder.root
    x = root.enter("block", "Block", inside, builder.image)
    y = root.sequence("body", body, x)
    document = to_document(builder.graph(root.add("join", Add(), x, y)))
    plain: Document = loads(dumps(document))
    return plain


NAMES = ["input", "block.wide", "block.narrow", "block.sum", "body.0", "body.1", "join"]


def test_the_sound_document_is_sound() -> None:
    assert [node["name"] for node in sound()["nodes"]] == NAMES
    assert [scope["path"] for scope in sound()["scopes"]] == ["", "block", "body"]
    assert from_document(sound()).output_shape == (4, 8, 8)


def node(name: str, /, **values: Any) -> Plant:
    """Change fields of one node."""

    def plant(document: Document) -> None:
        document["nodes"][NAMES.index(name)].update(values)

    return plant


def scope(path: str, /, **values: Any) -> Plant:
    """Change fields of one scope."""

    def plant(document: Document) -> None:
        document["scopes"][["", "block", "body"].index(path)].update(values)

    return plant


def top(**values: Any) -> Plant:
    return lambda document: document.update(values)


def without(place: str, at: int, key: str) -> Plant:
    def plant(document: Document) -> None:
        del document[place][at][key]

    return plant


def rename(name: str, new: str) -> Plant:
    """Give a node of the network another name, everywhere."""

    def plant(document: Document) -> None:
        for entry in document["nodes"]:
            entry["inputs"] = [new if read == name else read for read in entry["inputs"]]
            entry["name"] = new if entry["name"] == name else entry["name"]

    return plant


def append_node(**values: Any) -> Plant:
    def plant(document: Document) -> None:
        entry = {"name": "more", "scope": "", "op": "identity", "inputs": ["join"], **values}
        document["nodes"].append(entry)

    return plant


def reenter(document: Document) -> None:
    document["nodes"].append(
        {"name": "block.again", "scope": "block", "op": "identity", "inputs": ["join"]}
    )


def many_nodes(document: Document) -> None:
    document["nodes"] = [document["nodes"][0]] + [
        {"name": f"n{at}", "scope": "", "op": "identity", "inputs": [f"n{at - 1}"]}
        for at in range(24_999)
    ]
    document["nodes"][1]["inputs"] = ["input"]


def deep_scopes(document: Document) -> None:
    paths = [".".join(["a"] * depth) for depth in range(1, 900)]
    document["scopes"] += [
        {"path": path, "kind": "Block", "title": "Block", "arguments": {}, "inputs": ["input"]}
        for path in paths
    ]
    document["nodes"][1:] = [
        {"name": f"{paths[-1]}.b", "scope": paths[-1], "op": "identity", "inputs": ["input"]}
    ]


def growing_arguments(document: Document) -> None:
    """Each scope squares the number of the one around it."""
    document["scopes"] = document["scopes"][:1]
    path = ""
    for depth in range(30):
        path = f"{path}.a" if path else "a"
        arguments = {"width": "width * width * width" if depth else 2**50}
        document["scopes"].append(
            {
                "path": path,
                "kind": "Block",
                "title": "Block",
                "arguments": arguments,
                "inputs": ["input"],
            }
        )
    document["nodes"][1:] = [
        {"name": f"{path}.b", "scope": path, "op": "identity", "inputs": ["input"]}
    ]


def many_scopes(document: Document) -> None:
    document["scopes"] += [
        {"path": f"s{at}", "kind": "", "title": "", "arguments": {}, "inputs": []}
        for at in range(25_000)
    ]


HOSTILE: dict[str, tuple[Plant, str]] = {
    # the document
    "another version": (top(schema_version=2), "graph.schema_version must be 1, got 2"),
    "an unknown field": (top(more=1), "graph: unknown field 'more'"),
    "nodes of another type": (top(nodes={}), "graph.nodes must be list, got dict"),
    "scopes of another type": (top(scopes=None), "graph.scopes must be list, got None"),
    "no nodes": (top(nodes=[]), "graph.nodes must be from 2"),
    "25,000 nodes": (many_nodes, f"graph.nodes must be from 2 to {MAX_NODES}, got 25000"),
    "no scopes": (
        top(scopes=[]),
        "graph.nodes[0] must be named input, in the scope of the network",
    ),
    "a node that is none": (
        lambda document: document["nodes"].insert(1, 7),
        "graph.nodes[1] must be an object, got 7",
    ),
    "a scope that is none": (
        lambda document: document["scopes"].insert(1, []),
        "graph.scopes[1] must be an object, got list",
    ),
    # the input
    "no input": (lambda document: document["nodes"].pop(0), "graph.nodes[0] must be the input"),
    "an input that reads": (node("input", inputs=["join"]), "graph.nodes[0] must be the input"),
    "an input of another name": (node("input", name="image"), "graph.nodes[0] must be named input"),
    "an image too large": (node("input", width=10**12), "graph.nodes[0]: width must be from 1"),
    "an image without a side": (
        without("nodes", 0, "height"),
        "graph.nodes[0]: field 'height' is missing",
    ),
    "two inputs": (
        append_node(op="input", channels=3, height=8, width=8, inputs=[]),
        "join: its output is read by nobody",
    ),
    # values
    "an unknown operation": (node("join", op="eval"), "graph.nodes[6].op must be one of input"),
    "an unknown attribute": (node("join", stride=2), "graph.nodes[6]: unknown field 'stride'"),
    "an attribute that breaks the line": (
        node("join", **{"a\nb" * 99: 2}),
        r"graph.nodes[6]: unknown field 'a\nba",
    ),
    "a missing attribute": (
        without("nodes", 1, "out_channels"),
        "graph.nodes[1]: field 'out_channels' is missing",
    ),
    "missing inputs": (without("nodes", 6, "inputs"), "graph.nodes[6]: field 'inputs' is missing"),
    "a missing name": (without("nodes", 6, "name"), "graph.nodes[6]: field 'name' is missing"),
    "a missing scope": (without("nodes", 6, "scope"), "graph.nodes[6]: field 'scope' is missing"),
    "true for one": (
        node("block.wide", padding=True),
        "graph.nodes[1].padding must be int, got True",
    ),
    "one for true": (node("block.wide", bias=1), "graph.nodes[1].bias must be bool, got 1"),
    "a text for true": (node("block.wide", bias="1"), "graph.nodes[1].bias must be bool, got 1"),
    "a float for a whole number": (
        node("block.wide", kernel_size=3.0),
        "graph.nodes[1].kernel_size must be int, got 3.0",
    ),
    "a width of 1e12": (
        node("block.wide", out_channels=1e12),
        "graph.nodes[1].out_channels must be int",
    ),
    "a width of 10**12": (
        node("block.wide", out_channels=10**12),
        "graph.nodes[1]: out_channels must be from 1 to 65536, got 1000000000000",
    ),
    "nothing for a number": (
        node("block.wide", stride=None),
        "graph.nodes[1].stride must be int, got None",
    ),
    "an unknown activation": (node("body.1", kind="evil"), "graph.nodes[5]: kind must be one of"),
    "an activation that is no text": (
        node("body.1", kind=["relu"]),
        "graph.nodes[5].kind must be str, got list",
    ),
    "a shape that does not fit": (
        node("block.narrow", out_channels=5),
        "graph: block.sum: add needs equal shapes, got 5x8x8, 4x8x8",
    ),
    # expressions
    "code": (
        node("block.wide", out_channels="__import__('os')"),
        "graph.nodes[1].out_channels: expression must be sums of names",
    ),
    "a tower of powers": (
        node("block.wide", out_channels="hidden**9**9"),
        "graph.nodes[1].out_channels: expression must use the scope's arguments",
    ),
    "an unknown name": (
        node("block.wide", out_channels="elsewhere"),
        "graph.nodes[1].out_channels: expression must use the scope's arguments (in_channels,",
    ),
    "a name outside its block": (node("join", op="conv2d", out_channels="width"), "(none)"),
    "a division by zero": (
        node("block.wide", out_channels="hidden // (width - 4)"),
        "graph.nodes[1].out_channels: expression must not divide by zero",
    ),
    "a number too large": (
        node("block.wide", out_channels="hidden * 99999999999999999"),
        "graph.nodes[1].out_channels: expression must yield at most 2**53",
    ),
    "numbers that grow from scope to scope": (
        growing_arguments,
        "graph.scopes (a.a).arguments.width: expression must yield at most 2**53",
    ),
    "an expression too long": (
        node("block.wide", out_channels="width + " * 99 + "1"),
        "graph.nodes[1].out_channels: expression must have at most 120 characters",
    ),
    # wiring
    "a self edge": (node("join", inputs=["join"]), "graph.nodes[6]: reads 'join', which it cannot"),
    "a forward reference": (
        node("block.wide", inputs=["block.narrow"]),
        "graph.nodes[1]: reads 'block.narrow', which it cannot see",
    ),
    "a cycle between scopes": (
        scope("block", inputs=["body.1"]),
        "graph.scopes (block): reads 'body.1', which it cannot see",
    ),
    "a value from inside a block": (
        node("join", inputs=["block.wide", "body.1"]),
        "graph.nodes[6]: reads 'block.wide', which it cannot see",
    ),
    "a value that a block was not handed": (
        node("body.0", inputs=["input"]),
        "graph.nodes[4]: reads 'input', which it cannot see",
    ),
    "an unreachable node": (
        node("block.sum", inputs=["input", "input"]),
        "graph: block.narrow: its output is read by nobody",
    ),
    "two outputs": (
        append_node(inputs=["body.1"]),
        "graph: join: its output is read by nobody",
    ),
    "no inputs": (node("join", inputs=[]), "graph: join: add needs equal shapes, got none"),
    "inputs that are no names": (
        node("join", inputs=[{"a": [["b"]]}]),
        "graph.nodes[6]: reads 'dict', which it cannot see",
    ),
    "inputs that are no list": (
        node("join", inputs="body.1"),
        "graph.nodes[6].inputs must be list",
    ),
    "an input that breaks the line": (
        node("join", inputs=["a\nb"]),
        r"graph.nodes[6]: reads 'a\nb', which it cannot see",
    ),
    # names
    "a name twice": (
        append_node(name="join", inputs=["join"]),
        "graph: join: name is taken",
    ),
    "a name outside its scope": (
        node("body.0", name="join.x"),
        "graph.nodes[4].name 'join.x' lies outside its scope",
    ),
    "a name that is a keyword": (rename("join", "class"), "graph.nodes[6].name: name must be"),
    "a name that is code": (rename("join", "a=1\nimport os"), "graph.nodes[6].name: name must be"),
    "a name in upper case": (rename("join", "Join"), "graph.nodes[6].name: name must be"),
    "an empty name": (rename("join", ""), "graph.nodes[6].name: name must be"),
    "the name of a method": (
        rename("join", "forward"),
        "graph.nodes[6].name: name must not be one",
    ),
    "a number as a name": (rename("join", "0"), "graph: the network: only the parts of a plain"),
    "numbers with a gap": (
        rename("body.1", "body.2"),
        "graph: body: only the parts of a plain sequence are numbered, from 0 on",
    ),
    # scopes
    "a scope twice": (
        lambda document: document["scopes"].append(document["scopes"][1]),
        "graph.scopes[3].path 'block' stands twice",
    ),
    "a scope without nodes": (
        lambda document: document["scopes"].append({**document["scopes"][2], "path": "empty"}),
        "graph.scopes: 'empty' holds no node",
    ),
    "25,000 scopes": (many_scopes, "graph.scopes: 's0' holds no node"),
    "a scope that is not listed": (
        lambda document: document["scopes"].pop(1),
        "graph.nodes[1]: scope 'block' is not listed",
    ),
    "a scope entered again": (reenter, "graph.nodes[7]: scope 'block' is not listed, or was left"),
    "scopes in scopes": (deep_scopes, f"graph: scopes must be at most {MAX_DEPTH} inside each"),
    "an unknown field of a scope": (
        scope("block", more=1),
        "graph.scopes[1]: unknown field 'more'",
    ),
    "a missing field of a scope": (
        without("scopes", 1, "kind"),
        "graph.scopes (block): field 'kind' is missing",
    ),
    "a class that is code": (
        scope("block", title="A(B):\n    import os\nclass C"),
        "graph.scopes (block).title: class name must be a free identifier in CapWords",
    ),
    "a class that is a keyword": (scope("block", kind="None"), "graph.scopes (block).kind: class"),
    "a network that is code": (
        scope("", title='"""\nimport os', kind='"""\nimport os'),
        "graph.scopes (the network).title: class name must be",
    ),
    "a network of another kind": (
        scope("", kind="Other"),
        "graph.scopes (the network).kind must be its title 'Network'",
    ),
    "a network with arguments": (
        scope("", arguments={"width": 3}),
        "graph.scopes (the network).arguments must be empty",
    ),
    "a network with inputs": (
        scope("", inputs=[]),
        "graph.scopes (the network).inputs must be the input alone",
    ),
    "a sequence with a title": (scope("body", title="Body"), "graph.scopes (body).title must be"),
    "a sequence with arguments": (
        scope("body", arguments={"width": 3}),
        "graph: body: a sequence has no arguments",
    ),
    "a sequence that is not a chain": (
        node("body.1", op="add", inputs=["body.0", "body.0"]),
        "graph.nodes[5]: unknown field 'kind'",
    ),
    "arguments of another type": (
        scope("block", arguments=[]),
        "graph.scopes (block).arguments must be dict",
    ),
    "an argument that is no number": (
        scope("block", arguments={"width": 1.5}),
        "graph.scopes (block).arguments.width must be a whole number",
    ),
    "an argument that is true": (
        scope("block", arguments={"width": True}),
        "graph.scopes (block).arguments.width must be a whole number",
    ),
    "an argument that is code": (
        scope("block", arguments={"a: int = print(1)": 1}),
        "graph.scopes (block).arguments: argument must be a lower-case identifier",
    ),
    "an argument called self": (
        scope("block", arguments={"self": 1}),
        "graph.scopes (block).arguments: argument must be",
    ),
    "an argument of another value": (
        scope("block", arguments={"in_channels": 5}),
        "graph: block: argument in_channels is 4 already",
    ),
    "an expression that nobody can see": (
        scope("block", arguments={"width": "in_channels"}),
        "graph.scopes (block).arguments.width: expression must use the scope's arguments (none)",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_in_one_line_with_a_place_and_at_once(name: str) -> None:
    plant, message = HOSTILE[name]
    document = sound()
    plant(document)
    text = dumps(document)
    assert text != dumps(sound())
    begin = time.process_time()
    with pytest.raises(JsonError) as caught:
        from_document(loads(text))
    assert time.process_time() - begin < 5  # seconds; a square of 25,000 steps takes minutes
    told = str(caught.value)
    assert message in told
    assert told.startswith("graph")
    assert len(told.splitlines()) == 1
    assert len(told) < 500


@pytest.mark.parametrize("document", [None, 1, "graph", [], True])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(JsonError, match=r"^graph must be an object"):
        from_document(document)


def test_random_damage_is_refused_or_harmless() -> None:
    """Each value of the document replaced by each of a set of odd ones."""
    odd: list[Any] = [None, True, -1, 0, 1, 2.5, 10**12, "", "x", "input", "0", [], ["x"], {}, "A"]
    original = sound()
    refused: list[str] = []
    for place in ("nodes", "scopes"):
        for at, entry in enumerate(original[place]):
            for key in entry:
                for value in odd:
                    document = copy.deepcopy(original)
                    document[place][at][key] = value
                    try:
                        graph = from_document(document)
                    except JsonError as error:
                        refused.append(str(error))
                    else:
                        assert from_document(to_document(graph)) == graph
                        compile(model_source(graph), "model.py", "exec")
                        with torch.device("meta"):
                            build(graph)
    assert len(refused) > 400
    assert all(len(told.splitlines()) == 1 for told in refused)


def test_reading_changes_nothing_in_the_document() -> None:
    document = sound()
    from_document(document)
    assert document == sound()
