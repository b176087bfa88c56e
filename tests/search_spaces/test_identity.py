"""Equal digests for equal networks, different ones for different networks."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.architecture import lower
from search_spaces.arguments import Argument
from search_spaces.graph import Graph, Node, Scope
from search_spaces.identity import digest, same_network
from search_spaces.lowering import GraphBuilder, ScopeBuilder, Value
from search_spaces.primitives import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Identity,
    Join,
    MaxPool2d,
    Mean,
    Multiply,
    Primitive,
)
from search_spaces.reference import REFERENCES

# Computed by this code on the day the digest was decided; a change breaks every stored record.
B0_DIGEST = "c6654aa4f46b5f8932c2b8fc6850ff3f"

Emit = Callable[[ScopeBuilder, Value], Value]


def network(emit: Emit) -> Graph:
    builder = GraphBuilder((4, 8, 8), title="Network")
    return builder.graph(emit(builder.root, builder.image))


def flat_and_shuffled(graph: Graph, seed: int) -> Graph:
    """The same network without scopes, with other names, emitted in another order."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    order = [0]
    waiting = set(range(1, len(graph.nodes)))
    while waiting:
        ready = sorted(at for at in waiting if waiting.isdisjoint(graph.nodes[at].inputs))
        order.append(rng.choice(ready))
        waiting.remove(order[-1])
    places = {old: new for new, old in enumerate(order)}
    nodes = tuple(
        replace(
            graph.nodes[old],
            name=f"m{rng.random()}",
            scope="",
            inputs=tuple(places[source] for source in graph.nodes[old].inputs),
        )
        for old in order
    )
    return Graph(nodes, (Scope("", "Other", "Other", {}, (0,)),))


def changed(primitive: Primitive) -> list[Primitive]:
    """Copies of a primitive, each with one attribute changed, without regard to its range."""
    copies = []
    for field in fields(primitive):  # type: ignore[arg-type]
        value = getattr(primitive, field.name)
        if isinstance(value, str):
            other: object = "silu" if value != "silu" else "relu"
        else:
            other = (not value) if isinstance(value, bool) else value * 2 + 1
        copy = replace(primitive)  # type: ignore[type-var]
        object.__setattr__(copy, field.name, other)
        copies.append(copy)
    return copies


def with_node(graph: Graph, position: int, node: Node) -> Graph:
    return replace(graph, nodes=(*graph.nodes[:position], node, *graph.nodes[position + 1 :]))


@settings(max_examples=80)
@given(data=st.data())
def test_names_scopes_and_order_of_emission_do_not_matter(
    data: st.DataObject, networks: st.SearchStrategy[Graph]
) -> None:
    graph = data.draw(networks)
    other = flat_and_shuffled(graph, data.draw(st.integers(0, 99)))
    assert digest(other) == digest(graph)
    assert same_network(graph, other)


@settings(max_examples=30)
@given(data=st.data())
def test_every_attribute_matters(data: st.DataObject, networks: st.SearchStrategy[Graph]) -> None:
    graph = data.draw(networks)
    before = digest(graph)
    for position, node in enumerate(graph.nodes):
        for primitive in changed(node.primitive):
            other = with_node(graph, position, replace(node, primitive=primitive))
            assert digest(other) != before, (node, primitive)


@settings(max_examples=30)
@given(data=st.data())
def test_every_wire_matters(data: st.DataObject, networks: st.SearchStrategy[Graph]) -> None:
    graph = data.draw(networks)
    for position, node in enumerate(graph.nodes[2:], start=2):
        source = data.draw(st.integers(0, position - 1))
        other = with_node(graph, position, replace(node, inputs=(source, *node.inputs[1:])))
        if digest(other) == digest(graph):
            assert same_network(other, graph)
        else:
            assert not same_network(other, graph)


def test_random_networks_that_differ_have_different_digests(fixed_networks: list[Graph]) -> None:
    digests = [digest(graph) for graph in fixed_networks]
    for place, first in enumerate(fixed_networks):
        for other, second in enumerate(fixed_networks[:place]):
            assert (digests[place] == digests[other]) == same_network(first, second)
    assert len(set(digests)) > 50


def plain(root: ScopeBuilder, x: Value) -> Value:
    return root.conv("b", root.activation("a", x, "relu"), 6)


