"""Which of several proposals is asked for: the one whose untrained network scores best."""

from dataclasses import dataclass
from typing import Any, final

from nas.errors import usage_error
from nas.untrained import UntrainedScore
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


def check_screen(strategy: Any, *, objectives: int) -> None:
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
