"""The space of compound scalings of a base."""

from typing import Any

import pytest

from nas.testing import check_space
from search_spaces.architecture import Architecture, lower, to_document
from search_spaces.blocks import Classifier, ConvNormAct, MBConv
from search_spaces.compound import scale
from search_spaces.reference import REFERENCES
from search_spaces.scaling import Coefficients, ScalingSpace, points

BASE = Architecture(
    "Base",
    (3, 12, 12),
    ConvNormAct(8),
    ((MBConv(8, expansion=3),) * 2, (MBConv(16, stride=2, expansion=3),) * 2),
    Classifier(5, width=32),
)


def space(shape: tuple[int, int, int] = (1, 16, 16), **options: Any) -> ScalingSpace:
    return ScalingSpace(shape, 10, **{"base": to_document(BASE), "tolerance": 0.2, **options})


def test_the_contract_of_spaces_is_kept() -> None:
    check_space(space(), num_classes=10, samples=8, built=2)


def test_every_genotype_is_the_base_scaled_by_its_coefficients_within_the_tolerance() -> None:
    made = space()
    own = lower(made.base).macs
    for rank in range(made.genome.size):
        genotype = made.genome.unrank(rank)
        alpha, beta, gamma = (float(value) for _, value in genotype.answers)
        network = made.architecture(genotype)
        assert network == scale(made.base, depth=alpha, width=beta, resolution=gamma)
        assert 1.6 <= lower(network).macs / own <= 2.4
        assert made.scaled(genotype).realised == lower(network).macs / own


def test_names_say_what_opened_a_decision() -> None:
    names = space(alpha=[1.2], beta=[1.1], gamma=[1.25], tolerance=0.9).genome.names
    assert names == ("alpha", "beta[1.2]", "gamma[1.2,1.1]")


def test_no_feasible_point_of_the_grid_is_left_out_and_equal_networks_are_one_genotype() -> None:
    made = space()
    own = lower(made.base).macs
    found = {point for one in made.feasible for point in one.points}
    for point in points(alpha=None, beta=None, gamma=None, phi=None):
        network = scale(made.base, depth=point.alpha, width=point.beta, resolution=point.gamma)
        within = abs(lower(network).macs / own / 2 - 1) <= 0.2
        assert (point in found) == within
    different = {made.architecture(made.genome.unrank(at)) for at in range(made.genome.size)}
    assert len(different) == made.genome.size == len(made.feasible) < len(found)


def test_the_point_nearest_to_the_target_stands_for_its_equals() -> None:
    for one in space().feasible:
        away = [abs(point.formula - 2) for point in one.points]
        assert away == sorted(away)


def test_the_formula_can_be_held_to_the_target_instead() -> None:
    made = space(on="formula", tolerance=0.05)
    assert all(1.9 <= one.points[0].formula <= 2.1 for one in made.feasible)
    assert any(abs(one.realised / 2 - 1) > 0.05 for one in made.feasible)


def test_the_formula_of_the_paper_and_of_its_misprint() -> None:
    assert Coefficients(1, 1.2, 1.1, 1.15).formula == pytest.approx(1.920, abs=5e-4)
    assert Coefficients(1, 1.2, 1.1, 1.1).formula == pytest.approx(1.757, abs=5e-4)
    assert Coefficients(2, 1.2, 1.1, 1.15).formula == pytest.approx(1.920**2, abs=2e-3)


def test_several_phis_are_a_decision_held_to_powers_of_the_target() -> None:
    made = space(phi=[1, 2], tolerance=0.3)
    genotype = made.genome.unrank(made.genome.size - 1)
    assert genotype["phi"] == 2.0
    assert made.genome.names[0] == "phi"
    assert 2.8 <= made.scaled(genotype).realised <= 5.2
    alpha, beta, gamma = (float(value) for _, value in genotype.answers[1:])
    network = scale(made.base, depth=alpha**2, width=beta**2, resolution=gamma**2)
    assert made.architecture(genotype) == network


def test_the_base_keeps_its_resolution_and_takes_channels_and_classes_of_the_data() -> None:
    made = space((1, 28, 20))
    assert made.base.input_shape == (1, 12, 12)
    assert lower(made.base).output_shape == (10,)


def test_a_reference_by_name_takes_the_resolution_of_the_data() -> None:
    made = ScalingSpace((1, 28, 28), 10, base="resnet18", tolerance=0.3)
    assert made.base.input_shape == (1, 28, 28)
    assert made.rounding.divisor == 8


def test_rounding_can_be_stated() -> None:
    finer = space(divisor=2)
    assert finer.rounding.divisor == 2
    assert len(finer.networks) > len(space().networks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "efficientnet"}, "base must be a reference network, got 'efficientnet'; did you"),
        ({"base": "vgg16"}, "got VGG, which ends in HiddenClassifier"),
        ({"base": {"title": "X"}}, "schema_version"),
        ({"alpha": []}, "alpha must have at least one value, got none"),
        ({"alpha": [0.9, 1]}, r"alpha must be at least 1 and finite, got 0\.9"),
        ({"beta": [1.1, 1.1]}, "beta must have each value once"),
        ({"gamma": [float("inf")]}, "gamma must be at least 1 and finite, got inf"),
        ({"phi": [0]}, "phi must be above 0 and finite, got 0"),
        ({"target": 1}, "target must be above 1 and finite, got 1"),
        ({"tolerance": 1}, r"tolerance must be in \[0, 1\), got 1"),
        ({"on": "paper"}, "on must be realised or formula, got 'paper'"),
        ({"divisor": 0}, "divisor must be at least 1, got 0"),
        ({"target": 30}, r"grid must have a point within 0\.2 of the target 30, got"),
        (
            {
                "alpha": [1 + n / 1000 for n in range(1000)],
                "beta": [1 + n / 1000 for n in range(9)],
            },
            "grid must have at most 20,000 points, got 63,000; take larger steps",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused(options: dict[str, Any], message: str) -> None:
    shape = (1, 224, 224) if options.get("base") == "vgg16" else (1, 16, 16)
    with pytest.raises(ValueError, match=message):
        space(shape, **options)


def test_images_below_eight_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="sides of at least 8 pixels, got 1x7x8"):
        space((1, 7, 8))


def test_the_default_is_a_grid_around_the_papers_on_b0() -> None:
    made = ScalingSpace((3, 224, 224), 1000, alpha=[1.2], beta=[1.1], gamma=[1.15], target=2.57)
    assert made.base == REFERENCES["efficientnet_b0"]()
    (one,) = made.feasible
    assert one.realised == pytest.approx(2.57, abs=0.005)
