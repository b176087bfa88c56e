"""Which of several proposals is asked for: the one whose untrained network scores best."""

from dataclasses import dataclass
from typing import Any, final

from estimators.estimator import Estimator
from estimators.proxy import SCORES
from nas.configuration import Configuration, whole_number
from nas.errors import usage_error
from nas.untrained import UntrainedScore, check_score
from strategies.grid import GridSearch

LOOKED_AT = 8  # proposals before each ask, unless the user says otherwise


@final
@dataclass(frozen=True, slots=True)
class Screen:
    """How the most promising one of several proposals is chosen.

    Attributes:
        score: Of untrained networks.
        looked_at: Proposals that are drawn for each ask, at least 2.
    """

    score: UntrainedScore
    looked_at: int


def proposals_looked_at(
    configuration: Configuration, estimator: Estimator, strategy: Any, *, objectives: int
) -> int | None:
    """From how many proposals a screen chooses; None without one.

    Args:
        configuration: What the user asks for.
        estimator: Of the run.
        strategy: What makes it, mostly its class.
        objectives: How many there are.

    Raises:
        NasError: If there cannot be a screen (exit code 2).
    """
    score, most = configuration.screen, configuration.screen_of
    if score is None:
        if most is not None:
            raise usage_error("--screen-of needs --screen")
        return None
    check_score("--screen", score, SCORES, estimator=estimator)
    _check_screen(strategy, objectives=objectives)
    return whole_number("--screen-of", LOOKED_AT if most is None else most, least=2)


def _check_screen(strategy: Any, *, objectives: int) -> None:
    """Refuse a screen for a strategy that it means nothing to.

    Args:
        strategy: What makes it, mostly its class.
        objectives: How many there are.

    Raises:
        NasError: If a screen ranks by less than is asked for, or the strategy has nothing to
            choose from (exit code 2).
    """
    if objectives > 1:  # larger networks score better, and the cheap end of the front starves
        raise usage_error(f"--screen ranks by one --objective, got {objectives}; leave one out")
    if isinstance(strategy, type) and issubclass(strategy, GridSearch):
        raise usage_error(
            "--screen needs several proposals to choose from, and grid has one at a time; "
            "leave it out, or take --strategy random"
        )
