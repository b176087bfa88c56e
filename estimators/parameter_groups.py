"""Which parameters of a network are trained, how fast, and with which decay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from search_spaces.families import families
from search_spaces.graph import Graph

# Pairs of a prefix of parameter names and what the learning rate is multiplied by for them.
Factors = Sequence[tuple[str, float]]

LEAST_FACTOR, LARGEST_FACTOR = 0.01, 100.0  # of a family


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFactors:
    """What the learning rate is multiplied by for blocks of one family, from 0.01 to 100.

    Attributes:
        mbconv_rate_factor: Of MBConv blocks.
        residual_rate_factor: Of basic and bottleneck blocks.
        dense_rate_factor: Of dense layers and transitions.
        fractal_rate_factor: Of fractal blocks.
    """

    mbconv_rate_factor: float = 1.0
    residual_rate_factor: float = 1.0
    dense_rate_factor: float = 1.0
    fractal_rate_factor: float = 1.0

    def check_range(self) -> None:
        """Check every factor.

        Raises:
            ValueError: If one is out of range.
        """
        for name in FACTORS_OF_ONE:
            factor = getattr(self, name)
            if not LEAST_FACTOR <= factor <= LARGEST_FACTOR:
                raise ValueError(
                    f"{name} must be from {LEAST_FACTOR:g} to {LARGEST_FACTOR:g}, got {factor}"
                )

    def of_layers(self, graph: Graph) -> dict[str, float]:
        """The factor of each layer whose family has one, by its path; it is 1 for all others."""
        factors = {
            "mbconv": self.mbconv_rate_factor,
            "residual": self.residual_rate_factor,
            "dense": self.dense_rate_factor,
            "fractal": self.fractal_rate_factor,
        }
        found = families(graph)
        return {layer: factors[family] for layer, family in found.items() if family in factors}


# A recipe says nothing of factors of 1: those of before families had any stay as they are.
FACTORS_OF_ONE: Mapping[str, float] = asdict(FamilyFactors())


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


def groups(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    factor: Callable[[str], float],
) -> list[dict[str, Any]]:
    """Groups for an optimizer, one for each factor and whether weights decay, weights first.

    Biases and norms have no decay. Each group has its ``factor``; its learning rate is the given
    one times the factor.

    Args:
        model: What is trained; parameters that need no gradient are left out.
        learning_rate: Peak rate for a factor of 1.
        weight_decay: Of parameters of two or more dimensions.
        factor: What the rate of a parameter is multiplied by, by its name.
    """
    found: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place = parameter.ndim <= 1, factor(name)
            found.setdefault(place, []).append(parameter)
    return [
        {
            "params": found[plain, times],
            "lr": learning_rate * times,
            "weight_decay": 0.0 if plain else weight_decay,
            "factor": times,
        }
        for plain, times in sorted(found)
    ]


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
