"""A network as pure data: primitives in topological order, inside named scopes."""

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import networkx as nx

from search_spaces.primitives import Cost, Input, Primitive, Shape

MAX_NODES = 20_000
MAX_DEPTH = 32  # of scopes inside each other
MAX_INPUTS = 1_000  # of one node; Python cannot compile sums much longer
BYTES_PER_VALUE = 4  # float32

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}|[0-9]{1,5}")
_CLASS = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
_ARGUMENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
# What torch.nn.Module and Sequential call their own; a submodule cannot have such a name.
_MODULE_ATTRIBUTE = re.compile(
    "add_module|append|apply|bfloat16|buffers|call_super_init|children|compile|cpu|cuda|double|"
    "dump_patches|eval|extend|extra_repr|float|forward|get_buffer|get_extra_state|get_parameter|"
    "get_submodule|half|insert|ipu|load_state_dict|modules|mtia|named_.*|parameters|pop|"
    "register_.*|requires_grad_|set_extra_state|set_submodule|share_memory|state_dict|to|to_empty|"
    "train|training|type|xpu|zero_grad"
)
_IMPORTED = frozenset({"Tensor", "OrderedDict"})
# Names that the constructor of a generated class uses itself.
_CONSTRUCTOR_NAMES = frozenset({"self", "super", "nn", "int"})


@dataclass(frozen=True, slots=True)
class Node:
    """One primitive at one place.

    Attributes:
        name: Path of its module, such as ``stages.1.0.expand_conv``.
        scope: Path of the scope it was added in; a prefix of ``name``.
        primitive: What it computes.
        inputs: Positions in ``Graph.nodes`` of what it reads, in order.
        input_shapes: Their shapes; channel counts carry the names they have in ``scope``.
        shape: Shape of its output, batch left out.
        cost: Parameters and multiply-accumulates for one image.
    """

    name: str
    scope: str
    primitive: Primitive
    inputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    cost: Cost


@dataclass(frozen=True, slots=True)
class Scope:
    """A named part of the network, printed as a class or, without ``kind``, as a sequence.

    Attributes:
        path: Path of its module; empty for the whole network.
        kind: Class of the block spec that emitted it; empty for a plain sequence.
        title: Name of its class in generated source; empty for a plain sequence.
        arguments: What it was called with, by name: ints, or arguments of the scope around it.
        inputs: Positions of the nodes outside that it was handed, in order.
    """

    path: str
    kind: str
    title: str
    arguments: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole network: nodes in topological order, the first is the input, the last the output.

    Made by ``lowering.lower`` or read by ``graph_json``; both check every node. Equality of
    *networks* is ``identity.digest``, not ``==``, which also compares names.
    """

    nodes: tuple[Node, ...]
    scopes: tuple[Scope, ...]

    @property
    def input_shape(self) -> Shape:
        """``(channels, height, width)`` of one image."""
        return self.nodes[0].shape

    @property
    def output_shape(self) -> Shape:
        """Shape of what the network returns for one image."""
        return self.nodes[-1].shape

    @property
    def params(self) -> int:
        """Weights and biases, batch-norm scales and shifts included."""
        return sum(node.cost.params for node in self.nodes)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one image."""
        return sum(node.cost.macs for node in self.nodes)

    @property
    def activation_bytes(self) -> int:
        """Bytes of every node's output for one float32 image: what training keeps at most."""
        return BYTES_PER_VALUE * sum(_values(node.shape) for node in self.nodes)

    @property
    def largest_map_bytes(self) -> int:
        """Bytes of the largest output of a node for one float32 image."""
        return BYTES_PER_VALUE * max(_values(node.shape) for node in self.nodes)

    def digraph(self) -> "nx.MultiDiGraph[int]":
        """The graph for networkx: positions as nodes (``node=``), reads as edges (``port=``)."""
        digraph: nx.MultiDiGraph[int] = nx.MultiDiGraph()
        for position, node in enumerate(self.nodes):
            digraph.add_node(position, node=node)
            digraph.add_edges_from(
                (source, position, {"port": port}) for port, source in enumerate(node.inputs)
            )
        return digraph


