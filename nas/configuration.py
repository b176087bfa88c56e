"""What a user asks for, and what an earlier session of the run has made of it."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from estimators.estimator import Estimator
from nas import plugins
from nas.construction import target_of
from nas.datasets import Data, is_path
from nas.errors import NasError, usage_error
from nas.limits import Limits
from nas.plan import LEAST_AUDITED
from nas.run_folder import AuditSize, DataOptions, RunRecord
from search_spaces.space import SearchSpace
from search_spaces.strict_json import MAX_INT, dumps
from strategies.strategy import Strategy

# Fields of a run that are objects, and where their names are found.
_NAMED: Mapping[str, str] = {
    "space": "search_spaces",
    "strategy": "strategies",
    "estimator": "estimators",
    "data": "datasets",
}


@final
@dataclass(frozen=True, slots=True)
class Configuration:
    """What a user asks for; ``nas.search`` says what each value means.

    ``strategy`` is None for the default one, which depends on the number of objectives.
    ``derived`` are options of the strategy as an earlier session resolved them; they stay when the
    budget changes. So do options of the estimator that the user left to it (``resolved``), the
    ``scales`` of several objectives, the ``rungs`` of halving, the ``recipe`` of the final training
    and the ``ways`` that were timed, which are None before, and the recipes of scores of untrained
    networks, by name (``untrained``).
    """

    space: str | type[SearchSpace] = "mbconv"
    budget: int = 100
    data: Data = "digits"
    data_options: DataOptions = field(default_factory=DataOptions)
    strategy: str | type[Strategy] | None = None
    estimator: str | type[Estimator] = "training"
    seed: int = 0
    device: str = "auto"
    objective: str | tuple[str, ...] = "accuracy"
    fidelity: float = 1.0
    final_training: str | None = None
    references: str | Sequence[str] | None = None
    audit: AuditSize | None = None
    max_params: int | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    derived: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    halving: int | None = None
    rungs: tuple[float, ...] = ()
    ways: Mapping[str, str] | None = None
    screen: str | None = None
    screen_of: int | None = None
    features: tuple[str, ...] = ()
    untrained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    resolved: Mapping[str, float] = field(default_factory=dict)

    @property
    def objective_names(self) -> tuple[str, ...]:
        """All objectives by name; ``objective`` is one or several."""
        return (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)

    def checked_settings(self) -> dict[str, dict[str, Any]]:
        """The options of each part, an empty mapping where there are none.

        Raises:
            NasError: If there is no such part, or a value is none that JSON holds (exit code 2).
        """
        settings: dict[str, dict[str, Any]] = {
            part: {} for part in (*plugins.PARTS.values(), "train")
        }
        for part, options in self.settings.items():
            if part not in settings:
                raise usage_error(f"settings: {plugins.unknown(part, settings)}")
            settings[part] = dict(options)
        try:
            dumps(settings)
        except (TypeError, ValueError) as error:
            raise usage_error(f"settings must hold plain values: {error}") from error
        return settings

    def checked_numbers(self) -> dict[str, Any]:
        """Budget, seed and fidelity, by the names that a ``Plan`` has for them.

        Raises:
            NasError: If one is out of range (exit code 2).
        """
        if not 0 < self.fidelity <= 1:
            raise usage_error(f"--fidelity must be in (0, 1], got {self.fidelity}")
        return {
            "budget": whole_number("--budget", self.budget, least=1),
            "seed": whole_number("--seed", self.seed, least=0),
            "fidelity": float(self.fidelity),
        }

    def check_audit(self) -> None:
        """Refuse an audit of too few children, or on no seed.

        Raises:
            NasError: If that is asked for (exit code 2).
        """
        if self.audit is not None:
            whole_number("--audit-children", self.audit.children, least=LEAST_AUDITED)
            whole_number("--audit-seeds", self.audit.seeds, least=1)

    def limits(self) -> Limits:
        """What a network may cost.

        Raises:
            NasError: If a limit is out of range (exit code 2).
        """
        params, macs, latency = self.max_params, self.max_macs, self.max_latency_ms
        try:
            return Limits(
                None if params is None else whole_number("--max-params", params, least=1),
                None if macs is None else whole_number("--max-macs", macs, least=1),
                None if latency is None else float(latency),
            )
        except ValueError as error:
            raise usage_error(f"limits: {error}") from error


def whole_number(flag: str, value: int, *, least: int) -> int:
    """A whole number that JSON can hold, also from a numpy scalar.

    Args:
        flag: What the number is of, for the error.
        value: What the user gave.
        least: The smallest that will do.

    Raises:
        NasError: If it is another (exit code 2).
    """
    try:
        number = operator.index(value)
    except TypeError as error:
        raise usage_error(f"{flag} must be a whole number, got {value!r:.80}") from error
    if not least <= number <= MAX_INT:
        limit = f"at least {least}" if number < least else "at most 2**53"
        raise usage_error(f"{flag} must be {limit}, got {number}")
    return number


def of_run(
    run: RunRecord,
    *,
    budget: int,
    given: Mapping[str, Any],
    data_dir: str | None = None,
    download: bool = False,
) -> Configuration:
    """The configuration of a run that is to go on.

    Args:
        run: Its ``run.json``.
        budget: Trials to start, in all.
        given: Objects by the name of their field, for what has no name to be found by: a class
            of the user's own, arrays, or data that were moved.
        data_dir: Where published files lie now; None for where they were.
        download: Whether to fetch those that are not there.

    Raises:
        NasError: If a name in the record is unknown and nothing was given (exit code 4).
    """
    parts: dict[str, Any] = {}
    for field_name, kind in _NAMED.items():
        name = getattr(run, field_name)
        parts[field_name] = name if given.get(field_name) is None else given[field_name]
        if field_name == "data" and is_path(parts[field_name]):
            continue
        if isinstance(parts[field_name], str) and parts[field_name] not in plugins.names(kind):
            raise NasError(
                f"run: its {field_name} {name!r} has no name here; install what defines it, or "
                f"hand it over in Python: nas.resume(folder, {field_name}=...)",
                exit_code=4,
            )
    untrained = dict(run.derived.features)
    if run.screen is not None:
        untrained[run.screen] = run.derived.screen
    moved = {"data_dir": run.data_options.data_dir if data_dir is None else data_dir}
    return Configuration(
        **parts,
        data_options=run.data_options.model_copy(update={**moved, "download": download}),
        budget=budget,
        seed=run.seed,
        device=run.device,
        objective=(run.verdict or run.objective, *(one.metric for one in run.beside)),
        fidelity=run.fidelity,
        final_training=run.final_training,
        references=run.references,
        audit=run.audit,
        max_params=run.max_params,
        max_macs=run.max_macs,
        max_latency_ms=run.max_latency_ms,
        settings=run.settings.model_dump(),
        derived=run.derived.strategy,
        scales=run.derived.scales,
        recipe=run.derived.train,
        halving=run.halving,
        rungs=run.derived.rungs,
        ways=run.derived.ways,
        screen=run.screen,
        screen_of=run.screen_of,
        features=run.features,
        untrained=untrained,
        resolved=_resolved(parts["estimator"], run.derived.estimator),
    )


def _resolved(estimator: str | type[Estimator], recipe: Mapping[str, Any]) -> dict[str, float]:
    """What options that are None by default were resolved to, by a recipe that names them."""
    options = plugins.options(target_of("estimators", estimator))
    return {
        name: recipe[name]
        for name, option in options.items()
        if option.default is None and type(recipe.get(name)) in (int, float)
    }
