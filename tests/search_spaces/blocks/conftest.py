"""One block as a network of its own."""

from collections.abc import Callable

import pytest

from search_spaces.graph import Graph
from search_spaces.lowering import BlockSpec, GraphBuilder

Alone = Callable[..., Graph]


def alone_(spec: BlockSpec, channels: int = 6, side: int = 8) -> Graph:
    builder = GraphBuilder((channels, side, side), title="Network")
    return builder.graph(builder.root.block("block", spec, builder.image))


@pytest.fixture(scope="session")
def alone() -> Alone:
    """The network that consists of one block, named ``block``, for square images."""
    return alone_
