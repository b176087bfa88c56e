"""From a graph to a ``torch.nn.Module`` whose submodules carry the graph's names."""

from collections import OrderedDict
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn

from search_spaces.graph import Graph
from search_spaces.primitives import Add, Concat, Join, Mean, Multiply, Primitive, Zeros
from search_spaces.schedule import Body, Call, schedule

_Step = tuple[str | None, Callable[..., Tensor] | None, tuple[int, ...], int, tuple[int, ...]]


def build(graph: Graph) -> nn.Module:
    """A freshly initialised network (PyTorch's own initialisation of each layer).

    Submodules are named as in the graph, so that its state dict, the one of generated source
    and checkpoints agree. Random numbers come from torch's global generator, as in any layer.

    Returns:
        A module from ``(batch, channels, height, width)`` to the graph's output shape.
    """
    return _Scope(schedule(graph))


class _Scope(nn.Module):
    """Runs the calls of one scope on numbered registers, dropping each value once it is read."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        places = {value: place for place, value in enumerate(body.inputs)}
        self._steps: list[_Step] = []
        last = {value: at for at, call in enumerate(body.calls) for value in call.inputs}
        for at, call in enumerate(body.calls):
            module = _module(call)
            if module is not None:
                self.add_module(call.name, module)
            reads = tuple(places[value] for value in call.inputs)
            done = tuple({places[value] for value in call.inputs if last[value] == at})
            places[call.output] = len(places)
            operator = None if isinstance(call.target, Body) else _operator(call.target.primitive)
            name = call.name if module is not None else None
            self._steps.append((name, operator, reads, places[call.output], done))
        self._size = len(places)
        self._result = places[body.output]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The scope's output for the values it reads."""
        values: list[Tensor | None] = [*inputs, *[None] * (self._size - len(inputs))]
        modules = self._modules
        for name, operator, reads, place, done in self._steps:
            arguments = [values[read] for read in reads]
            call = operator if name is None else modules[name]
            for read in done:
                values[read] = None
            values[place] = call(*arguments)  # type: ignore[misc]
        result = values[self._result]
        assert result is not None  # noqa: S101 - the last step writes it
        return result


def _module(call: Call) -> nn.Module | None:
    if isinstance(call.target, Body):
        if not call.target.scope.kind:
            return _sequence(call.target)
        return _Scope(call.target)
    layer = call.target.primitive.layer(call.target.input_shapes)
    if layer is None:
        return None
    cls: type[nn.Module] = getattr(nn, layer.cls)
    # int(): layers keep plain numbers, not the names that arguments carry for the source.
    return cls(
        *(_plain(value) for value in layer.positional),
        **{name: _plain(value) for name, value in layer.keywords.items()},
    )


def _sequence(body: Body) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for call in body.calls:
        module = _module(call)
        assert module is not None  # noqa: S101 - a chain holds modules only
        parts[call.name] = module
    return nn.Sequential(parts)


def _plain(value: float | tuple[int, ...]) -> float | tuple[int, ...]:
    if isinstance(value, tuple):
        return tuple(int(part) for part in value)
    return value if isinstance(value, bool | float) else int(value)


def _operator(primitive: Primitive) -> Callable[..., Tensor] | None:
    return _OPERATORS[type(primitive)] if isinstance(primitive, Join) else None


def _add(*values: Tensor) -> Tensor:
    return reduce(torch.add, values)


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
