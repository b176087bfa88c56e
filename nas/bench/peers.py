"""Strategies to compare with that no search can take, by name; listing them imports nothing."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nas import plugins

PEERS: Mapping[str, str] = {"optuna-gp": "nas.bench.optuna_gp:OptunaGP"}


def load(name: str) -> Any:
    """The class of a peer, or else of a strategy.

    Raises:
        NasError: If there is neither (exit code 2).
    """
    if name not in PEERS:
        return plugins.load("strategies", name)
    module, _, attribute = PEERS[name].partition(":")
    return getattr(import_module(module), attribute)
