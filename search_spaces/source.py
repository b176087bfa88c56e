"""From a graph to Python source that imports torch alone: one class per distinct block.

Blocks of one kind and wiring share a class whose parameters are the arguments that the block
named; one that is the same number in all of several blocks is a constant of the class. A chain of
layers that occurs once stands in place as ``nn.Sequential``, a block of one layer without weights
as that layer. The calls and names are those of ``schedule``, so that state dicts of the source, of
``modules.build`` and of checkpoints agree. Output is formatted as ``ruff format`` and Black format
it (where names have at most 40 characters).
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from search_spaces.arguments import Argument
from search_spaces.blocks import BLOCKS
from search_spaces.graph import Graph, Node, Scope, owner
from search_spaces.layout import LINE_LENGTH, Expression, function_head
from search_spaces.primitives import (
    Concat,
    Conv2d,
    Join,
    Layer,
    Linear,
    Mean,
    Multiply,
    Primitive,
    Zeros,
)
from search_spaces.schedule import Body, Call, schedule

_VARIABLES = ("x", "y", "z", "u", "v", "w")
_DEFAULTS = {"stride": "1", "dilation": "1", "groups": "1"}  # as torch.nn.Conv2d has them
_LONE_NAME = re.compile(r"(?<![\w.])[a-z]\w*\b(?![=.])")  # neither an attribute nor a keyword


def model_source(graph: Graph) -> str:
    """The text of a module that defines the network; its last class is the network itself.

    Needs Python 3.9 and torch 2.1 or later to run. Only numbers, names checked by
    ``graph.check`` and our own docstrings enter the text.
    """
    return _Source(graph).text()


@dataclass(slots=True)
class _Class:
    """One class of the generated module."""

    name: str
    parameters: list[str]
    text: list[str] = field(default_factory=list)


@final
class _Source:
    """Renders one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._scopes = {scope.path: scope for scope in graph.scopes}
        self._root = schedule(graph)
        self._wirings: dict[str, tuple[object, ...]] = {}
        self._constants: Mapping[str, frozenset[str]] = {}  # by path of the scope
        self._wiring(self._root)
        shared = Counter(
            self._wirings[scope.path] for scope in graph.scopes if scope.kind and scope.path
        )
        self._once = {path for path, wiring in self._wirings.items() if shared[wiring] == 1}
        self._constants = self._find_constants()
        self._inlined: set[str] = set()
        self._classes: dict[tuple[object, ...], _Class] = {}

    def text(self) -> str:
        """The whole module."""
        self._render_class(self._root)
        body = "\n\n\n".join("\n".join(cls.text) for cls in self._classes.values())
        imports = "from torch import Tensor, nn\n"
        if "torch." in body:
            imports = "import torch\n" + imports
        if "OrderedDict(" in body:
            imports = "from collections import OrderedDict\n\n" + imports
        shape = "x".join(str(int(side)) for side in self._graph.input_shape)
        title = self._root.scope.title
        summary = f"{title}: {self._graph.params:,} parameters, {self._graph.macs:,} MACs"
        return f'"""{summary} for one {shape} image."""\n\n{imports}\n\n{body}\n'

    # What is shared -------------------------------------------------------------------------

    def _wiring(self, body: Body) -> tuple[object, ...]:
        """All that two blocks must have in common to share a class."""
        path = owner(body.scope.path, self._scopes)
        places = {value: -1 - place for place, value in enumerate(body.inputs)}
        parts: list[object] = [body.scope.title]
        for place, call in enumerate(body.calls):
            places[call.output] = place
            reads = tuple(places[value] for value in call.inputs)
            if isinstance(call.target, Body):
                around = {
                    name: self._number(value, path)
                    for name, value in call.target.scope.arguments.items()
                }
                parts.append((call.name, self._wiring(call.target), tuple(around.items()), reads))
            else:
                parts.append((call.name, self._layer_text(call.target, path), reads))
        self._wirings[body.scope.path] = tuple(parts)
        return tuple(parts)

    def _layer_text(self, node: Node, path: str) -> str:
        layer = node.primitive.layer(node.input_shapes)
        return node.primitive.op if layer is None else self._layer(layer, path).flat()

    def _find_constants(self) -> dict[str, frozenset[str]]:
        """Arguments of each scope that are one number in all of several equal blocks."""
        groups: dict[tuple[object, ...], list[Scope]] = {}
        for scope in self._graph.scopes:
            if scope.kind and scope.path:
                groups.setdefault(self._wirings[scope.path], []).append(scope)
        return {
            scope.path: frozenset(
                name
                for name, value in scope.arguments.items()
                if not _positional(name)
                and len(group) > 1
                and all(other.arguments[name] == value for other in group)
            )
            for group in groups.values()
            for scope in group
        }

    # Numbers, names and layers --------------------------------------------------------------

    def _number(self, value: object, path: str) -> str:
        """A number as the class of the scope ``path`` writes it."""
        while isinstance(value, Argument) and value.scope != path:
            if value.scope not in self._inlined:
                value = int(value)
                break
            arguments = self._scopes[value.scope].arguments
            value = arguments.get(value.expression, int(value))
        if isinstance(value, Argument):
            constants = self._constants.get(path, frozenset())
            if constants.issuperset(_LONE_NAME.findall(value.expression)):
                return repr(int(value))
            return value.expression
        if isinstance(value, tuple):
            return f"({', '.join(self._number(part, path) for part in value)})"
        return repr(int(value) if type(value) is Argument else value)

    def _layer(self, layer: Layer, path: str) -> Expression:
        arguments = [Expression(self._number(value, path)) for value in layer.positional]
        shown = {name: self._number(value, path) for name, value in layer.keywords.items()}
        for name, default in layer.defaults.items():
            if shown[name] == repr(default):
                del shown[name]
        if layer.cls == "Conv2d" and {"stride", "padding"} <= set(shown):
            # As people write it: Conv2d(in, out, kernel, stride, padding, ...).
            arguments += [Expression(shown.pop("stride")), Expression(shown.pop("padding"))]
        arguments += [Expression(text, keyword=name) for name, text in shown.items()]
        return Expression(f"nn.{layer.cls}", tuple(arguments))

    def _module(self, call: Call, path: str) -> Expression | None:
        """What ``self.<name>`` is set to, None for an operator."""
        if isinstance(call.target, Node):
            layer = call.target.primitive.layer(call.target.input_shapes)
            return None if layer is None else self._layer(layer, path)
        body = call.target
        scope = body.scope
        layer = _only_layer(body)
        if layer is not None:
            self._inlined.add(scope.path)
            return self._layer(layer, path)
        if not scope.kind or (scope.path in self._once and body.is_chain):
            self._inlined.add(scope.path)
            return self._sequence(body, path)
        cls = self._render_class(body)
        shown = {name: self._number(scope.arguments[name], path) for name in cls.parameters}
        arguments = [
            Expression(number, keyword="" if _positional(name) else name)
            for name, number in shown.items()
            if number != _DEFAULTS.get(name)
        ]
        return Expression(cls.name, tuple(arguments))

    def _sequence(self, body: Body, path: str) -> Expression:
        parts = [(call.name, self._module(call, path)) for call in body.calls]
        numbered = body.calls[0].name.isdigit()
        expressions = tuple(
            Expression(part.function, part.arguments, keyword="" if numbered else name)
            for name, part in parts
            if part is not None
        )
        if numbered:
            return Expression("nn.Sequential", expressions)
        return Expression("nn.Sequential", (Expression("OrderedDict", expressions),))

    # Classes --------------------------------------------------------------------------------

    def _render_class(self, body: Body) -> _Class:
        wiring = self._wirings[body.scope.path]
        if wiring in self._classes:
            return self._classes[wiring]
        path = body.scope.path
        modules = [
            (call.name, module)
            for call in body.calls
            if (module := self._module(call, path)) is not None
        ]
        setup = [
            line for name, module in modules for line in module.lines(8, before=f"self.{name} = ")
        ]
        parameters = _parameters(body.scope, setup)
        name = self._free_name(body.scope.title) if path else body.scope.title
        cls = _Class(name, parameters)
        signature = "".join(f", {_parameter(name)}" for name in parameters)
        inputs = _inputs(body)
        cls.text = [
            f"class {cls.name}(nn.Module):",
            *_docstring(body.scope),
            *function_head("__init__", f"self{signature}", "None"),
            "        super().__init__()",
            *setup,
            "",
            *function_head(
                "forward", ", ".join(["self", *(f"{x}: Tensor" for x in inputs)]), "Tensor"
            ),
            *_forward(body, inputs),
        ]
        self._classes[wiring] = cls
        return cls

    def _free_name(self, title: str) -> str:
        """``title``, or with a number if that is taken; the network keeps its own name."""
        taken = {cls.name for cls in self._classes.values()} | {self._root.scope.title}
        names = (title if count == 1 else f"{title}{count}" for count in range(1, 2**31))
        return next(name for name in names if name not in taken)


