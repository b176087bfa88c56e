"""From a graph to a ``torch.nn.Module`` whose submodules carry the graph's names."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import TypeAlias

import torch
from torch import Tensor, nn

from search_spaces.graph import Graph, Node
from search_spaces.paths import PathChoice
from search_spaces.primitives import Add, Concat, Mean, Multiply, Primitive, Shape, Zeros
from search_spaces.schedule import Body, Call, schedule

Function: TypeAlias = Callable[[Tensor], Tensor]

# Name of the module or an operator, registers that are read, register that is written.
_Call = tuple[str, Callable[..., Tensor] | None, tuple[int, ...], int]
# The same and the registers that nobody reads afterwards.
_Step = tuple[str, Callable[..., Tensor] | None, tuple[int, ...], int, tuple[int, ...]]


def layer_of(node: Node) -> nn.Module | None:
    """A freshly initialised layer of ``torch.nn``; None for an operator of several inputs."""
    return primitive_layer(node.primitive, node.input_shapes)


def primitive_layer(primitive: Primitive, input_shapes: tuple[Shape, ...]) -> nn.Module | None:
    """The layer of a primitive that reads values of these shapes; see ``layer_of``."""
    spec = primitive.layer(input_shapes)
    if spec is None:
        return None
    cls: type[nn.Module] = getattr(nn, spec.cls)
    # int(): layers keep plain numbers, not the names that arguments carry for the source.
    return cls(
        *(_plain(value) for value in spec.positional),
        **{name: _plain(value) for name, value in spec.keywords.items()},
    )


def build(graph: Graph, layer: Callable[[Node], nn.Module | None] = layer_of) -> nn.Module:
    """A freshly initialised network (PyTorch's own initialisation of each layer).

    Submodules are named as in the graph, so that its state dict, the one of generated source
    and checkpoints agree. Random numbers come from torch's global generator, as in any layer.

    Args:
        graph: The network.
        layer: Makes the layer of a node, or None where there is none; for layers with weights
            that are there already.

    Returns:
        A module from ``(batch, channels, height, width)`` to the graph's output shape.
    """
    return _Scope(schedule(graph), layer)


def flat(graph: Graph, function: Callable[[Node], Function | None]) -> nn.Module:
    """A network of functions, which takes a fraction of the time of ``build`` to make.

    It computes what ``build`` with these layers would; it has no scopes, and of layers only those
    that are modules.

    Args:
        graph: The network.
        function: What a node computes of its one input; None for an operator of several.
    """
    return _Flat(graph, function)


def choose_paths(model: nn.Module, choice: PathChoice | None) -> None:
    """Let a network take the paths of ``choice`` in every training step from now on.

    Parts that lie on none of them are not run, and their parameters get no gradient. Weights,
    names and what the network computes in eval mode stay as they are.

    Args:
        model: What ``build`` or ``flat`` returned.
        choice: Drawn by the training loop for one step; None stands for the whole network.

    Raises:
        ValueError: If the choice names a join that the network has not got.
    """
    choice = PathChoice() if choice is None else choice
    scopes = [module for module in model.modules() if isinstance(module, _Registers)]
    named = {*choice.kept, *(path for path, _ in choice.scales)}
    unknown = named.difference(*(scope.joins for scope in scopes))
    if unknown:
        raise ValueError(f"choice must be of joins of the network, got {min(unknown)!r}")
    for scope in scopes:
        scope.choose(choice)


class _Registers(nn.Module):
    """Runs calls on numbered registers, dropping each value once it is read.

    Attributes:
        joins: Paths of its operators, by the name of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.joins: dict[str, str] = {}

    def _prepare(self, calls: list[_Call], *, size: int, result: int) -> None:
        """Take the calls, on so many registers, and where their result is in the end."""
        self._calls, self._size, self._result = calls, size, result
        self._steps = self._chosen = _steps(calls, result)

    def choose(self, choice: PathChoice) -> None:
        """Take the paths of ``choice`` while training; see ``choose_paths``."""
        kept = {
            self.joins[path]: ports for path, ports in choice.kept.items() if path in self.joins
        }
        scales = {
            self.joins[path]: (port, torch.from_numpy(scale))
            for (path, port), scale in choice.scales.items()
            if path in self.joins
        }
        self._chosen = self._steps
        if kept or scales:
            self._chosen = _steps(_chosen(self._calls, kept, scales), self._result)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output for the values that are read."""
        values: list[Tensor | None] = [*inputs, *[None] * (self._size - len(inputs))]
        modules = self._modules
        for name, operator, reads, place, done in self._chosen if self.training else self._steps:
            arguments = [values[read] for read in reads]
            call = modules[name] if operator is None else operator
            for read in done:
                values[read] = None
            values[place] = call(*arguments)  # type: ignore[misc]
        result = values[self._result]
        assert result is not None  # noqa: S101 - the last step writes it
        return result


class _Scope(_Registers):
    """The calls of one scope, on layers and inner scopes."""

    def __init__(self, body: Body, layer: Callable[[Node], nn.Module | None]) -> None:
        super().__init__()
        places = {value: place for place, value in enumerate(body.inputs)}
        calls: list[_Call] = []
        for call in body.calls:
            module = _module(call, layer)
            operator = None
            if module is not None:
                self.add_module(call.name, module)
            elif isinstance(call.target, Node):
                operator = _OPERATORS[type(call.target.primitive)]
                self.joins[call.target.name] = call.name
            reads = tuple(places[value] for value in call.inputs)
            places[call.output] = len(places)
            calls.append((call.name, operator, reads, places[call.output]))
        self._prepare(calls, size=len(places), result=places[body.output])


class _Flat(_Registers):
    """All nodes of a network on one set of registers."""

    def __init__(self, graph: Graph, function: Callable[[Node], Function | None]) -> None:
        super().__init__()
        calls: list[_Call] = []
        for place, node in enumerate(graph.nodes[1:], start=1):
            call = function(node)
            if call is None:
                call = _OPERATORS[type(node.primitive)]
                self.joins[node.name] = node.name
            elif isinstance(call, nn.Module):
                self.add_module(str(place), call)  # so that it learns of train and eval
            calls.append((node.name, call, node.inputs, place))
        self._prepare(calls, size=len(graph.nodes), result=len(graph.nodes) - 1)


def _steps(calls: Sequence[_Call], result: int) -> list[_Step]:
    """The calls that the result needs, each with what is read there for the last time."""
    needed = {result}
    steps: list[_Step] = []
    for name, operator, reads, place in reversed(calls):
        if place in needed:
            steps.append((name, operator, reads, place, tuple(set(reads) - needed)))
            needed.update(reads)
    return steps[::-1]


def _chosen(
    calls: Sequence[_Call],
    kept: Mapping[str, tuple[int, ...]],
    scales: Mapping[str, tuple[int, Tensor]],
) -> list[_Call]:
    """The calls with joins that read only some of their inputs, or scale one of them."""
    chosen = []
    for name, operator, reads, place in calls:
        call = operator
        if name in kept:
            reads = tuple(reads[port] for port in kept[name])  # noqa: PLW2901 - part of the call
            call = _same if len(reads) == 1 else operator
        elif name in scales:
            port, scale = scales[name]
            call = partial(_add_scaled, port=port, scale=scale)
        chosen.append((name, call, reads, place))
    return chosen


def _module(call: Call, layer: Callable[[Node], nn.Module | None]) -> nn.Module | None:
    if isinstance(call.target, Node):
        return layer(call.target)
    if not call.target.scope.kind:
        return _sequence(call.target, layer)
    return _Scope(call.target, layer)


def _sequence(body: Body, layer: Callable[[Node], nn.Module | None]) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for call in body.calls:
        module = _module(call, layer)
        assert module is not None  # noqa: S101 - a chain holds modules only
        parts[call.name] = module
    return nn.Sequential(parts)


def _plain(value: float | tuple[int, ...]) -> float | tuple[int, ...]:
    if isinstance(value, tuple):
        return tuple(int(part) for part in value)
    return value if isinstance(value, bool | float) else int(value)


def _add(*values: Tensor) -> Tensor:
    return reduce(torch.add, values)


def _same(value: Tensor) -> Tensor:
    return value


def _add_scaled(*values: Tensor, port: int, scale: Tensor) -> Tensor:
    branch = values[port]
    factors = scale.to(branch.device, branch.dtype).view(-1, *[1] * (branch.ndim - 1))
    return _add(*values[:port], branch * factors, *values[port + 1 :])


def _mean(*values: Tensor) -> Tensor:
    return _add(*values) / len(values)


def _concat(*values: Tensor) -> Tensor:
    return torch.cat(values, dim=1)


def _zeros(value: Tensor) -> Tensor:
    return value * 0


_OPERATORS: dict[type[Primitive], Callable[..., Tensor]] = {
    Add: _add,
    Mean: _mean,
    Multiply: torch.mul,
    Concat: _concat,
    Zeros: _zeros,
}
