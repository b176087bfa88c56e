"""When two graphs are one network: canonical form, digest and isomorphism.

The canonical form forgets names and scopes and applies three rewrites: identities are folded
away (also dropout at rate 0 and joins of one input), the inputs of commutative operators are
unordered, and a concatenation inside a concatenation is opened.

Node colours are then refined from inputs and consumers, with ports, until they no longer split
the nodes further; the digest is that of the sorted colours. Isomorphic forms have equal digests.
Where all colours differ, the colours spell out the graph, so that equal digests mean isomorphic
forms; where they do not (twin branches), ``same_network`` compares the graphs themselves.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, cast

import networkx as nx

from search_spaces.graph import Graph
from search_spaces.primitives import JOINS, Concat, Dropout, Identity, Primitive, Zeros
from search_spaces.strict_json import dumps

_DIGEST_BYTES = 16
_NO_DROPOUT = Dropout(0.0)
_FOLDED_ALONE = JOINS - {Zeros}  # of one input they are the input


@dataclass(frozen=True, slots=True)
class _Form:
    """The canonical form: per node its label, what it reads and whether order matters."""

    labels: tuple[bytes, ...]
    inputs: tuple[tuple[int, ...], ...]
    commutative: tuple[bool, ...]


def digest(graph: Graph) -> str:
    """Canonical hash of the network: 32 hexadecimal digits, stable across versions and machines.

    Networks that differ in a width, a wiring or whether a weight is shared have different
    digests; networks that differ in names, scopes or order of emission have the same.
    """
    colours = _refine(_form(graph))
    return _hash(*sorted(colours)).hex()


def same_network(first: Graph, second: Graph) -> bool:
    """Whether the two canonical forms are isomorphic: certain, where equal digests may collide."""
    forms = _form(first), _form(second)
    colours = tuple(_refine(form) for form in forms)
    if Counter(colours[0]) != Counter(colours[1]):
        return False
    if len(set(colours[0])) == len(colours[0]):
        return True  # all differ, and so spell out the graph
    digraphs = [_digraph(form, colour) for form, colour in zip(forms, colours, strict=True)]
    return bool(
        nx.is_isomorphic(
            *digraphs,
            node_match=lambda one, other: one["colour"] == other["colour"],
            edge_match=lambda one, other: one["ports"] == other["ports"],
        )
    )


def _form(graph: Graph) -> _Form:
    """Fold identities, open nested concatenations, drop names."""
    stands_for: list[int] = []  # position of each node -> position of the one that yields it
    reads: dict[int, tuple[int, ...]] = {}  # of the nodes that stay
    for position, node in enumerate(graph.nodes):
        sources = tuple([stands_for[source] for source in node.inputs])
        if _is_identity(node.primitive, len(sources)):
            stands_for.append(sources[0])
            continue
        if type(node.primitive) is Concat:
            sources = _opened(sources, graph, reads)
        stands_for.append(position)
        reads[position] = sources
    needed = {stands_for[-1]}  # opening a concatenation may leave the inner one unread
    for position in reversed(reads):
        if position in needed:
            needed.update(reads[position])
    places = {position: place for place, position in enumerate(sorted(needed))}
    primitives = [graph.nodes[position].primitive for position in places]
    return _Form(
        labels=tuple([_label(primitive) for primitive in primitives]),
        inputs=tuple([tuple([places[read] for read in reads[at]]) for at in places]),
        commutative=tuple([primitive.commutative for primitive in primitives]),
    )


def _opened(
    sources: tuple[int, ...], graph: Graph, reads: Mapping[int, tuple[int, ...]]
) -> tuple[int, ...]:
    """What a concatenation reads, with the inputs of inner concatenations in their place."""
    parts: list[int] = []
    for source in sources:
        inner = type(graph.nodes[source].primitive) is Concat
        parts += reads[source] if inner else (source,)
    return tuple(parts)


def _is_identity(primitive: Primitive, reads: int) -> bool:
    kind = type(primitive)  # primitives are final; isinstance is slow on abstract classes
    return kind is Identity or primitive == _NO_DROPOUT or (reads == 1 and kind in _FOLDED_ALONE)


def _refine(form: _Form) -> list[bytes]:
    """Colour of every node, refined forwards and backwards until nothing splits any more."""
    colours = list(form.labels)
    readers: list[list[tuple[int, bytes]]] = [[] for _ in colours]
    for position, reads in enumerate(form.inputs):
        for port, read in enumerate(reads):
            label = (0 if form.commutative[position] else port).to_bytes(4, "big")
            readers[read].append((position, label))
    classes = 0
    while True:
        for position, reads in enumerate(form.inputs):
            parts = [colours[read] for read in reads]
            if form.commutative[position]:
                parts.sort()
            colours[position] = _hash(b"<", colours[position], *parts)
        found = len(set(colours))
        if found in {len(colours), classes}:
            return colours
        for position in range(len(colours) - 1, -1, -1):
            parts = sorted(port + colours[reader] for reader, port in readers[position])
            colours[position] = _hash(b">", colours[position], *parts)
        classes = found


def _digraph(form: _Form, colours: Sequence[bytes]) -> "nx.DiGraph[int]":
    digraph: nx.DiGraph[int] = nx.DiGraph()
    for position, reads in enumerate(form.inputs):
        digraph.add_node(position, colour=colours[position])
        ports: dict[int, list[int]] = {}
        for port, read in enumerate(reads):
            ports.setdefault(read, []).append(0 if form.commutative[position] else port)
        for read, numbers in ports.items():
            digraph.add_edge(read, position, ports=tuple(numbers))
    return digraph


@lru_cache(maxsize=4096)
def _label(primitive: Primitive) -> bytes:
    # In the type of its field, so that 0 and 0.0, or a named and a plain number, are one value.
    attributes = {
        field.name: cast("type", field.type)(getattr(primitive, field.name))
        for field in dataclasses.fields(cast("Any", primitive))
    }
    return _hash(f"{primitive.op} {dumps(attributes)}".encode())


def _hash(*parts: bytes) -> bytes:
    """Digest of parts whose lengths leave no doubt where one ends."""
    return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()
