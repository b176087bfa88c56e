"""Trainings beside a search's own: whose they are, and what they leave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from nas.journal import Event

# Readings of a trial beside its fresh scores, by number: its full training, and a short one for
# want of any weights.
FINAL_TRAINING, WEIGHTS = -1, -2
RIVAL_SCORE = 0  # of a published network: its training as a child
FULL = "full training"  # what the recipe of the former calls it
Who = int | str  # a trial by its ordinal, or a published network by its name


@final
@dataclass(frozen=True, slots=True)
class Kept:
    """Weights that were written into the run folder.

    Attributes:
        file: Path from the run folder.
        sha256: Of its content.
    """

    file: str
    sha256: str

    def document(self) -> dict[str, str]:
        """What an event says of them."""
        return {"file": self.file, "sha256": self.sha256}


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """A finished training beside the search: a fresh score, or the final training.

    Attributes:
        metrics: Every metric of the task; empty if it failed.
        weights: What it left; None if the estimator trains nothing.
        failed: The cause if it failed, else empty.
        recipe: Of a final training: how it was done.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    weights: Kept | None = None
    failed: str = ""
    recipe: dict[str, float | int | str] = field(default_factory=dict)


def who(event: Event) -> Who:
    """What network an event is of."""
    reference: Who | None = event.get("reference")
    return int(event["ordinal"]) if reference is None else reference


def named(network: Who) -> str:
    """What it is called, for the eye."""
    return network if isinstance(network, str) else f"trial {network}"


def of_whom(network: Who) -> dict[str, Who]:
    """What an event says of the network that it is of."""
    return {"reference" if isinstance(network, str) else "ordinal": network}


def reading(event: Event) -> Reading:
    """What a training has left, by its event."""
    recipe = dict(event.get("recipe", {}))
    return Reading(dict(event["metrics"]), kept_of(event.get("weights")), event["cause"], recipe)


def kept_of(document: Mapping[str, str] | None) -> Kept | None:
    """The weights of which an event has the ``Kept.document``."""
    return None if document is None else Kept(document["file"], document["sha256"])
