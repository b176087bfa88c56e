"""Every built-in block: from 4x4 pixels upwards, with every activation, as module and as source."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import graph_json
from search_spaces.architecture import Architecture, from_document, lower, to_document
from search_spaces.blocks import (
    BLOCKS,
    AvgPool,
    BasicBlock,
    Bottleneck,
    Classifier,
    ConvNormAct,
    DenseLayer,
    DepthwiseSeparable,
    Embedding,
    HiddenClassifier,
    Inception,
    MaxPool,
    MBConv,
    Skip,
    SqueezeExcite,
    Stem,
    Transition,
    Zero,
)
from search_spaces.identity import digest
from search_spaces.lowering import BlockSpec
from search_spaces.modules import build
from search_spaces.primitives import ACTIVATIONS
from search_spaces.source import model_source
from search_spaces.strict_json import dumps, loads

ModelFromSource = Callable[[str], nn.Module]
Liven = Callable[[nn.Module], nn.Module]

SQUEEZED: dict[str, Any] = {"squeeze_ratio": 0.25}
BODIES: tuple[BlockSpec, ...] = (
    *(Stem(8), Stem(8, 3, 1, norm=False, pool=False)),
    *(ConvNormAct(8), ConvNormAct(8, 5, 2, dilation=2, norm=False, bias=True)),
    *(ConvNormAct(8, padding=0), DepthwiseSeparable(8, 5, 2, dilation=2, **SQUEEZED)),
    *(MBConv(6), MBConv(8, 5, 2, 1, squeeze_of="scaled"), MBConv(6, fused=True)),
    *(MBConv(8, fused=True, expansion=1, stride=2), MBConv(6, expansion=1, squeeze_ratio=0.0)),
    *(BasicBlock(6), BasicBlock(8, 5, 2, 0.1, **SQUEEZED), BasicBlock(6, pre_activation=True)),
    *(Bottleneck(6), Bottleneck(8, groups=4, inner_ratio=0.5, **SQUEEZED, squeeze_of="input")),
    *(Bottleneck(8, stride=2, pre_activation=True), Bottleneck(8, stride=2, stride_first=True)),
    *(DenseLayer(4), DenseLayer(4, 0, 5, 0.1, **SQUEEZED), DenseLayer(1, **SQUEEZED)),
    *(Transition(), Transition(1.0, 1, 0.1), Transition(0.1)),
    *(Inception(1, 2, 3, 4, 5, 6), Inception(1, 1, 1, 1, 1, 1, 3, 1e-3, **SQUEEZED)),
    *(SqueezeExcite(2), MaxPool(), MaxPool(2, 2), AvgPool(4, 4), AvgPool(3, 2, "ceil")),
    *(Skip(), Skip(8, 2), Zero(), Zero(2)),
)
HEADS: tuple[BlockSpec, ...] = (
    *(Classifier(3), Classifier(3, 8, 0.1, pre_activation=True)),
    *(HiddenClassifier(3, 8, 3), Embedding(5)),
)


def network(body: BlockSpec, head: BlockSpec, height: int, width: int) -> Architecture:
    return Architecture("Network", (6, height, width), Skip(), ((body,),), head)


def with_activation(spec: BlockSpec, activation: str) -> BlockSpec:
    assert is_dataclass(spec)
    if "activation" in {field.name for field in fields(spec)}:
        return replace(spec, activation=activation)
    return spec


def test_every_block_is_among_these() -> None:
    assert {type(spec) for spec in (*BODIES, *HEADS)} == set(BLOCKS.values())


@pytest.mark.parametrize("spec", [*BODIES, *HEADS], ids=repr)
def test_a_block_works_from_four_pixels_upwards_with_every_activation(
    spec: BlockSpec, model_from_source: ModelFromSource, liven: Liven
) -> None:
    sizes = ((4, 4), (5, 7), (9, 4))
    for place, activation in enumerate(ACTIVATIONS):
        made = with_activation(spec, activation)
        body, head = (Skip(), made) if spec in HEADS else (made, Classifier(3))
        architecture = network(body, head, *sizes[place % len(sizes)])
        check(architecture, model_from_source, liven)


def check(architecture: Architecture, model_from_source: ModelFromSource, liven: Liven) -> None:
    """Costs, gradients, source and JSON of one network."""
    graph = lower(architecture)
    model = liven(build(graph))
    images = torch.randn(2, *graph.input_shape)
    with FlopCounterMode(display=False) as counter:
        output = model(images)
    assert tuple(output.shape[1:]) == graph.output_shape
    assert counter.get_total_flops() == 2 * 2 * graph.macs  # two images, two flops a MAC
    assert sum(values.numel() for values in model.parameters()) == graph.params
    output.square().sum().backward()
    for name, values in model.named_parameters():
        assert values.grad is not None, name
        assert torch.isfinite(values.grad).all(), name

    source = model_from_source(model_source(graph)).eval()
    source.load_state_dict(model.state_dict())
    assert torch.equal(source(images), output)
    assert from_document(loads(dumps(to_document(architecture)))) == architecture
    again = graph_json.from_document(loads(dumps(graph_json.to_document(graph))))
    assert digest(again) == digest(graph)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BasicBlock(8, squeeze_ratio=1.5), "squeeze_ratio must be from 0 to 1, got 1.5"),
        (lambda: Bottleneck(8, squeeze_of="all"), "squeeze_of must be one of input, scaled, got"),
        (lambda: Bottleneck(8, inner_ratio=0.0), "inner_ratio must be above 0, at most 16, got 0"),
        (lambda: DenseLayer(8, -1), "bottleneck must be at least 0, got -1"),
        (lambda: DenseLayer(8, squeeze_ratio=-1.0), "squeeze_ratio must be from 0 to 1"),
        (lambda: DepthwiseSeparable(8, squeeze_ratio=2.0), "squeeze_ratio must be from 0 to 1"),
        (lambda: Inception(1, 1, 1, 1, 1, 1, squeeze_of=""), "squeeze_of must be one of"),
        (lambda: Transition(0.0), "compression must be above 0, at most 1, got 0.0"),
        (lambda: lower(network(Bottleneck(8, groups=3), Skip(), 4, 4)), "a multiple of groups=3"),
        (lambda: lower(network(BasicBlock(8, 3, 0), Skip(), 4, 4)), "stride must be from 1"),
    ],
)
def test_what_no_block_can_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert message in str(caught.value)
