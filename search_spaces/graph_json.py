"""A graph as strict JSON: what an exported folder keeps, independent of any search space."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast, final

from search_spaces.arguments import Argument, parse
from search_spaces.graph import (
    MAX_NODES,
    Graph,
    check_argument_name,
    check_class_name,
    check_name,
    join,
    owner,
)
from search_spaces.lowering import GraphBuilder, ScopeBuilder, Value
from search_spaces.primitives import PRIMITIVES, Input
from search_spaces.schedule import schedule
from search_spaces.strict_json import (
    JsonError,
    check_keys,
    check_version,
    fields_of,
    member,
    record,
)

SCHEMA_VERSION = 1
MAX_PARAMS = 10**9

_SCOPE_KEYS = ("path", "kind", "title", "arguments", "inputs")
_NODE_KEYS = ("name", "scope", "op", "inputs")


def to_document(graph: Graph) -> dict[str, Any]:
    """The graph as a JSON object; ``from_document`` reads it back.

    A number that the block's class takes as an argument is written as the expression that
    yields it, such as ``"hidden_channels"``; all others are plain.
    """
    nodes = graph.nodes
    scopes = {scope.path: scope for scope in graph.scopes}
    return {
        "schema_version": SCHEMA_VERSION,
        "scopes": [
            {
                "path": scope.path,
                "kind": scope.kind,
                "title": scope.title,
                "arguments": {
                    name: _written(value, owner(scope.path.rpartition(".")[0], scopes))
                    for name, value in scope.arguments.items()
                },
                "inputs": [nodes[position].name for position in scope.inputs],
            }
            for scope in graph.scopes
        ],
        "nodes": [
            {
                "name": node.name,
                "scope": node.scope,
                "op": node.primitive.op,
                **{
                    name: _written(value, owner(node.scope, scopes))
                    for name, value in fields_of(node.primitive, defaults=False).items()
                },
                "inputs": [nodes[position].name for position in node.inputs],
            }
            for node in nodes
        ],
    }


def from_document(document: Any, *, max_params: int = MAX_PARAMS) -> Graph:
    """The graph in a JSON object, every shape and cost inferred anew.

    Args:
        document: What ``to_document`` made, or an untrusted file said.
        max_params: Most parameters a network may have; checked before anything is built.

    Raises:
        JsonError: If anything is missing, unknown, of another type, out of range, or does not
            fit together.
    """
    check_version(document, SCHEMA_VERSION, "graph")
    check_keys(document, ("schema_version", "scopes", "nodes"), "graph")
    entries = member(document, "nodes", list, "graph")
    if not 2 <= len(entries) <= MAX_NODES:
        raise JsonError(f"graph.nodes must be from 2 to {MAX_NODES}, got {len(entries)}")
    graph = _Reader(entries, member(document, "scopes", list, "graph")).graph()
    if graph.params > max_params:
        raise JsonError(f"graph must have at most {max_params} parameters, got {graph.params}")
    return graph


@final
class _Reader:
    """Replays a document through the builder, which checks it as it checks any block."""

    def __init__(self, nodes: list[Any], scopes: list[Any]) -> None:
        self._nodes = nodes
        self._at = 1
        self._scopes: dict[str, Any] = {}
        for position, entry in enumerate(scopes):
            where = f"graph.scopes[{position}]"
            check_keys(entry, _SCOPE_KEYS, where)
            path = member(entry, "path", str, where)
            if path in self._scopes:
                raise JsonError(f"{where}.path {path[:80]!r} stands twice")
            self._scopes[path] = entry

    def graph(self) -> Graph:
        """The graph.

        Raises:
            JsonError: If the document does not describe one.
        """
        first = dict(self._nodes[0]) if isinstance(self._nodes[0], dict) else {}
        if first.pop("op", None) != Input.op or first.pop("inputs", None) != []:
            raise JsonError("graph.nodes[0] must be the input")
        name, scope = first.pop("name", None), first.pop("scope", None)
        if (name, scope) != ("input", "") or "" not in self._scopes:
            raise JsonError("graph.nodes[0] must be named input, in the scope of the network")
        image = record(Input, first, "graph.nodes[0]")
        title = self._network_title()
        try:
            shape = (image.channels, image.height, image.width)
            builder = GraphBuilder(shape, title=title)
            output = self._emit(builder.root, {"input": builder.image})
            graph = builder.graph(output)
            schedule(graph)
        except JsonError:
            raise
        except ValueError as error:
            raise JsonError(f"graph: {error}") from None
        if self._scopes:
            raise JsonError(f"graph.scopes: {next(iter(self._scopes))[:80]!r} holds no node")
        return graph

    def _network_title(self) -> str:
        where = "graph.scopes (the network)"
        entry = self._scopes[""]
        title = _checked(check_class_name, member(entry, "title", str, where), f"{where}.title")
        if member(entry, "kind", str, where) != title:
            raise JsonError(f"{where}.kind must be its title {title!r}")
        if member(entry, "arguments", dict, where):
            raise JsonError(f"{where}.arguments must be empty")
        if member(entry, "inputs", list, where) != ["input"]:
            raise JsonError(f"{where}.inputs must be the input alone")
        return title

    def _emit(self, scope: ScopeBuilder, values: dict[str, Value]) -> Value:
        """Emit the nodes of one scope, from where the last call stopped."""
        del self._scopes[scope.path]
        output = None
        while self._at < len(self._nodes):
            where = f"graph.nodes[{self._at}]"
            entry = self._nodes[self._at]
            path = member(entry, "scope", str, where)
            if path == scope.path:
                output = self._node(entry, scope, values, where)
            elif path.startswith(scope.path + "." if scope.path else ""):
                output = self._scope(path, scope, values, where)
            else:
                break
            values[self._nodes[self._at - 1]["name"]] = output
        if output is None:
            raise JsonError(f"graph.scopes: {scope.path[:80]!r} holds no node")
        return output

    def _node(
        self, entry: Any, scope: ScopeBuilder, values: Mapping[str, Value], where: str
    ) -> Value:
        name, op = member(entry, "name", str, where), member(entry, "op", str, where)
        if op not in PRIMITIVES:
            raise JsonError(f"{where}.op must be one of {', '.join(PRIMITIVES)}, got {op[:80]!r}")
        local = name.rpartition(".")[2]
        if join(scope.path, local) != name:
            raise JsonError(f"{where}.name {name[:80]!r} lies outside its scope")
        _checked(check_name, local, f"{where}.name")
        cls = PRIMITIVES[op]
        fields = {field.name: field.type for field in dataclasses.fields(cast("Any", cls))}
        check_keys(entry, (*_NODE_KEYS, *fields), where)
        attributes = {
            key: value if fields[key] is str else _number(value, scope, f"{where}.{key}")
            for key, value in entry.items()
            if key not in _NODE_KEYS
        }
        primitive = record(cls, attributes, where)
        output = scope.add(local, primitive, *_values(entry, values, where))
        self._at += 1
        return output

    def _scope(
        self, path: str, outer: ScopeBuilder, values: Mapping[str, Value], where: str
    ) -> Value:
        name = path[len(outer.path) + 1 if outer.path else 0 :].split(".", maxsplit=1)[0]
        inside = join(outer.path, name)
        if inside not in self._scopes:
            raise JsonError(f"{where}: scope {inside[:80]!r} is not listed, or was left before")
        entry = self._scopes[inside]
        _checked(check_name, name, f"{where}.scope")
        where = f"graph.scopes ({inside[:80]})"
        kind, title = member(entry, "kind", str, where), member(entry, "title", str, where)
        if kind:
            _checked(check_class_name, kind, f"{where}.kind")
            _checked(check_class_name, title, f"{where}.title")
        elif title:
            raise JsonError(f"{where}.title must be empty, as kind is")
        arguments = member(entry, "arguments", dict, where)
        inputs = _values(entry, values, where)

        def emit(inner: ScopeBuilder) -> Value:
            for key, value in arguments.items():
                _checked(check_argument_name, key, f"{where}.arguments")
                number = _number(value, outer, f"{where}.arguments.{key}")
                if not isinstance(number, int) or isinstance(number, bool):
                    raise JsonError(f"{where}.arguments.{key} must be a whole number")
                inner.argument(key, number)
            if kind:
                inner.title(title)
            names = entry["inputs"]
            return self._emit(inner, dict(zip(names, inner.inputs, strict=True)))

        return outer.enter(name, kind, emit, *inputs)


def _checked(check: Callable[[str], str], name: str, where: str) -> str:
    try:
        return check(name)
    except ValueError as error:
        raise JsonError(f"{where}: {error}") from None


def _values(entry: Any, values: Mapping[str, Value], where: str) -> tuple[Value, ...]:
    names = member(entry, "inputs", list, where)
    for name in names:
        if not isinstance(name, str) or name not in values:
            text = name if isinstance(name, str) else type(name).__name__
            raise JsonError(f"{where}: reads {text[:80]!r}, which it cannot see")
    return tuple(values[name] for name in names)


def _number(value: Any, scope: ScopeBuilder, where: str) -> Any:
    """A number as one scope writes it: plain, or an expression of its arguments."""
    if not isinstance(value, str):
        return value
    try:
        return parse(value, scope.visible, scope.owner)
    except ValueError as error:
        raise JsonError(f"{where}: {error}") from None


def _written(value: Any, path: str) -> Any:
    if isinstance(value, Argument):
        return value.expression if value.scope == path else int(value)
    return value