def with_identities(root: ScopeBuilder, x: Value) -> Value:
    x = root.add("a", Identity(), x)
    x = root.activation("b", root.add("c", Dropout(0.0), x), "relu")
    x = root.conv("d", root.add("e", Add(), x), 6)
    return root.add("g", Identity(), root.add("f", Concat(), x))


def two_branches(root: ScopeBuilder, x: Value) -> tuple[Value, Value]:
    return root.conv("one", x, 4, 3), root.activation("two", x, "relu")


def swap(join: Join, *, swapped: bool) -> Emit:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        one, two = two_branches(root, x)
        return root.add("join", join, two, one) if swapped else root.add("join", join, one, two)

    return emit


def nested_concat(root: ScopeBuilder, x: Value) -> Value:
    one, two = two_branches(root, x)
    inner = root.add("inner", Concat(), one, two)
    return root.conv("out", root.add("outer", Concat(), inner, x, inner), 3)


def flat_concat(root: ScopeBuilder, x: Value) -> Value:
    one, two = two_branches(root, x)
    return root.conv("out", root.add("outer", Concat(), one, two, x, one, two), 3)


def nested_through_identity(root: ScopeBuilder, x: Value) -> Value:
    one, two = two_branches(root, x)
    inner = root.add("same", Identity(), root.add("inner", Concat(), one, two))
    return root.conv("out", root.add("outer", Concat(), inner, x, inner), 3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (plain, with_identities),
        (swap(Add(), swapped=False), swap(Add(), swapped=True)),
        (swap(Mean(), swapped=False), swap(Mean(), swapped=True)),
        (swap(Multiply(), swapped=False), swap(Multiply(), swapped=True)),
        (nested_concat, flat_concat),
        (nested_through_identity, flat_concat),
    ],
)
def test_rewrites_give_equal_digests(first: Emit, second: Emit) -> None:
    graphs = network(first), network(second)
    assert digest(graphs[0]) == digest(graphs[1])
    assert same_network(*graphs)


def shared(root: ScopeBuilder, x: Value) -> Value:
    y = root.conv("conv", x, 4, 3)
    return root.add("join", Add(), y, y)


def twins(root: ScopeBuilder, x: Value) -> Value:
    return root.add("join", Add(), root.conv("one", x, 4, 3), root.conv("two", x, 4, 3))


def shared_later(root: ScopeBuilder, x: Value) -> Value:
    y = root.conv("conv", x, 4, 3)
    one, two = root.activation("a", y, "relu"), root.activation("b", y, "silu")
    return root.add("join", Add(), one, two)


def twins_later(root: ScopeBuilder, x: Value) -> Value:
    one = root.activation("a", root.conv("one", x, 4, 3), "relu")
    two = root.activation("b", root.conv("two", x, 4, 3), "silu")
    return root.add("join", Add(), one, two)


def chain_of(*kinds: str) -> Emit:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        for place, kind in enumerate(kinds):
            x = root.activation(f"n{place}", x, kind)
        return x

    return emit


def wired(*, crossed: bool) -> Emit:
    """Two pairs of branches; the joins pair them one way or the other."""

    def emit(root: ScopeBuilder, x: Value) -> Value:
        relu, silu = root.activation("relu", x, "relu"), root.activation("silu", x, "silu")
        a, b = root.conv("a", relu, 4), root.conv("b", silu, 4)
        one, two = (b, a) if crossed else (a, b)
        left = root.add("left", Add(), relu, one)
        right = root.add("right", Multiply(), silu, two)
        return root.add("join", Concat(), left, right)

    return emit


def twins_read_twice(*, crossed: bool) -> Emit:
    """Two equal convolutions, concatenated twice: in one order, or once in each."""

    def emit(root: ScopeBuilder, x: Value) -> Value:
        one, two = root.conv("one", x, 4, 3), root.conv("two", x, 4, 3)
        first = root.activation("a", root.add("first", Concat(), one, two), "relu")
        pair = (two, one) if crossed else (one, two)
        second = root.activation("b", root.add("second", Concat(), *pair), "silu")
        return root.add("join", Add(), first, second)

    return emit


