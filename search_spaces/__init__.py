"""What may be searched, and what it means: genomes, architectures, graphs, modules, source.

``SEARCH_SPACES`` names the built-in spaces as ``module:Class`` strings, so that listing them
imports nothing.
"""

from collections.abc import Mapping

SEARCH_SPACES: Mapping[str, str] = {
    "mbconv": "search_spaces.mbconv:MBConvSpace",
    "residual": "search_spaces.residual:ResidualSpace",
    "dense": "search_spaces.dense:DenseSpace",
    "fractal": "search_spaces.fractal:FractalSpace",
    "mixed": "search_spaces.mixed:MixedSpace",
    "cell": "search_spaces.cell:CellSpace",
    "scaling": "search_spaces.scaling:ScalingSpace",
}
