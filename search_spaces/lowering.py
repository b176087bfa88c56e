"""From block specs to a graph: what ``emit`` is called with, and ``lower``.

A block spec describes one block in a line and has one method::

    def emit(self, scope, inputs):
        x = inputs[-1]
        hidden = scope.argument("hidden_channels", self.expansion * x.channels)
        y = scope.add("expand", Conv2d(hidden), x)
        ...
        return scope.add("join", Add(), x, y)

``scope.argument`` names a number: generated source then takes it as a parameter of the block's
class, so that blocks which differ only in such numbers share one class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from search_spaces.arguments import Argument
from search_spaces.graph import (
    MAX_DEPTH,
    MAX_INPUTS,
    MAX_NODES,
    Graph,
    Node,
    Scope,
    check,
    check_class_name,
    join,
)
from search_spaces.primitives import (
    Activation,
    BatchNorm2d,
    Conv2d,
    Input,
    Primitive,
    Shape,
    SidePad2d,
    ZeroPad2d,
)


@dataclass(frozen=True, slots=True)
class Value:
    """The output of a node, as seen from one scope.

    Attributes:
        node: Position of the node in the graph.
        shape: Its shape; channel counts carry the name they have in that scope.
    """

    node: int
    shape: Shape

    @property
    def channels(self) -> int:
        """Number of channels (or of features, once flattened)."""
        return self.shape[0]


class BlockSpec(ABC):
    """One block of a network, described by a frozen dataclass of ints, floats, bools and names.

    The first line of a built-in block's docstring becomes that of its class in generated source.

    Attributes:
        variants: The same line for each title that ``emit`` may give its scope.
        maps: How many of the last feature maps ``emit`` is handed; two for a cell.
        family: What kind of network the block makes, such as ``dense``; empty for what networks
            of any kind have. It holds for blocks inside, too; see ``families``.
    """

    __slots__ = ()
    variants: ClassVar[Mapping[str, str]] = {}
    maps: ClassVar[int] = 1
    family: ClassVar[str] = ""

    @abstractmethod
    def emit(self, scope: "ScopeBuilder", inputs: tuple[Value, ...]) -> Value:
        """Add this block's primitives to ``scope``.

        Args:
            scope: Where to add; open only while this call runs.
            inputs: What the last ``maps`` blocks put out, the newest last. The first block of a
                network reads one map as often.

        Returns:
            The block's output.

        Raises:
            ValueError: If the block does not fit the shapes it is handed.
        """


@final
class GraphBuilder:
    """Collects nodes and scopes; ``root`` is the scope of the whole network."""

    def __init__(self, input_shape: tuple[int, int, int], *, title: str) -> None:
        image = Input(*input_shape)
        self._nodes = [Node("input", "", image, (), (), image.infer(), image.cost((), ()))]
        self._scopes: list[Scope] = []
        self.root = ScopeBuilder(self, None, path="", owner="", inputs=(Value(0, image.infer()),))
        self._title = check_class_name(title)

    @property
    def image(self) -> Value:
        """The network's input, as the root scope sees it."""
        return self.root.inputs[0]

    @property
    def last(self) -> int:
        """Position of the node that was added last."""
        return len(self._nodes) - 1

    def graph(self, output: Value) -> Graph:
        """The finished graph.

        Args:
            output: What the network returns; the last node that was added.

        Raises:
            ValueError: If ``output`` is not the last node, or ``graph.check`` finds a fault.
        """
        if output.node != self.last:
            raise ValueError("the network must return what was added last")
        root = Scope("", self._title, self._title, self.root.arguments, (0,))
        graph = Graph(tuple(self._nodes), (root, *self._scopes))
        check(graph)
        return graph

    def add_node(
        self, path: str, scope: str, primitive: Primitive, reads: tuple[Value, ...]
    ) -> Value:
        """Append one node; blocks call ``ScopeBuilder.add`` instead."""
        shapes = tuple(value.shape for value in reads)
        try:
            shape = primitive.infer(*shapes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if len(self._nodes) >= MAX_NODES:
            raise ValueError(f"graph must have at most {MAX_NODES} nodes; make the network smaller")
        if len(reads) > MAX_INPUTS:
            raise ValueError(f"{path}: must read at most {MAX_INPUTS} values, got {len(reads)}")
        sources = tuple(value.node for value in reads)
        cost = primitive.cost(shapes, shape)
        self._nodes.append(Node(path, scope, primitive, sources, shapes, shape, cost))
        return Value(len(self._nodes) - 1, shape)

    def reserve_scope(self) -> int:
        """Reserve the place of a scope, so that outer scopes stand before inner ones."""
        self._scopes.append(Scope("", "", ""))
        return len(self._scopes) - 1

    def set_scope(self, place: int, scope: Scope) -> None:
        """Fill a reserved place, once the scope is complete."""
        self._scopes[place] = scope


@final
class ScopeBuilder:
    """The inside of one scope while it is being emitted: the functional model API.

    Attributes:
        path: Path of the scope's module.
        owner: Path of the scope whose arguments are valid here: this one's, or around a plain
            sequence the nearest block's.
        inputs: What the scope was handed, with channel counts named ``in_channels`` (the newest)
            and ``previous_channels`` (the one before).
        arguments: What the scope was called with, by name, as the scope around it writes it.
        visible: Value of every argument that is valid here.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        around: "ScopeBuilder | None",
        *,
        path: str,
        owner: str,
        inputs: tuple[Value, ...],
    ) -> None:
        self._builder = builder
        self.owner = owner
        self._title: str | None = None
        self.path = path
        self.arguments: dict[str, int] = {}
        self.visible: dict[str, int] = {} if around is None or path == owner else around.visible
        self.inputs = self._rename(inputs) if path == owner and path else inputs

    def argument(self, name: str, value: int) -> int:
        """Name a number of this block; use the result in its primitives.

        Args:
            name: Lower-case identifier; those that end in ``channels`` are passed by position.
            value: The number; may be computed from ``inputs`` and other arguments.

        Raises:
            ValueError: If the name is taken by another number, or this is a plain sequence or
                the network itself.
        """
        if not self.path:
            raise ValueError("the network as a whole has no arguments; use a block")
        if self.path != self.owner:
            raise ValueError(f"{self.path}: a sequence has no arguments; use a block")
        if self.arguments.get(name, value) != value:
            raise ValueError(f"{self.path}: argument {name} is {self.arguments[name]} already")
        self.arguments[name] = self._outside(value)
        self.visible[name] = int(value)
        return Argument(int(value), name, self.path)

    def title(self, name: str) -> None:
        """Name this variant of the block, in CapWords, for generated source."""
        self._title = check_class_name(name)

    def add(self, name: str, primitive: Primitive, *inputs: Value) -> Value:
        """Add one primitive that reads ``inputs``.

        Raises:
            ValueError: If the shapes do not fit; the message starts with the module's path.
        """
        return self._builder.add_node(join(self.path, name), self.path, primitive, inputs)

    def block(self, name: str, spec: BlockSpec, *inputs: Value) -> Value:
        """Emit a whole block into a scope of its own."""
        kind = check_class_name(type(spec).__name__)
        return self.enter(name, kind, lambda inner: spec.emit(inner, inner.inputs), *inputs)

    def sequence(self, name: str, emit: "Callable[[ScopeBuilder], Value]", *inputs: Value) -> Value:
        """Run ``emit`` in a plain sequence: each thing it adds reads only the one before."""
        return self.enter(name, "", emit, *inputs)

    def conv(  # noqa: PLR0913 - the numbers of a convolution
        self,
        name: str,
        x: Value,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        tight: bool = False,
    ) -> Value:
        """Add a convolution with 'same' padding: sides of ``ceil(length / stride)`` pixels.

        An odd window is padded alike on all sides. An even one needs one row and column more
        after than before, which a layer of its own named ``<name>_pad`` adds. So does ``tight``
        padding where it is odd: no more zeros than the windows reach, as TensorFlow pads.
        """
        margin = dilation * (kernel_size - 1)
        rows, columns = (
            int(margin) - (min(int(margin), (int(length) - 1) % int(stride)) if tight else 0)
            for length in x.shape[1:]
        )
        if rows == columns and rows % 2 == 0:
            padding = kernel_size // 2 if rows == kernel_size - 1 else rows // 2
            conv = Conv2d(out_channels, kernel_size, stride, padding, dilation, groups, bias)
            return self.add(name, conv, x)
        pad: Primitive = ZeroPad2d(rows // 2, (rows + 1) // 2)
        if rows != columns:
            pad = SidePad2d(columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2)
        conv = Conv2d(out_channels, kernel_size, stride, 0, dilation, groups, bias)
        return self.add(name, conv, self.add(f"{name}_pad", pad, x))

    def norm(self, name: str, x: Value, *, eps: float = 1e-5) -> Value:
        """Add a batch normalisation that adds ``eps`` to the variance."""
        return self.add(name, BatchNorm2d(eps), x)

    def activation(self, name: str, x: Value, kind: str) -> Value:
        """Add a non-linearity; ``kind`` is a key of ``primitives.ACTIVATIONS``."""
        return self.add(name, Activation(kind), x)

    def enter(
        self, name: str, kind: str, emit: "Callable[[ScopeBuilder], Value]", *inputs: Value
    ) -> Value:
        """Run ``emit`` in a new scope; ``block`` and ``sequence`` are the usual ways to.

        Args:
            name: Last part of the scope's path.
            kind: Class of the block, or empty for a plain sequence.
            emit: Adds to the scope it is handed and returns the scope's output.
            inputs: What the scope may read.

        Raises:
            ValueError: If it does not return what it added last, or scopes are nested too deeply.
        """
        path = join(self.path, name)
        if path.count(".") >= MAX_DEPTH:
            raise ValueError(f"scopes must be at most {MAX_DEPTH} inside each other")
        place = self._builder.reserve_scope()
        owner = path if kind else self.owner
        inner = ScopeBuilder(self._builder, self, path=path, owner=owner, inputs=inputs)
        output = emit(inner)
        if output.node != self._builder.last:
            raise ValueError(f"{path}: a block must return what it added last")
        title = inner._title if inner._title is not None else kind
        reads = tuple(value.node for value in inputs)
        self._builder.set_scope(place, Scope(path, kind, title, inner.arguments, reads))
        shape = (inner._outside(output.shape[0]), *output.shape[1:]) if kind else output.shape
        return Value(output.node, shape)

    def _rename(self, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        named: dict[int, Value] = {}  # by node: one handed in twice has one name
        for name, value in zip(("in_channels", "previous_channels"), inputs[::-1], strict=False):
            if value.node not in named:
                channels = self.argument(name, value.channels)
                named[value.node] = Value(value.node, (channels, *value.shape[1:]))
        return tuple(named.get(value.node, value) for value in inputs)

    def _outside(self, value: int) -> int:
        """The same number as the scope around this one writes it."""
        if isinstance(value, Argument) and value.scope == self.path and self.path:
            return self.arguments.get(value.expression, int(value))
        return value if isinstance(value, Argument) else int(value)


def chain(specs: tuple[BlockSpec, ...]) -> "Callable[[ScopeBuilder], Value]":
    """An ``emit`` for ``ScopeBuilder.sequence``: the blocks one after the other, named 0, 1, ..."""

    def emit(scope: ScopeBuilder) -> Value:
        value = scope.inputs[-1]
        for position, spec in enumerate(specs):
            value = scope.block(str(position), spec, value)
        return value

    return emit