def check(graph: Graph) -> None:
    """Check what holds between nodes; each node alone is checked as it is made.

    Raises:
        ValueError: If a node is read by nobody, a name is taken twice, a scope is left and
            entered again, or a name is not a plain identifier.
    """
    nodes = graph.nodes
    if not nodes or type(nodes[0].primitive) is not Input:
        raise ValueError("graph must start with its input")
    if len(nodes) > MAX_NODES:
        raise ValueError(f"graph must have at most {MAX_NODES} nodes, got {len(nodes)}")
    _check_names(graph)
    read = {source for node in nodes for source in node.inputs}
    for position, node in enumerate(nodes):
        if position and type(node.primitive) is Input:
            raise ValueError(f"{node.name}: a graph has one input")
        if position != len(nodes) - 1 and position not in read:
            raise ValueError(f"{node.name}: its output is read by nobody")
    _check_scopes_entered_once(nodes)


def _check_scopes_entered_once(nodes: Sequence[Node]) -> None:
    closed: set[str] = set()
    inside: list[str] = [""]
    for node in nodes[1:]:
        if node.scope == inside[-1]:
            continue
        while not _within(node.scope, inside[-1]):
            closed.add(inside.pop())
        for path in _ancestors(node.scope)[len(inside) - 1 :]:
            if path in closed:
                raise ValueError(f"{node.name}: scope {path!r} was left and entered again")
            inside.append(path)


@lru_cache(maxsize=4096)
def check_name(name: str) -> str:
    """``name`` if it can be the last part of a module path.

    Raises:
        ValueError: If it is not lower-case letters, digits and underscores, or a plain number;
            or if torch modules have an attribute of that name.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"name must be a lower-case identifier or a number, got {name[:80]!r}")
    if _MODULE_ATTRIBUTE.fullmatch(name):
        raise ValueError(f"name must not be one that torch modules use themselves, got {name!r}")
    return name


@lru_cache(maxsize=4096)
def check_argument_name(name: str) -> str:
    """``name`` if it can be a parameter of a class in generated source.

    Raises:
        ValueError: If it is not a lower-case identifier, or one that every constructor uses.
    """
    if not _ARGUMENT.fullmatch(name) or keyword.iskeyword(name) or name in _CONSTRUCTOR_NAMES:
        raise ValueError(f"argument must be a lower-case identifier, got {name[:80]!r}")
    return name


def check_class_name(name: str) -> str:
    """``name`` if it can be the name of a class in generated source.

    Raises:
        ValueError: If it is not an identifier in CapWords, or one that generated source imports.
    """
    if not _CLASS.fullmatch(name) or keyword.iskeyword(name) or name in _IMPORTED:
        raise ValueError(f"class name must be a free identifier in CapWords, got {name[:80]!r}")
    return name


def owner(path: str, scopes: Mapping[str, Scope]) -> str:
    """Path of the scope whose arguments are valid inside the scope ``path``.

    That is the scope itself, or around a plain sequence the nearest scope with a kind.
    """
    while path and not scopes[path].kind:
        path = path.rpartition(".")[0]
    return path


def join(path: str, name: str) -> str:
    """The path of ``name`` inside the scope ``path``."""
    return f"{path}.{name}" if path else name


def _check_names(graph: Graph) -> None:
    paths = [scope.path for scope in graph.scopes]
    if not paths or paths[0] != "":
        raise ValueError("graph must start with the scope of the whole network")
    taken = set(paths)
    if len(taken) != len(paths):
        raise ValueError("scope paths must differ from each other")
    for scope in graph.scopes[1:]:
        _check_scope(scope, taken)
    for node in graph.nodes:
        name = node.name.rpartition(".")[2]
        check_name(name)
        if node.name in taken or join(node.scope, name) != node.name:
            raise ValueError(f"{node.name}: name is taken, or lies outside its scope")
        taken.add(node.name)


def _check_scope(scope: Scope, paths: set[str]) -> None:
    parent, _, name = scope.path.rpartition(".")
    check_name(name)
    if parent not in paths:
        raise ValueError(f"{scope.path}: the scope around it is not listed")
    if scope.kind:
        check_class_name(scope.kind)
        check_class_name(scope.title)
    for argument in scope.arguments:
        check_argument_name(argument)


def _ancestors(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _within(path: str, scope: str) -> bool:
    return not scope or path == scope or path.startswith(scope + ".")


def _values(shape: Shape) -> int:
    product = 1
    for side in shape:
        product *= int(side)
    return product
