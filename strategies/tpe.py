"""Optuna's tree-structured Parzen estimator."""

from typing import ClassVar, final

from optuna.samplers import BaseSampler, TPESampler

from strategies.optuna_sampled import OptunaSampled


@final
class TPE(OptunaSampled):
    """Proposes what is likely among the good and unlikely among the bad, for one objective.

    The first ``starts`` asks span cost. Decisions that are open together are modelled
    together (``multivariate`` and ``group``); children that still run count as bad, so that
    several at once do not crowd (``constant_liar``). The rest is as Optuna has it.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (NeurIPS 2011); Watanabe,
    Tree-Structured Parzen Estimator (arXiv:2304.11127), by Optuna's ``TPESampler``. Deviations:
    see ``OptunaSampled``.
    """

    name: ClassVar[str] = "tpe"
    flat: ClassVar[bool] = False

    def _sampler(self, *, starts: int, seed: int) -> BaseSampler:
        return TPESampler(
            n_startup_trials=starts, multivariate=True, group=True, constant_liar=True, seed=seed
        )
