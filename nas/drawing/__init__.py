"""Drawings of networks: stages on one page, with each distinct block as a small graph.

``contents`` reads what is shown off the graph, ``layered`` places the boxes of a block,
``stages`` and ``cells`` paint, ``svg`` writes. Nothing outside this package is needed.
"""

from nas.drawing.page import draw

__all__ = ["draw"]
