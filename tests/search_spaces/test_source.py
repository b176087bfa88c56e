"""Generated source: the same network, and a text that a person likes to read."""

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search_spaces.architecture import lower
from search_spaces.blocks import BLOCKS, AvgPool, ConvNormAct, MaxPool, Skip, Stem
from search_spaces.graph import MAX_INPUTS, Graph
from search_spaces.layout import LINE_LENGTH
from search_spaces.lowering import BlockSpec, GraphBuilder, ScopeBuilder, Value, chain
from search_spaces.mbconv import MBConvSpace
from search_spaces.modules import build
from search_spaces.primitives import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Mean,
    Multiply,
)
from search_spaces.reference import REFERENCES
from search_spaces.source import model_source

ModelFromSource = Callable[[str], nn.Module]
ClassesInSource = Callable[[str], list[str]]
Liven = Callable[[nn.Module], nn.Module]
Emit = Callable[[ScopeBuilder, Value], Value]


def network(emit: Emit, *, title: str = "Network", side: int = 8) -> Graph:
    builder = GraphBuilder((4, side, side), title=title)
    return builder.graph(emit(builder.root, builder.image))


def compare_with_module(graph: Graph, model_from_source: ModelFromSource, liven: Liven) -> None:
    """Assert that source and module have the same state dict and the same outputs."""
    built = liven(build(graph))
    model = model_from_source(model_source(graph)).eval()
    assert list(model.state_dict()) == list(built.state_dict())
    model.load_state_dict(built.state_dict())
    images = torch.randn(2, *graph.input_shape)
    with torch.no_grad():
        assert torch.equal(model(images), built(images))


@dataclass(frozen=True, slots=True)
class Join(BlockSpec):
    """Joins all it is handed after a convolution of each."""

    width: int
    how: type[Concat | Add | Mean] = Concat

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        width = scope.argument("growth", self.width)
        parts = [scope.conv(f"conv{place}", value, width) for place, value in enumerate(inputs)]
        return scope.add("join", self.how(), *parts)


@dataclass(frozen=True, slots=True)
class Dense(BlockSpec):
    """A layer of DenseNet."""

    growth: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = scope.add("concat", Concat(), *inputs) if len(inputs) > 1 else inputs[0]
        x = scope.activation("act", scope.norm("norm", x), "relu")
        return scope.conv("conv", x, scope.argument("growth", self.growth), 3)


def dense(root: ScopeBuilder, x: Value) -> Value:
    """Every layer reads all the ones before it."""
    values = [x]
    for place in range(12):
        values.append(root.block(f"layer{place}", Dense(4), *values))
    x = root.add("concat", Concat(), *values)
    x = root.add("flatten", Flatten(), root.add("pool", GlobalAvgPool2d(), x))
    return root.add("linear", Linear(3), x)


def dense_by_pairs(root: ScopeBuilder, x: Value) -> Value:
    """Every layer is appended to the map so far."""
    for place in range(6):
        y = root.block(f"layer{place}", ConvNormAct(4), x)
        x = root.add(f"concat{place}", Concat(), x, y)
    return x


def many_inputs(root: ScopeBuilder, x: Value) -> Value:
    values = [root.conv(f"conv{place}", x, 3 + place) for place in range(9)]
    y = root.block("concat", Join(2), *values)
    z = root.block("mean", Join(2, Mean), *values)
    return root.block("sum", Join(2, Add), y, z)


def wide(how: type[Concat | Add | Mean]) -> Emit:
    """Joins of 1 to 30 values, some of which fill a line exactly."""

    def emit(root: ScopeBuilder, x: Value) -> Value:
        outs = []
        for count in range(2, 31):
            parts = [root.activation(f"a{count}_{part}", x, "relu") for part in range(count)]
            outs.append(root.add(f"join{count}", how(), *parts))
        if how is Concat:
            outs = [root.conv(f"out{place}", value, 4) for place, value in enumerate(outs)]
        return root.add("join", Mean(), *outs)

    return emit


