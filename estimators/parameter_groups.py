"""Which parameters of a network are trained, how fast, and with which decay."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from estimators.full_recipe import FullRecipe

# Pairs of a prefix of parameter names and what the learning rate is multiplied by for them.
Factors = Sequence[tuple[str, float]]


def factor_of(name: str, factors: Factors) -> float:
    """What the learning rate of a parameter is multiplied by: that of the longest prefix, or 1.

    Args:
        name: Of a parameter or a module, such as ``stages.1.0.expand_conv.weight``.
        factors: See ``FullTraining``.
    """
    matching = [(len(prefix), factor) for prefix, factor in factors if _is_below(name, prefix)]
    return max(matching)[1] if matching else 1.0


def check_factors(model: nn.Module, factors: Factors) -> None:
    """Check prefixes and factors against a network.

    Raises:
        ValueError: If a factor is below 0, a prefix is given twice or is of no parameter, or no
            parameter is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    prefixes = [prefix for prefix, _ in factors]
    for prefix, factor in factors:
        if not 0 <= factor < float("inf"):
            raise ValueError(f"factor of {prefix} must be at least 0 and finite, got {factor}")
        if prefixes.count(prefix) > 1:
            raise ValueError(f"factors must name each prefix once, got {prefix} twice")
        if not any(_is_below(name, prefix) for name in names):
            raise ValueError(f"factors must be of parameters of the network, got {prefix!r}")
    if all(factor_of(name, factors) == 0 for name in names):
        raise ValueError("factors must leave a parameter to train, got 0 for all of them")


def freeze(model: nn.Module, factors: Factors) -> frozenset[str]:
    """Take parameters of factor 0 out of the training.

    Returns:
        Names of the batch norms below prefixes of factor 0: they are to stay in eval mode, so that
        their statistics stay as they are.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(factor_of(name, factors) > 0)
    return frozenset(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and factor_of(name, factors) == 0
    )


def groups(model: nn.Module, recipe: FullRecipe, factors: Factors) -> list[dict[str, Any]]:
    """Groups for an optimizer, one for each factor and whether weights decay.

    Biases and norms have no decay. Each group has its ``factor``; the learning rate is that of the
    recipe times the factor.
    """
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            found.setdefault((factor_of(name, factors), decay), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate * factor,
            "weight_decay": decay,
            "factor": factor,
        }
        for (factor, decay), parameters in found.items()
    ]


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
