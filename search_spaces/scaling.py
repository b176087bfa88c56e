"""The ``scaling`` space: how much deeper, wider and larger a base network becomes, at one cost."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, final

from search_spaces.architecture import Architecture, from_document, lower
from search_spaces.compound import Rounding, check_stages, scale
from search_spaces.genome import Decision, Genome, Genotype, Option
from search_spaces.reference import REFERENCES
from search_spaces.reference.adaptation import adapted
from search_spaces.skeleton import check_images
from search_spaces.space import SearchSpace

NAMES = ("phi", "alpha", "beta", "gamma")
CONSTRAINTS = REALISED, FORMULA = ("realised", "formula")
MAX_TRIPLES = 20_000  # of a grid

# A range around the paper's 1.2, 1.1 and 1.15.
ALPHAS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4)
BETAS = (1.0, 1.05, 1.1, 1.15, 1.2)
GAMMAS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)


class Coefficients(NamedTuple):
    """One point of the grid: depth, width and resolution grow by powers of these.

    Attributes:
        phi: Exponent of all three.
        alpha: Of the depth.
        beta: Of the width.
        gamma: Of the resolution.
    """

    phi: float
    alpha: float
    beta: float
    gamma: float

    @property
    def formula(self) -> float:
        """MACs relative to the base's, but for rounding, stem and head."""
        return float((self.alpha * self.beta**2 * self.gamma**2) ** self.phi)  # Eq. (3)


@final
@dataclass(frozen=True, slots=True)
class Scaled:
    """A network of the grid.

    Attributes:
        architecture: The base, scaled.
        points: All points of the grid that are this network, the one nearest to the target by
            the formula first.
        params: Parameters.
        macs: Multiply-accumulates for one image.
        realised: MACs relative to the base's.
    """

    architecture: Architecture
    points: tuple[Coefficients, ...]
    params: int
    macs: int
    realised: float

    def factor(self, on: str) -> float:
        """The factor of its cost that is held to the target: realised, or the formula's."""
        return self.realised if on == REALISED else self.points[0].formula


def survey(
    base: Architecture, grid: Sequence[Coefficients], *, rounding: Rounding, target: float
) -> tuple[Scaled, ...]:
    """The different networks of a grid, in its order. Equal ones are counted once.

    Args:
        base: The network to scale.
        grid: Points; at most ``MAX_TRIPLES``.
        rounding: What scaled numbers are rounded to.
        target: Factor of the cost for a phi of 1.

    Raises:
        ValueError: If the base has no stages, or the grid is too large.
    """
    if len(grid) > MAX_TRIPLES:
        raise ValueError(
            f"grid must have at most {MAX_TRIPLES:,} points, got {len(grid):,}; take larger steps"
        )
    found: dict[Architecture, list[Coefficients]] = {}
    for point in grid:
        network = scale(
            base,
            depth=point.alpha**point.phi,
            width=point.beta**point.phi,
            resolution=point.gamma**point.phi,
            rounding=rounding,
        )
        found.setdefault(network, []).append(point)
    own = lower(base).macs
    networks = []
    for network, points in found.items():
        graph = lower(network)
        near = sorted(points, key=lambda point: abs(point.formula - target**point.phi))
        networks.append(
            Scaled(network, tuple(near), graph.params, graph.macs, graph.macs / max(1, own))
        )
    return tuple(networks)


