"""Networks with every shape of block that a drawing has to cope with."""

from dataclasses import dataclass

import pytest

from search_spaces.architecture import Architecture, lower
from search_spaces.blocks import Classifier, ConvNormAct
from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec, ScopeBuilder, Value
from search_spaces.primitives import AvgPool2d, Concat, MaxPool2d, Mean
from search_spaces.reference import REFERENCES


@dataclass(frozen=True, slots=True)
class Layer(BlockSpec):
    """Two convolutions, each after its normalisation."""

    growth: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        growth = scope.argument("growth", self.growth)
        x = scope.activation("act1", scope.norm("norm1", inputs[-1]), "relu")
        x = scope.conv("conv1", x, 4 * growth)
        x = scope.activation("act2", scope.norm("norm2", x), "relu")
        return scope.conv("conv2", x, growth, 3)


@dataclass(frozen=True, slots=True)
class Dense(BlockSpec):
    """Layers that each read all before them."""

    layers: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = inputs[-1]
        parts = [x]
        for place in range(self.layers):
            parts.append(scope.block(f"layer{place}", Layer(4), x))
            x = scope.add(f"concat{place}", Concat(), *parts)
        return x


@dataclass(frozen=True, slots=True)
class Transition(BlockSpec):
    """Half the channels, half the sides."""

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = scope.conv("conv", inputs[-1], inputs[-1].channels // 2)
        return scope.add("pool", AvgPool2d(2, 2), x)


@dataclass(frozen=True, slots=True)
class Fractal(BlockSpec):
    """Three columns: of one, two and four convolutions."""

    width: int

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x, made = inputs[-1], ConvNormAct(self.width)
        one = scope.block("a0", made, x)
        left, right = scope.block("b0", made, x), scope.block("c0", made, x)
        right = scope.block("c1", made, right)
        middle = scope.add("join0", Mean(), left, right)
        left, right = scope.block("b1", made, middle), scope.block("c2", made, middle)
        right = scope.block("c3", made, right)
        return scope.add("join1", Mean(), one, left, right)


@dataclass(frozen=True, slots=True)
class Branches(BlockSpec):
    """Four branches, concatenated."""

    def emit(self, scope: ScopeBuilder, inputs: tuple[Value, ...]) -> Value:
        x = inputs[-1]
        three = scope.block("three", ConvNormAct(8), scope.block("before3", ConvNormAct(4, 1), x))
        five = scope.block("five", ConvNormAct(4, 5), scope.block("before5", ConvNormAct(2, 1), x))
        pooled = scope.block(
            "project", ConvNormAct(4, 1), scope.add("pool", MaxPool2d(3, padding=1), x)
        )
        one = scope.block("one", ConvNormAct(8, 1), x)
        return scope.add("join", Concat(), one, three, five, pooled)


def network(*stages: tuple[BlockSpec, ...]) -> Graph:
    """A network of those stages for small images."""
    return lower(Architecture("Mini", (3, 32, 32), ConvNormAct(16), stages, Classifier(10)))


@pytest.fixture(scope="session")
def drawn() -> dict[str, Graph]:
    """Networks by name."""
    return {
        "efficientnet_b0": lower(REFERENCES["efficientnet_b0"]()),
        "efficientnet_b7": lower(REFERENCES["efficientnet_b7"]()),
        "dense": network((Dense(6), Transition()), (Dense(24), Transition()), (Dense(2),)),
        "chain": network((ConvNormAct(16),) * 3 + (ConvNormAct(32, stride=2),)),
        "fractal": network((Fractal(16), Fractal(32))),
        "branches": network((Branches(), Branches())),
    }
