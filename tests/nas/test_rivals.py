"""Which published networks a winner has to beat: within the limits, fast enough, not too many."""

from collections import Counter

import pytest

from nas.errors import NasError
from nas.limits import Limits
from nas.rivals import RIVALS, Rival, fast_enough, fitting, most_macs, named_rivals, rival
from search_spaces.graph import Graph
from search_spaces.reference import REFERENCES

SMALL = (1, 28, 28)


def test_those_within_the_limits_are_found_adapted_to_the_images() -> None:
    found = fitting(SMALL, 10, Limits(max_params=300_000))
    assert {family: [one.name for one in some] for family, some in found.items()} == {
        "ResNet": ["resnet20"]
    }
    graph = found["ResNet"][0].graph
    assert (graph.params, graph.macs) == (272_186, 31_021_952)
    assert (graph.input_shape, graph.output_shape) == (SMALL, (10,))


def test_a_limit_on_macs_counts_too_and_the_largest_come_first() -> None:
    found = fitting(SMALL, 10, Limits(max_macs=40_000_000))
    assert all(one.graph.macs <= 40_000_000 for some in found.values() for one in some)
    macs = [one.graph.macs for one in found["ResNet"]]
    assert macs == sorted(macs, reverse=True)
    assert len(macs) > 1


def test_networks_that_cannot_take_the_images_or_have_no_classes_are_not_among_them() -> None:
    names = {one.name for some in fitting((1, 8, 8), 10, Limits()).values() for one in some}
    assert "resnet20" in names
    assert not {"vgg11", "alexnet", "siamese_branch"} & names


def named(*names: str) -> list[Rival]:
    return [rival(name, SMALL, 10) for name in names]


def test_of_each_family_the_largest_that_is_fast_enough_is_taken() -> None:
    families = {
        "ResNet": named("resnet56", "resnet32", "resnet20"),
        "EfficientNet": named("efficientnet_b1", "efficientnet_b0"),
        "MobileNet": named("mobilenet_v2"),
        "GoogLeNet": named("googlenet"),
        "SENet": named("se_resnet50"),
    }
    milliseconds = dict.fromkeys(REFERENCES, 1.0) | {"resnet56": 5.1, "mobilenet_v2": 9.0}
    looked_at: Counter[str] = Counter()

    def measure(graph: Graph) -> float:
        name = next(n for some in families.values() for n in some if n.graph is graph).name
        looked_at[name] += 1
        return milliseconds[name]

    found = fast_enough(families, most=60_000_000, limit_ms=5.0, measure=measure)
    assert [(one.name, ms) for one, ms in found] == [
        ("resnet32", 1.0),
        ("googlenet", 1.0),
        ("efficientnet_b1", 1.0),
    ]
    assert len(found) <= RIVALS
    # Too large ones are not measured, nor those that a larger one of their family makes needless.
    assert set(looked_at) == {"resnet32", "efficientnet_b1", "mobilenet_v2", "googlenet"}


def test_no_more_than_a_few_are_taken_the_largest() -> None:
    names = ("resnet20", "mobilenet_v1", "mobilenet_v2", "efficientnet_b0", "googlenet")
    families = {name: named(name) for name in names}
    found = fast_enough(families, most=10**12, limit_ms=5.0, measure=lambda _: 1.0)
    assert [one.name for one, _ in found] == ["resnet20", "googlenet", "mobilenet_v1"]


@pytest.mark.parametrize(
    ("name", "limits", "message"),
    [
        ("resnet21", Limits(), r"--references: there is no 'resnet21'; did you mean resnet\d+\?"),
        ("vgg11", Limits(), "--references vgg11: input_shape must have sides of at least"),
        ("siamese_branch", Limits(), "--references siamese_branch: num_classes must be left out"),
        (
            "resnet20",
            Limits(max_params=200_000),
            "--references resnet20 must be within the limits, got 272,186 parameters",
        ),
    ],
)
def test_a_name_that_cannot_be_used_is_one_line(name: str, limits: Limits, message: str) -> None:
    with pytest.raises(NasError, match=message) as caught:
        named_rivals([name], SMALL, 10, limits)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_small_winner_is_compared_with_larger_ones_as_calls_take_its_time() -> None:
    assert most_macs(200_000) == 10_000_000
    assert most_macs(30_000_000) == 300_000_000
