"""Published networks that the winner of a search has to beat: which are wanted, which there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from estimators.data import ImageData
from nas.configuration import Configuration
from nas.errors import usage_error
from nas.limits import Limits
from nas.plan import AUTO, OFF, References
from nas.plugins import unknown
from search_spaces.architecture import Architecture, lower
from search_spaces.graph import Graph
from search_spaces.identity import digest
from search_spaces.reference import FAMILIES, REFERENCES
from search_spaces.reference.adaptation import adapted

RIVALS = 3  # at most, unless the user names them
# A network is not even timed that has more than so many times the winner's MACs and more than
# these; with fewer it is calls that take the time, not what they compute.
MOST_TIMES, FEW_MACS = 10, 10_000_000


@final
@dataclass(frozen=True, slots=True)
class Rival:
    """A published network, adapted to the images.

    Attributes:
        name: One of ``REFERENCES``.
        architecture: It.
        graph: The lowered network.
    """

    name: str
    architecture: Architecture
    graph: Graph

    @property
    def digest(self) -> str:
        """Canonical hash of the network."""
        return digest(self.graph)

    @property
    def cost(self) -> str:
        """Its size in words."""
        return f"{self.graph.params:,} parameters, {self.graph.macs:,} MACs"


def rival(name: str, input_shape: tuple[int, int, int], num_classes: int) -> Rival:
    """A published network for images of a shape and so many classes.

    Args:
        name: One of ``REFERENCES``.
        input_shape: ``(channels, height, width)``.
        num_classes: At least 2.

    Raises:
        ValueError: If it cannot take such images, or has no classes.
    """
    architecture = adapted(
        REFERENCES[name](), name=name, input_shape=input_shape, num_classes=num_classes
    )
    return Rival(name, architecture, lower(architecture))


def named_rivals(
    names: Sequence[str],
    input_shape: tuple[int, int, int],
    num_classes: int,
    limits: Limits,
) -> list[Rival]:
    """Published networks that a user names.

    Raises:
        NasError: If there is no such network, it cannot take the images, or it has more parameters
            or MACs than the limits allow (exit code 2).
    """
    found = []
    for name in names:
        if name not in REFERENCES:
            raise usage_error(f"--references: {unknown(name, REFERENCES)}")
        try:
            one = rival(name, input_shape, num_classes)
        except ValueError as error:
            raise usage_error(f"--references {name}: {error}") from error
        if limits.excess(one.graph.params, one.graph.macs) > 1:
            raise usage_error(
                f"--references {name} must be within the limits, got {one.cost}; leave it out"
            )
        found.append(one)
    return found


def fitting(
    input_shape: tuple[int, int, int], num_classes: int, limits: Limits
) -> dict[str, list[Rival]]:
    """By family, the published networks that can take the images and are within the limits.

    Latency is not looked at. Largest MACs first.
    """
    found: dict[str, list[Rival]] = {}
    for family, members in FAMILIES.items():
        for name in members:
            try:
                one = rival(name, input_shape, num_classes)
            except ValueError:
                continue
            if limits.excess(one.graph.params, one.graph.macs) <= 1:
                found.setdefault(family, []).append(one)
    return {family: sorted(some, key=lambda one: -one.graph.macs) for family, some in found.items()}


def most_macs(macs: int) -> int:
    """Most MACs of a network that may be as fast as a winner of so many."""
    return max(MOST_TIMES * macs, FEW_MACS)


def fast_enough(
    families: Mapping[str, Sequence[Rival]],
    *,
    most: int,
    limit_ms: float,
    measure: Callable[[Graph], float],
) -> list[tuple[Rival, float]]:
    """Of each family the largest network that is within a latency, and of these the largest few.

    Args:
        families: From ``fitting``.
        most: MACs above which a network is not even measured.
        limit_ms: The highest latency.
        measure: Milliseconds of a network.

    Returns:
        At most ``RIVALS`` of them with their latencies, the largest MACs first.
    """
    found = []
    for members in families.values():
        timed = ((one, measure(one.graph)) for one in members if one.graph.macs <= most)
        fast = next(((one, ms) for one, ms in timed if ms <= limit_ms), None)
        if fast is not None:
            found.append(fast)
    return sorted(found, key=lambda pair: -pair[0].graph.macs)[:RIVALS]


def chosen_references(
    configuration: Configuration, images: ImageData, limits: Limits, *, trained: bool
) -> References:
    """The published networks that a winner is to be compared with, by names that are sound.

    Args:
        configuration: What the user asks for, or an earlier session has settled.
        images: The data.
        limits: Of the run.
        trained: Whether the winner is trained to the end.

    Raises:
        NasError: If a name cannot be used, or the winner is not trained to the end (exit code 2).
    """
    wanted = configuration.references
    if wanted is None and trained:
        return AUTO
    if wanted is None or wanted == OFF:
        return OFF
    if not trained:
        raise usage_error(
            "--references needs the final training of a winner; leave it out with "
            "--final-training off and with several objectives"
        )
    if wanted == AUTO:
        return AUTO
    given = (wanted,) if isinstance(wanted, str) else wanted
    sound = isinstance(given, Sequence) and all(isinstance(one, str) and one for one in given)
    if not sound or not given or {AUTO, OFF} & set(given):
        raise usage_error("--references must be auto, off, or names with commas between them")
    names = tuple(dict.fromkeys(given))
    named_rivals(names, images.input_shape, len(images.classes), limits)
    return names
