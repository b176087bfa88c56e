"""The beginning and the end of a network together are the network."""

from dataclasses import replace

import pytest
import torch

from search_spaces.architecture import Architecture, lower
from search_spaces.modules import build
from search_spaces.portions import beginning, end, end_values, stage_modules, whole_values
from search_spaces.reference import REFERENCES


def small(name: str, side: int) -> Architecture:
    return replace(REFERENCES[name](), input_shape=(3, side, side))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "densenet_bc_100_12"])
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_an_end_computes_from_feature_maps_what_the_whole_computes_from_images(
    name: str, stages: int
) -> None:
    torch.manual_seed(0)
    whole = small(name, 64)
    model = build(lower(whole)).eval()
    before = model.get_submodule(stage_modules(whole)[len(whole.stages) - stages - 1])
    maps: list[torch.Tensor] = []
    before.register_forward_hook(lambda _, __, output: maps.append(output))
    ending = end(whole, stages)
    last = build(lower(ending)).eval()
    last.load_state_dict(end_values(whole, stages, model.state_dict()))
    with torch.no_grad():
        scores = model(torch.randn(2, 3, 64, 64))
        assert tuple(maps[0].shape[1:]) == ending.input_shape
        torch.testing.assert_close(last(maps[0]), scores)


def test_values_of_an_end_go_back_to_their_places() -> None:
    whole = small("resnet18", 64)
    names = {name: name for name in build(lower(whole)).state_dict()}
    changed = dict.fromkeys(end_values(whole, 1, names), "changed")
    merged = whole_values(whole, 1, names, changed)
    assert list(merged) == list(names)
    last = {name for name in names if name.startswith(("stages.3.", "head."))}
    assert {name for name, value in merged.items() if value == "changed"} == last
    assert all(value == name for name, value in merged.items() if name not in last)


def test_a_beginning_has_the_weights_of_the_whole_under_their_names() -> None:
    whole = small("efficientnet_b0", 32)
    first = beginning(whole, 3, num_classes=5)
    graph = lower(first)
    assert graph.output_shape == (5,)
    theirs = build(lower(whole)).state_dict()
    ours = build(graph).state_dict()
    shared = {name for name in ours if not name.startswith("head.")}
    assert shared == {
        name
        for name in theirs
        if name.startswith(("stem.", *["stages.0.", "stages.1.", "stages.2."]))
    }
    assert all(ours[name].shape == theirs[name].shape for name in shared)


def test_stages_that_do_not_exist_and_networks_without_ends_are_refused() -> None:
    whole = small("resnet18", 64)
    for stages in (0, 5):
        with pytest.raises(ValueError, match="stages must be from 1 to 4, got"):
            beginning(whole, stages, num_classes=2)
    for stages in (-1, 4):
        with pytest.raises(ValueError, match="stages must be from 0 to 3, got"):
            end(whole, stages)
    with pytest.raises(ValueError, match="two feature maps"):
        end(small("darts_v2", 64), 1)


def test_the_modules_of_stages_are_there_where_blocks_read_two_maps() -> None:
    whole = small("darts_v2", 64)
    model = build(lower(whole))
    for name in stage_modules(whole):
        model.get_submodule(name)
