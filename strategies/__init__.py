"""Which child to train next: search strategies, one a file.

``STRATEGIES`` names the built-in ones as ``module:class``, so that listing them imports nothing.
``DEFAULT_STRATEGY`` is the one that a search for one objective takes if none is named, and that the
others are compared with. The contract they share is ``strategies.strategy.Strategy``.
"""

from collections.abc import Mapping

STRATEGIES: Mapping[str, str] = {
    "evolution": "strategies.evolution:Evolution",
    "grid": "strategies.grid:GridSearch",
    "local": "strategies.local:LocalSearch",
    "nsga2": "strategies.nsga2:NSGA2",
    "predictor": "strategies.predictor:Predictor",
    "random": "strategies.random:RandomSearch",
    "reinforce": "strategies.controller:Reinforce",
    "tpe": "strategies.tpe:TPE",
}

# Those that rank by several objectives; the others refuse more than one.
SEVERAL_OBJECTIVES = ("evolution", "grid", "nsga2", "random")

DEFAULT_STRATEGY = "predictor"
DEFAULT_OF_SEVERAL = "evolution"  # with several objectives
