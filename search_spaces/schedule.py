"""The order of calls in each scope: what the module runs and what the source prints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from search_spaces.graph import Graph, Node, Scope
from search_spaces.primitives import Join


@dataclass(frozen=True, slots=True)
class Call:
    """One step of a scope: a primitive or a whole inner scope.

    Values are named by the position of their node in ``Graph.nodes``, everywhere.

    Attributes:
        name: Name of the submodule, last part of its path.
        target: The node, or the body of the inner scope.
        inputs: What it reads, in order.
        output: What it puts out.
    """

    name: str
    target: "Node | Body"
    inputs: tuple[int, ...]
    output: int


@dataclass(slots=True)
class Body:
    """What one scope does.

    Attributes:
        scope: The scope itself.
        calls: Its steps in order.
        inputs: Values from outside that it reads, in the order in which it was handed them.
        output: The one value that is read outside.
    """

    scope: Scope
    calls: list[Call] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    output: int = -1

    @property
    def is_chain(self) -> bool:
        """Whether each step is a module that reads only the step before it."""
        previous = self.inputs
        if len(previous) != 1:
            return False
        for call in self.calls:
            if isinstance(call.target, Node) and isinstance(call.target.primitive, Join):
                return False
            if call.inputs != previous:
                return False
            previous = (call.output,)
        return previous == (self.output,)


def schedule(graph: Graph) -> Body:
    """The body of the whole network.

    Raises:
        ValueError: If a scope puts out more than one value, reads a value it was not handed, or
            is a plain sequence but not a chain; or if parts are numbered that are not those of
            a sequence.
    """
    last_read = {source: at for at, node in enumerate(graph.nodes) for source in node.inputs}
    last_read[len(graph.nodes) - 1] = len(graph.nodes)
    scopes = {scope.path: scope for scope in graph.scopes}
    root = Body(scopes[""], inputs=(0,))
    stack: list[tuple[Body, int]] = [(root, 1)]
    for position, node in enumerate(graph.nodes[1:], start=1):
        _leave(stack, node.scope, graph, last_read, position)
        _enter(stack, node.scope, scopes, position)
        name = node.name.rpartition(".")[2]
        stack[-1][0].calls.append(Call(name, node, node.inputs, position))
    _leave(stack, "", graph, last_read, len(graph.nodes))
    root.output = len(graph.nodes) - 1
    _check_numbers(root)
    return root


def _enter(
    stack: list[tuple[Body, int]], path: str, scopes: Mapping[str, Scope], position: int
) -> None:
    while stack[-1][0].scope.path != path:
        inside = stack[-1][0].scope.path
        rest = path[len(inside) + 1 if inside else 0 :]
        inner = f"{inside}.{rest.split('.')[0]}" if inside else rest.split(".")[0]
        stack.append((Body(scopes[inner]), position))


def _leave(
    stack: list[tuple[Body, int]],
    path: str,
    graph: Graph,
    last_read: Mapping[int, int],
    end: int,
) -> None:
    while not (path + ".").startswith(stack[-1][0].scope.path + ".") and stack[-1][0].scope.path:
        body, start = stack.pop()
        _finish(body, graph, last_read, start, end)
        name = body.scope.path.rpartition(".")[2]
        stack[-1][0].calls.append(Call(name, body, body.inputs, body.output))


def _finish(body: Body, graph: Graph, last_read: Mapping[int, int], start: int, end: int) -> None:
    path = body.scope.path
    read = {source for node in graph.nodes[start:end] for source in node.inputs if source < start}
    body.inputs = tuple(dict.fromkeys(value for value in body.scope.inputs if value in read))
    foreign = read - set(body.inputs)
    if foreign:
        outside = graph.nodes[min(foreign)].name
        raise ValueError(f"{path}: reads {outside}, which it was not handed")
    outputs = [value for value in range(start, end) if last_read[value] >= end]
    if len(outputs) != 1:
        raise ValueError(f"{path}: must put out one value, got {len(outputs)}")
    body.output = outputs[0]
    _check_numbers(body)
    if not body.scope.kind and not body.is_chain:
        raise ValueError(f"{path}: a sequence must be a chain; make it a block")


def _check_numbers(body: Body) -> None:
    names = [call.name for call in body.calls]
    if any(name.isdigit() for name in names) and (
        body.scope.kind or names != [str(place) for place in range(len(names))]
    ):
        where = body.scope.path or "the network"
        raise ValueError(f"{where}: only the parts of a plain sequence are numbered, from 0 on")