def _only_layer(body: Body) -> Layer | None:
    """The layer, if a block is nothing else and has no weights that would be named otherwise."""
    if len(body.calls) != 1 or isinstance(body.calls[0].target, Body) or not body.scope.kind:
        return None
    node = body.calls[0].target
    return node.primitive.layer(node.input_shapes) if node.cost.params == 0 else None


def _positional(name: str) -> bool:
    return name.endswith("channels")


def _parameters(scope: Scope, setup: Sequence[str]) -> list[str]:
    """Arguments that the class uses: channel counts, others, those that have a default.

    Each group is in the block's order.
    """
    used = set(_LONE_NAME.findall("\n".join(setup)))
    names = [name for name in scope.arguments if name in used]
    return sorted(names, key=lambda name: (name in _DEFAULTS, not _positional(name)))


def _parameter(name: str) -> str:
    return f"{name}: int = {_DEFAULTS[name]}" if name in _DEFAULTS else f"{name}: int"


def _docstring(scope: Scope) -> list[str]:
    spec = BLOCKS.get(scope.kind)
    if spec is None or spec.__doc__ is None:
        return []
    line = spec.__doc__.strip().splitlines()[0]
    if scope.title != scope.kind:
        line = spec.variants.get(scope.title, "")
    return [f'    """{line}"""', ""] if line else []