@final
class ScalingSpace(SearchSpace):
    """A base network at about a multiple of its MACs: deeper, wider, larger images, in any mix.

    Open are alpha, beta and gamma, and phi where several are given. Of the grid of their values,
    all at least 1, those are genotypes whose alpha * beta^2 * gamma^2 lies within the tolerance
    of the target, to the power of phi: by default as realised, MACs of the rounded network
    relative to the base's, or as the formula has it. Points that round to the same network are
    one genotype. So that the constraint holds, beta is a decision that a value of alpha opens,
    named ``beta[1.2]`` after it, and gamma likewise, ``gamma[1.2,1.1]``.

    The base keeps its own resolution, whatever that of the data; a reference by name takes the
    data's. Channels and classes become the data's. ``compound.scale`` says how numbers are
    rounded.

    Args:
        input_shape: ``(channels, height, width)`` of the images; sides of at least 8 pixels.
        num_classes: Number of classes, at least 2.
        base: Name of a reference network, or the document of an architecture with stages.
        alpha: Values of the depth's coefficient; None for 1 to 1.4 in steps of 0.05.
        beta: Values of the width's; None for 1 to 1.2.
        gamma: Values of the resolution's; None for 1 to 1.3.
        phi: Exponents; None for 1, as in the paper's grid search.
        target: Factor of the cost for a phi of 1, above 1.
        tolerance: How far the factor may be from it, as a share of it, in [0, 1).
        on: ``realised`` or ``formula``.
        divisor: Of channels; None for what suits the base.
        step: Of sides of the input, in pixels; None for what suits the base.

    Raises:
        ValueError: If a value is out of range, the base cannot be scaled, or no point of the
            grid is within the tolerance.

    Source: EfficientNet (arXiv:1905.11946), section 3.3, step 1. Deviation: the paper holds the
    formula to the target, 1.92 for its 1.2, 1.1 and 1.15; rounded, that network has 2.57 times
    the MACs of EfficientNet-B0.
    """

    def __init__(  # noqa: PLR0913 - the grid, what is held to what, and the rounding
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        base: str | dict[str, Any] = "efficientnet_b0",
        alpha: list[float] | None = None,
        beta: list[float] | None = None,
        gamma: list[float] | None = None,
        phi: list[float] | None = None,
        target: float = 2.0,
        tolerance: float = 0.05,
        on: str = REALISED,
        divisor: int | None = None,
        step: int | None = None,
    ) -> None:
        check_images(input_shape, num_classes)
        _check_constraint(target, tolerance, on)
        self.base = _base(base, input_shape, num_classes)
        self.rounding = Rounding.of(self.base, divisor=divisor, step=step)
        self.target, self.tolerance, self.on = float(target), float(tolerance), on
        grid = points(alpha=alpha, beta=beta, gamma=gamma, phi=phi)
        self.networks = survey(self.base, grid, rounding=self.rounding, target=self.target)
        self.feasible = tuple(one for one in self.networks if self.deviation(one) <= tolerance)
        if not self.feasible:
            nearest = min(self.networks, key=self.deviation)
            raise ValueError(
                f"grid must have a point within {self.tolerance:.3g} of the target "
                f"{self.target:g}, got {nearest.factor(on):.4g} at the nearest; take a tolerance "
                f"of {self.deviation(nearest):.3g} or another grid"
            )
        self._phi = {one.points[0].phi for one in self.feasible}
        rows = {self._answers(one): one for one in self.feasible}
        self._networks = rows
        self._genome = Genome((_decision(NAMES[-len(next(iter(rows))) :], sorted(rows)),))

    @property
    def genome(self) -> Genome:
        """Alpha, which opens beta, which opens gamma; before them phi if there are several."""
        return self._genome

    def architecture(self, genotype: Genotype) -> Architecture:
        """See the class.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        return self.scaled(genotype).architecture

    def scaled(self, genotype: Genotype) -> Scaled:
        """The network of a genotype, with its coefficients and costs.

        Raises:
            ValueError: If ``genotype`` is not one of ``genome``.
        """
        self._genome.check(genotype)
        return self._networks[tuple(float(value) for _, value in genotype.answers)]

    def deviation(self, network: Scaled) -> float:
        """How far the factor of a network's cost is from the target, as a share of it."""
        target: float = self.target ** network.points[0].phi
        return abs(network.factor(self.on) / target - 1)

    def _answers(self, network: Scaled) -> tuple[float, ...]:
        return tuple(network.points[0])[0 if len(self._phi) > 1 else 1 :]


def points(
    *,
    alpha: Sequence[float] | None,
    beta: Sequence[float] | None,
    gamma: Sequence[float] | None,
    phi: Sequence[float] | None,
) -> tuple[Coefficients, ...]:
    """The grid of these values; what each None stands for is said under ``ScalingSpace``.

    Raises:
        ValueError: If there are none of one, one is given twice, alpha, beta or gamma is below 1
            or phi not above 0.
    """
    axes = {
        "phi": (1.0,) if phi is None else phi,
        "alpha": ALPHAS if alpha is None else alpha,
        "beta": BETAS if beta is None else beta,
        "gamma": GAMMAS if gamma is None else gamma,
    }
    for name, values in axes.items():
        least = "above 0" if name == "phi" else "at least 1"
        if not values:
            raise ValueError(f"{name} must have at least one value, got none")
        if len(set(values)) != len(values):
            raise ValueError(f"{name} must have each value once, got {list(values)}")
        for value in values:
            if not (0 < value < float("inf") if name == "phi" else 1 <= value < float("inf")):
                raise ValueError(f"{name} must be {least} and finite, got {value:g}")
    return tuple(Coefficients(*map(float, values)) for values in product(*axes.values()))


def _check_constraint(target: float, tolerance: float, on: str) -> None:
    if not 1 < target < float("inf"):
        raise ValueError(f"target must be above 1 and finite, got {target:g}")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be in [0, 1), got {tolerance:g}")
    if on not in CONSTRAINTS:
        raise ValueError(f"on must be {' or '.join(CONSTRAINTS)}, got {on!r}")


def _base(
    base: str | dict[str, Any], input_shape: tuple[int, int, int], num_classes: int
) -> Architecture:
    """The network to scale, for the channels and classes of the data."""
    if isinstance(base, str):
        if base not in REFERENCES:
            near = difflib.get_close_matches(base, REFERENCES, n=1)
            hint = f"did you mean {near[0]}?" if near else "see `nas references`"
            raise ValueError(f"base must be a reference network, got {base[:80]!r}; {hint}")
        published = REFERENCES[base]()
        check_stages(published)
        return adapted(published, name=base, input_shape=input_shape, num_classes=num_classes)
    network = from_document(base)
    shape = (input_shape[0], *network.input_shape[1:])
    return adapted(network, name=network.title, input_shape=shape, num_classes=num_classes)


def _decision(
    names: Sequence[str], rows: Sequence[tuple[float, ...]], above: tuple[float, ...] = ()
) -> Decision:
    """The first of the names as a decision; each of its options opens what fits it."""
    context = ",".join(f"{value:.10g}" for value in above)
    options = tuple(
        Option(
            value,
            ()
            if len(names) == 1
            else (
                _decision(
                    names[1:],
                    [row[1:] for row in rows if row[0] == value],
                    (*above, value),
                ),
            ),
        )
        for value in dict.fromkeys(row[0] for row in rows)
    )
    return Decision(f"{names[0]}[{context}]" if above else names[0], options)
