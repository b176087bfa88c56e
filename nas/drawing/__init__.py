"""Drawings of networks: stages on one page, with each distinct block as a small graph.

``contents`` and ``figures`` read what is shown off the graph, ``layered`` places the boxes of a
block, ``stages`` and ``cells`` paint, ``page`` puts them together, ``svg`` writes. No program or
package for drawing is needed.
"""

from nas.drawing.page import draw

__all__ = ["draw"]