def with_dropout(rate: float) -> Emit:
    return lambda root, x: root.conv("conv", root.add("drop", Dropout(rate), x), 4)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (shared, twins),
        (shared_later, twins_later),
        (swap(Concat(), swapped=False), swap(Concat(), swapped=True)),
        (swap(Add(), swapped=False), swap(Mean(), swapped=False)),
        (swap(Add(), swapped=False), swap(Multiply(), swapped=False)),
        (chain_of("relu", "silu"), chain_of("silu", "relu")),
        (chain_of("relu"), chain_of("relu", "relu")),
        (wired(crossed=False), wired(crossed=True)),
        (twins_read_twice(crossed=False), twins_read_twice(crossed=True)),
        (with_dropout(0.0), with_dropout(0.1)),
        (flat_concat, lambda root, x: root.conv("out", root.add("c", Concat(), x, x), 3)),
    ],
)
def test_planted_differences_give_different_digests(first: Emit, second: Emit) -> None:
    graphs = network(first), network(second)
    assert digest(graphs[0]) != digest(graphs[1])
    assert not same_network(*graphs)


def test_pools_of_one_shape_and_different_kind_differ() -> None:
    graphs = [
        network(lambda root, x, cls=cls: root.add("pool", cls(3, 1, 1), x))  # type: ignore[misc]
        for cls in (MaxPool2d, AvgPool2d)
    ]
    assert digest(graphs[0]) != digest(graphs[1])


def ladder(*rungs: int) -> Emit:
    """Many equal branches, summed in groups of the given sizes."""

    def emit(root: ScopeBuilder, x: Value) -> Value:
        groups = []
        for place, size in enumerate(rungs):
            parts = [root.conv(f"c{place}_{part}", x, 4, 3) for part in range(size)]
            groups.append(root.add(f"g{place}", Add(), *parts))
        return root.add("all", Add(), *groups)

    return emit


def test_twin_branches_are_told_apart_by_how_they_are_grouped() -> None:
    assert same_network(network(ladder(2, 4)), network(ladder(4, 2)))
    assert not same_network(network(ladder(3, 3)), network(ladder(4, 2)))
    assert digest(network(ladder(3, 3))) != digest(network(ladder(4, 2)))


def test_equal_digests_of_graphs_that_refinement_cannot_split_are_settled_by_isomorphism() -> None:
    def cycles(*lengths: int) -> Emit:
        """Equal convolutions whose neighbours in each cycle are added: alike to refinement."""

        def emit(root: ScopeBuilder, x: Value) -> Value:
            convs = [root.conv(f"c{place}", x, 4, 3) for place in range(sum(lengths))]
            sums: list[Value] = []
            start = 0
            for length in lengths:
                for step in range(length):
                    pair = convs[start + step], convs[start + (step + 1) % length]
                    sums.append(root.add(f"s{len(sums)}", Add(), *pair))
                start += length
            return root.add("all", Add(), *sums)

        return emit

    one, two = network(cycles(6)), network(cycles(3, 3))
    assert digest(one) == digest(two)  # the known limit of colour refinement
    assert not same_network(one, two)
    assert same_network(one, flat_and_shuffled(one, 7))


def test_a_named_number_and_numbers_of_another_type_are_the_same_number() -> None:
    image = network(lambda root, x: root.conv("conv", x, 6))
    conv = image.nodes[1]
    for primitive in (Conv2d(Argument(6, "width", "")), Conv2d(6, stride=True)):
        other = with_node(image, 1, replace(conv, primitive=primitive))
        assert digest(other) == digest(image)
    norms = [
        network(lambda root, x, norm=norm: root.add("norm", norm, x))  # type: ignore[misc]
        for norm in (BatchNorm2d(1, 0), BatchNorm2d(1.0, 0.0))
    ]
    assert digest(norms[0]) == digest(norms[1])


def test_the_digest_of_efficientnet_b0_never_changes() -> None:
    assert digest(lower(REFERENCES["efficientnet_b0"]())) == B0_DIGEST


def test_a_changed_activation_changes_the_digest_of_efficientnet_b0() -> None:
    graph = lower(REFERENCES["efficientnet_b0"]())
    position = next(
        at for at, node in enumerate(graph.nodes) if isinstance(node.primitive, Activation)
    )
    node = replace(graph.nodes[position], primitive=Activation("relu"))
    assert digest(with_node(graph, position, node)) != B0_DIGEST


def test_the_digest_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "from search_spaces.architecture import lower\n"
        "from search_spaces.identity import digest\n"
        "from search_spaces.reference import REFERENCES\n"
        "print(digest(lower(REFERENCES['efficientnet_b0']())))\n"
    )
    for seed in ("0", "1"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        found = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        assert found == B0_DIGEST
