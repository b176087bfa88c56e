"""What is audited: estimators by name, with options and a fidelity of their own."""

from dataclasses import dataclass
from typing import Any, Self, final

from estimators.estimator import STAND_IN, Estimator
from estimators.proxy import SCORES
from nas import plugins
from nas.construction import make_estimator, prepare_estimator
from nas.errors import usage_error
from nas.limits import Objective
from nas.preparation import Prepared
from nas.ways import settled_ways
from search_spaces.strict_json import JsonError, dumps, loads

COSTS = ("params", "macs")  # known without any estimator: what every other one has to beat
SHORT = "training@0.25"
BUILT_IN = frozenset({"training", "proxy"})


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """An estimator as it is audited.

    Attributes:
        label: What it is called, as a user would write it.
        estimator: Prepared with the run's data.
        fidelity: What it is asked for.
        objective: What its scores mean.
        recipe: All that scores depend on beside network, fidelity and seed.
    """

    label: str
    estimator: Estimator
    fidelity: float
    objective: Objective
    recipe: str

    @classmethod
    def of(cls, label: str, estimator: Estimator, prepared: Prepared, *, fidelity: float) -> Self:
        """A prepared estimator; judged by what the run asks for, or by what stands in for it."""
        metrics, metric = prepared.metrics(estimator), prepared.plan.verdict.metric
        metric = STAND_IN if STAND_IN in metrics else metric
        objective = Objective(metric, metrics[metric].direction)
        return cls(label, estimator, fidelity, objective, dumps(dict(estimator.recipe)))


def default_labels(prepared: Prepared) -> list[str]:
    """Every proxy, a short training, and the run's own estimator if it is another one."""
    proxies = [f"proxy:{score}" for score in SCORES if score not in COSTS]
    own = prepared.run.estimator
    return [*proxies, SHORT, *([] if own in BUILT_IN else [own])]


def subject(label: str, prepared: Prepared) -> Subject:
    """The estimator that a label names.

    Args:
        label: ``NAME[:OPTION=VALUE:...][@FIDELITY]``; ``proxy:naswot`` is short for
            ``proxy:score=naswot``. The run's own estimator, by name alone, is the run's itself.
        prepared: The run.

    Raises:
        NasError: If it names nothing, or an option cannot be used (exit code 2).
    """
    run, estimator = prepared.run, prepared.estimator
    text, at, share = label.partition("@")
    if text != run.estimator:  # which may be module:class
        name, *settings = text.split(":")
        plugins.load("estimators", name)
        options = dict(_option(setting, label) for setting in settings)
        estimator = make_estimator(name, options)
        prepare_estimator(
            estimator, prepared.images, prepared.task, children=prepared.children, seed=run.seed
        )
        settled_ways(  # as the run trains
            *(estimator, run.derived.ways),
            children=prepared.children,
            seed=run.seed,
            device=prepared.plan.device,
        )
    fidelity = _fidelity(share, label) if at else 1.0
    return Subject.of(label, estimator, prepared, fidelity=fidelity)


def _option(setting: str, label: str) -> tuple[str, Any]:
    option, equals, value = setting.partition("=")
    if not option or (equals and not value):
        raise usage_error(f"--estimators: must be NAME:OPTION=VALUE, got {label[:80]!r}")
    if not equals:
        return "score", option
    try:
        return option, loads(value)
    except JsonError:
        return option, value


def _fidelity(text: str, label: str) -> float:
    try:
        fidelity = float(text)
    except ValueError:
        fidelity = 0.0
    if not 0 < fidelity <= 1:
        raise usage_error(f"--estimators: fidelity must be in (0, 1], got {label[:80]!r}")
    return fidelity