def longest_names(root: ScopeBuilder, x: Value) -> Value:
    x = root.conv("c" * 64, x, 4, 3)
    return root.add("j" * 64, Multiply(), x, root.add("g" * 64, GlobalAvgPool2d(), x))


def long_names(root: ScopeBuilder, x: Value) -> Value:
    for length in (20, 30, 39, 40):
        x = root.conv("c" * length, x, 4, 3)
        x = root.activation("a" * length, root.norm("n" * length, x), "relu")
        y = root.add("g" * length, GlobalAvgPool2d(), x)
        x = root.add("m" * length, Multiply(), x, y)
    return x


def shared_blocks(root: ScopeBuilder, x: Value) -> Value:
    for place, width in enumerate((6, 8, 10)):
        x = root.block(f"block{place}", Join(width, Add), root.norm(f"norm{place}", x), x)
    return x


def nested_sequences(root: ScopeBuilder, x: Value) -> Value:
    def stages(scope: ScopeBuilder) -> Value:
        y = scope.sequence("0", chain((ConvNormAct(6), ConvNormAct(8, 5, 2))), scope.inputs[-1])
        y = scope.sequence("1", chain((ConvNormAct(6),)), y)
        return scope.sequence(
            "2", lambda inner: inner.add("only", MaxPool2d(2, 2), inner.inputs[-1]), y
        )

    return root.sequence("stages", stages, x)


def names_like_variables(root: ScopeBuilder, x: Value) -> Value:
    """Layers called x, y and z, a block with an argument called x."""

    def inside(scope: ScopeBuilder) -> Value:
        width = scope.argument("x", 3)
        conv = scope.argument("conv", 5)
        y = scope.conv("x", scope.inputs[-1], width, conv)
        return scope.conv("y", y, scope.argument("e", 4), scope.argument("conv1", 1))

    y = root.enter("x", "X", inside, x)
    z = root.activation("z", root.enter("y", "X", inside, y), "relu")
    return root.add("u", Add(), z, y)


