"""What a run times before its first child: in what way to train each family of blocks."""

from collections.abc import Mapping

import torch

from estimators.estimator import Estimator
from estimators.training import Training
from nas.children import Child, Children
from nas.errors import NasError
from nas.plan import PREFLIGHT, rng_of
from search_spaces.families import family_of

SAMPLES = 32  # children, of which the middling one of each family is timed


def settled_ways(
    judge: Estimator,
    known: Mapping[str, str] | None,
    *,
    children: Children,
    seed: int,
    device: str,
) -> dict[str, str]:
    """Let a training know how to compute each family of blocks.

    Args:
        judge: What trains; prepared. Nothing is done to an estimator of another kind.
        known: The ways by family, as an earlier session found them; None to time them now, on a
            device of this machine.
        children: Of the run.
        seed: Of the run.
        device: A torch device.

    Returns:
        The ways by family: those of families that were timed, also where that changed nothing.

    Raises:
        NasError: If what an earlier session found is damaged (exit code 4).
    """
    if not isinstance(judge, Training):
        return {}
    if known is None:
        here = device == "cpu" or (device.startswith("cuda") and torch.cuda.is_available())
        count = SAMPLES if here and judge.is_open else 0
        drawn = children.drawn(rng_of(seed, PREFLIGHT, 4), count)
        known = {
            family: judge.fastest_way(child.graph, device=device)
            for family, child in _middling(drawn).items()
        }
    try:
        judge.settle(known)
    except ValueError as error:
        raise NasError(f"run: derived.ways: {error}", exit_code=4) from error
    return dict(known)


def _middling(children: list[Child]) -> dict[str, Child]:
    """The child of median MACs of each family."""
    found: dict[str, list[Child]] = {}
    for child in sorted(children, key=lambda child: child.macs):
        if family := family_of(child.graph):
            found.setdefault(family, []).append(child)
    return {family: some[len(some) // 2] for family, some in sorted(found.items())}
