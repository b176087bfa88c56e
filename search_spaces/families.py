"""Which parts of a network are of which family of blocks: MBConv, residual, dense, fractal, ...

Families want different recipes, and run at different speeds, also within one network. A family is
that of a block's class, not of a place in the graph: the graph and its hash know nothing of it.
"""

from collections import Counter

from search_spaces.blocks import BLOCKS
from search_spaces.graph import Graph


def families(graph: Graph) -> dict[str, str]:
    """The family of each layer that is of one, by its path.

    It is that of the nearest scope around the layer whose block has a family: squeeze-excite inside
    a dense layer is dense. Stem and head are of no family, nor are blocks that any network may have
    between others, such as pools, nor those of a plug-in.
    """
    by_scope = {"": ""}  # the network itself is no block, whatever its title
    for scope in graph.scopes[1:]:
        block = BLOCKS.get(scope.kind)
        own = "" if block is None else block.family
        by_scope[scope.path] = own or by_scope[scope.path.rpartition(".")[0]]
    return {node.name: by_scope[node.scope] for node in graph.nodes if by_scope[node.scope]}


def family_of(graph: Graph) -> str:
    """The family with most of the network's multiply-accumulates; empty where none has any."""
    return next(iter(shares(graph)), "")


def shares(graph: Graph) -> dict[str, float]:
    """Share of the network's multiply-accumulates in each family, the largest first.

    Shares add up to at most 1: what is left is of no family, such as the stem. Families whose
    layers need none have no share.
    """
    found = families(graph)
    macs: Counter[str] = Counter()
    for node in graph.nodes:
        if node.name in found and node.cost.macs:
            macs[found[node.name]] += node.cost.macs
    return {family: count / graph.macs for family, count in macs.most_common()}