def odd_numbers(root: ScopeBuilder, x: Value) -> Value:
    def inside(scope: ScopeBuilder) -> Value:
        width = scope.argument("width", 12)
        kernel = scope.argument("kernel", 4)
        x = scope.conv("a", scope.inputs[-1], (width + -4) // 2 * kernel, kernel, dilation=3)
        x = scope.add("b", BatchNorm2d(1e-12, 0.0), x)
        x = scope.add("c", Conv2d(width, kernel - 1, padding=kernel // 2, stride=2), x)
        return scope.add("d", AvgPool2d(3, 2, 1, ceil_mode=True), x)

    return root.enter("body", "Body", inside, x)


@dataclass(frozen=True, slots=True)
class Numbered(BlockSpec):
    """Convolutions whose numbers are named, some of them twice over."""

    kernel: int
    margin: int = 1

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        kernel = scope.argument("kernel", self.kernel)
        margin = scope.argument("margin", self.margin)
        stride = scope.argument("stride", 1)
        x = scope.add("first", Conv2d(4, kernel, stride, kernel // 2), inputs[-1])
        x = scope.add("second", Conv2d(4, 2 * margin + 1, padding=margin), x)
        return scope.add("third", Conv2d(4, kernel + 2 * margin, padding=kernel // 2 + margin), x)


@dataclass(frozen=True, slots=True)
class Around(BlockSpec):
    """Hands numbers of its own to a block inside."""

    kernel: int
    margin: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        kernel = scope.argument("outer_kernel", self.kernel)
        margin = scope.argument("outer_margin", self.margin)
        x = scope.block("inside", Numbered(kernel, margin), inputs[-1])
        x = scope.block("pool", MaxPool(3, padding="same"), x)
        return scope.add("sum", Add(), x, inputs[-1])


def constant_numbers(root: ScopeBuilder, x: Value) -> Value:
    """A margin that is the same everywhere, a kernel that is not."""
    for place, kernel in enumerate((3, 5, 3)):
        x = root.block(f"alone{place}", Numbered(kernel), x)
    return x


def nested_constants(root: ScopeBuilder, x: Value) -> Value:
    """The same, one block further in, and once with another margin."""
    for place, kernel in enumerate((3, 5, 3)):
        x = root.block(f"around{place}", Around(kernel, 1), x)
    return root.block("alone", Numbered(3, 2), x)


def lone_layers(root: ScopeBuilder, x: Value) -> Value:
    """Blocks of one layer: with weights, without, twice, once, in a sequence."""
    specs = (MaxPool(), Skip(), Stem(5, 3, 1, norm=False, pool=False), AvgPool(2, 2), MaxPool())
    x = root.block("before", MaxPool(2, 2), x)
    return root.sequence("body", chain(specs), x)


EMITTED: dict[str, Emit] = {
    "constant numbers": constant_numbers,
    "nested constants": nested_constants,
    "lone layers": lone_layers,
    "dense": dense,
    "dense by pairs": dense_by_pairs,
    "many inputs": many_inputs,
    "wide concatenations": wide(Concat),
    "wide sums": wide(Add),
    "wide means": wide(Mean),
    "long names": long_names,
    "shared blocks": shared_blocks,
    "nested sequences": nested_sequences,
    "names like variables": names_like_variables,
    "odd numbers": odd_numbers,
}


@settings(max_examples=100)
@given(data=st.data())
def test_source_and_module_are_one_network(
    data: st.DataObject,
    networks: st.SearchStrategy[Graph],
    model_from_source: ModelFromSource,
    liven: Liven,
) -> None:
    compare_with_module(data.draw(networks), model_from_source, liven)


@pytest.mark.parametrize("name", EMITTED)
def test_source_and_module_of_planted_networks_are_one_network(
    name: str, model_from_source: ModelFromSource, liven: Liven
) -> None:
    compare_with_module(network(EMITTED[name]), model_from_source, liven)


def test_names_may_be_as_long_as_lines_cannot_bear(
    model_from_source: ModelFromSource, liven: Liven
) -> None:
    compare_with_module(network(longest_names), model_from_source, liven)


def test_the_longest_sum_can_be_compiled(model_from_source: ModelFromSource, liven: Liven) -> None:
    graph = network(lambda root, x: root.add("sum", Add(), *[x] * MAX_INPUTS))
    compare_with_module(graph, model_from_source, liven)


def test_a_planted_difference_between_source_and_module_is_found(
    model_from_source: ModelFromSource, liven: Liven, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = model_source
    monkeypatch.setitem(
        globals(), "model_source", lambda graph: right(graph).replace("return x + y", "return y")
    )
    with pytest.raises(AssertionError):
        compare_with_module(network(residual), model_from_source, liven)


def residual(root: ScopeBuilder, x: Value) -> Value:
    return root.add("sum", Add(), x, root.conv("conv", x, 4, 3))


@pytest.fixture(scope="module")
def b0() -> str:
    return model_source(lower(REFERENCES["efficientnet_b0"]()))


def test_efficientnet_b0_is_at_most_four_block_classes_and_150_lines(
    b0: str, classes_in_source: ClassesInSource
) -> None:
    classes = classes_in_source(b0)
    assert classes[-1] == "EfficientNet"
    assert len(classes) - 1 <= 4
    assert len(b0.splitlines()) <= 150
    assert max(len(line) for line in b0.splitlines()) <= LINE_LENGTH
    assert "x = self.expand_act(self.expand_norm(self.expand_conv(x)))\n" in b0
    assert "x = self.squeeze_excite(x)\n        return self.project_norm(" in b0
    assert "ResidualMBConv(192, inner=1152, kernel=5, squeeze=48)," in b0


@pytest.fixture(scope="module")
def published() -> dict[str, str]:
    names = ("resnet50", "densenet121", "googlenet")
    return {name: model_source(lower(REFERENCES[name]())) for name in names}


@pytest.mark.parametrize(
    ("name", "classes", "lines", "held"),
    [
        (
            "resnet50",
            ["ProjectedBottleneck", "Bottleneck", "ResNet"],
            107,
            [
                "        self.middle_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)\n",
                "        x = self.shortcut_norm(self.shortcut_conv(x))\n",
                "        return self.act(y + x)\n",
                "                ProjectedBottleneck(64, 256, inner=64),\n",
                "                ProjectedBottleneck(256, 512, inner=128, stride=2),\n",
                "                Bottleneck(512, inner=128),\n",
            ],
        ),
        (
            "densenet121",
            ["DenseLayer", "Transition", "DenseNet"],
            136,
            [
                "        self.grow_conv = nn.Conv2d(128, 32, 3, padding=1, bias=False)\n",
                "        return torch.cat([x, y], dim=1)\n",
                "                DenseLayer(64),\n                DenseLayer(96),\n",
                "                Transition(256, 128),\n",
            ],
        ),
        (
            "googlenet",
            ["ConvNormAct", "Inception", "GoogLeNet"],
            103,
            [
                "        return self.act(self.norm(self.conv(x)))\n",
                "            ConvNormAct(reduce3_channels, width3_channels, kernel=3),\n",
                "            nn.MaxPool2d(3, stride=1, padding=1),\n",
                "                Inception(192, 64, 96, 128, 16, 32, 32),\n",
                "                nn.MaxPool2d(2, stride=2, ceil_mode=True),\n",
            ],
        ),
    ],
)
def test_published_networks_are_a_few_classes_as_people_write_them(
    name: str,
    classes: list[str],
    lines: int,
    held: list[str],
    published: dict[str, str],
    classes_in_source: ClassesInSource,
) -> None:
    source = published[name]
    assert classes_in_source(source) == classes
    assert len(source.splitlines()) == lines
    assert [line for line in held if line not in source] == []


def test_a_number_that_all_blocks_of_a_class_share_is_a_constant(
    classes_in_source: ClassesInSource,
) -> None:
    source = model_source(network(constant_numbers))
    assert classes_in_source(source) == ["Numbered", "Network"]
    assert "self.first = nn.Conv2d(in_channels, 4, kernel, padding=kernel // 2, " in source
    assert "self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)" in source
    assert "self.alone1 = Numbered(4, kernel=5, margin=1)" in source  # the third one needs both
    assert "stride" not in source


def test_a_number_that_one_block_has_otherwise_is_a_parameter() -> None:
    source = model_source(network(nested_constants))
    assert "self.inside = Numbered(in_channels, kernel=outer_kernel, margin=1)" in source
    assert "self.around1 = Around(4, outer_kernel=5)" in source
    assert "self.alone = Numbered(4, kernel=3, margin=2)" in source


def test_numbers_of_a_class_that_occurs_once_stay_parameters() -> None:
    source = model_source(network(lambda root, x: root.block("around", Around(3, 2), x)))
    assert "self.around = Around(4, outer_kernel=3, outer_margin=2)" in source


def test_a_number_handed_on_that_is_the_same_everywhere_is_a_constant_all_the_way() -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        for place, margin in enumerate((1, 2)):
            x = root.block(f"around{place}", Around(3, margin), x)
        return x

    source = model_source(network(emit))
    assert "self.second = nn.Conv2d(4, 4, (margin * 2) + 1, padding=margin, " in source
    assert "self.first = nn.Conv2d(in_channels, 4, 3, padding=1, " in source
    assert "self.around1 = Around(4, outer_margin=2)" in source


def test_a_block_of_one_layer_is_that_layer_unless_it_has_weights() -> None:
    source = model_source(network(lone_layers))
    assert "self.before = nn.MaxPool2d(2, stride=2, ceil_mode=True)" in source
    assert (
        "            nn.MaxPool2d(3, stride=1, padding=1),\n            nn.Identity(),\n" in source
    )
    assert "nn.Sequential(OrderedDict(conv=nn.Conv2d(4, 5, 3, padding=1, bias=False)))" in source


def imported(source: str) -> set[str]:
    tree = ast.walk(ast.parse(source))
    found: set[str] = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def test_docstrings_of_blocks_fit_on_a_line_of_source() -> None:
    for spec in BLOCKS.values():
        for line in (str(spec.__doc__).splitlines()[0], *spec.variants.values()):
            assert len(line) <= LINE_LENGTH - 10
            assert not set(line) & set('\\"')


def test_source_imports_torch_and_collections_alone(b0: str, fixed_networks: list[Graph]) -> None:
    assert imported(b0) == {"collections", "torch"}
    for graph in fixed_networks:
        assert imported(model_source(graph)) <= {"collections", "torch"}
    assert imported(model_source(network(residual))) == {"torch"}


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
    fixed_networks: list[Graph],
    b0: str,
    published: dict[str, str],
) -> Path:
    """A folder of many generated modules."""
    folder = tmp_path_factory.mktemp("source")
    space = MBConvSpace((3, 32, 32), 10, granularity="block")
    step = space.genome.size // 7
    sources = [model_source(graph) for graph in fixed_networks]
    sources += [*(model_source(network(emit)) for emit in EMITTED.values()), *published.values()]
    sources += [
        model_source(lower(space.architecture(space.genome.unrank(place * step))))
        for place in range(7)
    ]
    for place, source in enumerate([b0, *sources]):
        (folder / f"model{place}.py").write_text(source, encoding="utf-8")
    return folder


def ruff(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_formatter_changes_nothing(written: Path) -> None:
    arguments = ("format", "--isolated", "--line-length", str(LINE_LENGTH), "--diff")
    found = ruff(*arguments, str(written))
    assert found.returncode == 0, found.stdout
    (written.parent / "bad.py").write_text("x = ( 1)\n", encoding="utf-8")
    assert ruff(*arguments, str(written.parent / "bad.py")).returncode == 1


def test_a_linter_finds_nothing(written: Path) -> None:
    found = ruff("check", "--isolated", str(written))
    assert found.returncode == 0, found.stdout


@pytest.mark.slow
def test_a_type_checker_finds_nothing(written: Path, tmp_path: Path) -> None:
    def mypy(*paths: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "mypy", "--config-file", "", "--check-untyped-defs"),
                *("--cache-dir", str(tmp_path / "cache")),
                *map(str, paths),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=300,
        )

    found = mypy(*sorted(written.glob("*.py")))
    assert found.returncode == 0, found.stdout
    bad = tmp_path / "bad.py"
    bad.write_text((written / "model0.py").read_text().replace("-> None", "-> int", 1))
    assert mypy(bad).returncode == 1


ALLOWED = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign),
    *(ast.Expr, ast.Call, ast.keyword, ast.Attribute, ast.Name, ast.Load, ast.Store, ast.Constant),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.UnaryOp, ast.USub),
    *(ast.List, ast.Tuple, ast.ImportFrom, ast.Import, ast.alias),
)


def test_nothing_but_layers_names_and_numbers_is_in_the_source(
    b0: str, fixed_networks: list[Graph]
) -> None:
    sources = [b0, *(model_source(graph) for graph in fixed_networks)]
    sources += [model_source(network(emit)) for emit in EMITTED.values()]
    for source in sources:
        tree = ast.parse(source)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef) and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            assert isinstance(node, ALLOWED), ast.dump(node)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert id(node) in docstrings


def test_blocks_that_differ_in_numbers_alone_share_a_class(
    classes_in_source: ClassesInSource,
) -> None:
    source = model_source(network(shared_blocks))
    assert classes_in_source(source) == ["Join", "Network"]
    assert "Join(4, 4, growth=6)" in source
    assert "Join(6, 6, growth=8)" in source


def test_blocks_wired_differently_have_classes_of_their_own(
    classes_in_source: ClassesInSource,
) -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        for place, order in enumerate(["xy", "yx", "yy", "xyx", "xy"]):
            y = root.conv(f"conv{place}", x, 5)
            x = root.block(f"block{place}", Join(3), *({"x": x, "y": y}[name] for name in order))
        return x

    assert classes_in_source(model_source(network(emit))) == ["Join", "Join2", "Join3", "Network"]


def test_blocks_of_two_titles_have_two_classes(classes_in_source: ClassesInSource) -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        for place, title in enumerate(["One", "Two", "One", "Two"]):
            x = root.enter(
                f"block{place}", title, lambda scope: residual(scope, scope.inputs[-1]), x
            )
        return x

    assert classes_in_source(model_source(network(emit))) == ["One", "Two", "Network"]


@pytest.mark.parametrize("title", ["Tensor", "OrderedDict"])
def test_titles_that_the_source_imports_are_refused(title: str) -> None:
    with pytest.raises(ValueError, match="class name must be a free identifier"):
        GraphBuilder((1, 4, 4), title=title)


@pytest.mark.parametrize("title", ["Join", "Module", "Exception"])
def test_classes_titled_like_the_network_are_numbered(
    title: str, classes_in_source: ClassesInSource, model_from_source: ModelFromSource, liven: Liven
) -> None:
    def emit(root: ScopeBuilder, x: Value) -> Value:
        def inside(scope: ScopeBuilder) -> Value:
            y = scope.conv("conv", scope.inputs[-1], 4)
            return scope.add("sum", Add(), y, scope.inputs[-1])

        x = root.enter("again", title, inside, root.enter("once", title, inside, x))
        return root.block("last", Join(4, Add), x, x)

    graph = network(emit, title=title)
    compare_with_module(graph, model_from_source, liven)
    classes = classes_in_source(model_source(graph))
    assert len(set(classes)) == len(classes)
    assert classes[-1] == title
    assert classes[-1].startswith(title)


@pytest.mark.parametrize(
    "title",
    ["None", "model", "A B", "A\nimport os", 'A"""', "A(B)", "A:", "", "А"],  # noqa: RUF001
)
def test_a_hostile_title_is_refused_before_there_is_source(title: str) -> None:
    with pytest.raises(ValueError, match="class name must be a free identifier in CapWords"):
        network(residual, title=title)
    with pytest.raises(ValueError, match="class name must be a free identifier in CapWords"):
        network(lambda root, x: root.enter("a", title or "a", lambda inner: residual(inner, x), x))


@pytest.mark.parametrize("name", ["self", "super", "nn", "int", "0", "a=1", "*a", "lambda"])
def test_a_hostile_argument_is_refused_before_there_is_source(name: str) -> None:
    def inside(scope: ScopeBuilder) -> Value:
        return scope.conv("conv", scope.inputs[-1], scope.argument(name, 3))

    with pytest.raises(ValueError, match="argument must be a lower-case identifier"):
        network(lambda root, x: root.enter("block", "Block", inside, x))


def test_a_layer_that_all_blocks_run_is_printed_with_the_names_of_its_numbers() -> None:
    source = model_source(network(odd_numbers))
    assert "nn.Conv2d(" in source
    assert "kernel // 2" not in source  # a block that occurs once prints its numbers
    twice = model_source(
        network(lambda root, x: root.block("b", Join(3), root.block("a", Join(3), x, x), x))
    )
    assert "self.conv0 = nn.Conv2d(" in twice


def test_source_of_a_network_is_the_same_every_time(fixed_networks: list[Graph]) -> None:
    for graph in fixed_networks[:10]:
        assert model_source(graph) == model_source(graph)
