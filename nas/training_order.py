"""What ``nas train`` is to do, checked before anything is written."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from estimators.data import ImageData
from estimators.full_recipe import FullRecipe, default_recipe
from nas.configuration import whole_number
from nas.construction import check_recipe_options
from nas.errors import usage_error
from nas.loading import find
from search_spaces import graph_json
from search_spaces.graph import Graph
from search_spaces.reference import REFERENCES
from search_spaces.strict_json import dumps


@final
@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained, on what, how.

    Attributes:
        name: What the user called the network.
        graph: It.
        architecture: The document of its readable form, if there is one.
        images: The data.
        seed: Decides every random choice.
        device: A torch device.
        settings: Options of ``FullRecipe`` that the user set.
        hours: Time that the epochs are to fill; None for the recipe's epochs.
    """

    name: str
    graph: Graph
    architecture: Mapping[str, Any] | None
    images: ImageData
    seed: int
    device: str
    settings: Mapping[str, Any]
    hours: float | None

    def document(self) -> dict[str, Any]:
        """What decides the result, as ``training.json`` has it; a folder is of one such document.

        The recipe's epochs are not in it where they follow from the time: they are written down
        once.
        """
        graph = dumps(graph_json.to_document(self.graph))
        return {
            "network": hashlib.sha256(graph.encode()).hexdigest(),
            "data_fingerprint": self.images.fingerprint,
            "seed": self.seed,
            "device": self.device,
            "hours": self.hours,
            "settings": dict(self.settings),
        }


def order_of(  # noqa: PLR0913 - the options of the command line, by name
    source: str | Path,
    images: ImageData,
    *,
    seed: int,
    device: str,
    settings: Mapping[str, Any],
    hours: float | None,
    trial: int | None = None,
) -> Order:
    """What to train, checked before anything is written.

    Args:
        source: Names the network; a reference is adapted to the images.
        images: What to train on.
        seed: See ``Order``, and so are the rest.
        device: See ``Order``.
        settings: See ``Order``.
        hours: See ``Order``.
        trial: Which member of the front, of a run for several objectives.

    Raises:
        NasError: If there is no such network, it does not fit the images, or an option cannot be
            (exit code 2).
    """
    seed = whole_number("--seed", seed, least=0)
    recipe_of(images, settings)
    classes = len(images.classes)
    if str(source) in REFERENCES and trial is None:
        named = find(source, input_shape=images.input_shape, num_classes=classes)
    else:
        named = find(source, trial=trial)
    graph = named.winner.graph
    channels = int(graph.input_shape[0])
    if channels != images.input_shape[0] or graph.output_shape != (classes,):
        raise usage_error(
            f"{source} reads {channels} channels and returns {graph.output_shape}; the data have "
            f"{images.input_shape[0]} channels and {classes} classes"
        )
    return Order(
        name=named.name,
        graph=graph,
        architecture=named.winner.architecture,
        images=images,
        seed=seed,
        device=device,
        settings=settings,
        hours=hours,
    )


def recipe_of(images: ImageData, settings: Mapping[str, Any], *, cpus: int = 1) -> FullRecipe:
    """The default recipe for the data and so many CPUs, with a user's options.

    Raises:
        NasError: If an option is unknown, or a value cannot be (exit code 2).
    """
    check_recipe_options(settings)
    try:
        return replace(default_recipe(images, cpus=cpus), **settings)
    except ValueError as error:
        raise usage_error(f"train: {error}") from error
