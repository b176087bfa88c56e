"""Optuna's Gaussian process: a peer to compare with, too slow for a search."""

from typing import ClassVar, final

from optuna.samplers import BaseSampler, GPSampler

from strategies.optuna_sampled import OptunaSampled


@final
class OptunaGP(OptunaSampled):
    """Proposes the largest expected improvement by Optuna's process, for one objective.

    The first ``starts`` asks span cost. All decisions are categorical to it, with an option more
    for what is not open. An ask takes some tenths of a second, so it lives here and not among the
    strategies.

    Source: Optuna's ``GPSampler``, as it comes. Deviations: see ``OptunaSampled``.
    """

    name: ClassVar[str] = "optuna-gp"
    flat: ClassVar[bool] = True

    def _sampler(self, *, starts: int, seed: int) -> BaseSampler:
        return GPSampler(n_startup_trials=starts, seed=seed)