def _inputs(body: Body) -> list[str]:
    return list(itertools.islice(_variables(), len(body.inputs)))


def _variables() -> Iterator[str]:
    """Names for the values of ``forward``, as many as it takes."""
    return itertools.chain(_VARIABLES, (f"x{number}" for number in itertools.count(1)))


def _forward(body: Body, inputs: Sequence[str]) -> list[str]:
    """Statements of ``forward``: short runs of calls nested, each heavy layer on its own line."""
    last_read = {value: at for at, call in enumerate(body.calls) for value in call.inputs}
    times_read = Counter(value for call in body.calls for value in call.inputs)
    held = dict(zip(body.inputs, inputs, strict=True))  # value -> expression
    variables = dict(held)  # value -> variable, for those that have one
    bases: dict[int, set[int]] = {value: {value} for value in held}
    heavies: set[int] = set()  # values whose expression holds a heavy layer already
    lines: list[str] = []
    for at, call in enumerate(body.calls):
        reads = [held[value] for value in call.inputs]
        if call.output == body.output:
            return [*lines, *_statement("return ", call, reads)]
        text = _call_text(call, reads)
        base = set().union(*(bases[value] for value in call.inputs))
        following = body.calls[at + 1]
        heavy = _starts_line(call) or (bool(call.inputs) and call.inputs[0] in heavies)
        nested = _call_text(following, [text])
        if (
            times_read[call.output] == 1
            and following.inputs == (call.output,)
            and not (_starts_line(following) and heavy)
            and len(nested) + 15 <= LINE_LENGTH
        ):
            held[call.output], bases[call.output] = text, base
            if heavy:
                heavies.add(call.output)
            continue
        alive = {variables[value] for value in variables if last_read.get(value, -1) > at}
        dead = [variables[value] for value in sorted(base) if variables[value] not in alive]
        name = next(name for name in itertools.chain(dead, _variables()) if name not in alive)
        for value in [value for value, variable in variables.items() if variable == name]:
            del variables[value]
        variables[call.output] = held[call.output] = name
        bases[call.output] = {call.output}
        lines += _statement(f"{name} = ", call, reads)
    raise ValueError("a scope must end with its output")


def _starts_line(call: Call) -> bool:
    return isinstance(call.target, Body) or isinstance(call.target.primitive, Conv2d | Linear)


def _call_text(call: Call, inputs: Sequence[str]) -> str:
    target = call.target
    if isinstance(target, Body) or target.primitive.layer(target.input_shapes) is not None:
        return f"self.{call.name}({', '.join(inputs)})"
    return _operator_text(target.primitive, inputs)


def _statement(before: str, call: Call, inputs: Sequence[str]) -> list[str]:
    """``before`` and the call, on several lines where one is too long."""
    flat = f"        {before}{_call_text(call, inputs)}"
    if len(flat) <= LINE_LENGTH:
        return [flat]
    parts = tuple(Expression(text) for text in inputs)
    if not isinstance(call.target, Node) or not isinstance(call.target.primitive, Join):
        return Expression(f"self.{call.name}", parts).lines(8, before=before)
    if isinstance(call.target.primitive, Concat):
        listed = Expression("", parts, brackets="[]")
        arguments = (listed, Expression("1", keyword="dim"))
        return Expression("torch.cat", arguments).lines(8, before=before)
    total = " + ".join(inputs)
    rows = (
        [total] if len(total) + 12 <= LINE_LENGTH else [inputs[0], *(f"+ {x}" for x in inputs[1:])]
    )
    after = f" / {len(inputs)}" if isinstance(call.target.primitive, Mean) else ""
    return [f"        {before}(", *(f"            {row}" for row in rows), f"        ){after}"]


def _operator_text(primitive: Primitive, inputs: Sequence[str]) -> str:
    if isinstance(primitive, Concat):
        return f"torch.cat([{', '.join(inputs)}], dim=1)"
    if isinstance(primitive, Multiply):
        return " * ".join(inputs)
    if isinstance(primitive, Zeros):
        return f"{inputs[0] if inputs[0].isidentifier() else f'({inputs[0]})'} * 0"
    total = " + ".join(inputs)
    return f"({total}) / {len(inputs)}" if isinstance(primitive, Mean) else total
