"""The run as an Optuna study in ``study.db``, for optuna-dashboard, Optuna's plots and SQL.

A projection of the record: written after it, in batches, never read back, and written anew
whenever it differs. So it needs no durability of its own (SQLite in WAL mode with ``synchronous``
NORMAL), and no fault of it may end a search.

Optuna's interface writes a trial of twenty decisions in tens of milliseconds, one transaction for
each attribute; here a batch of them is a few bulk inserts into Optuna's own tables, about 0.15
milliseconds per trial. The tables are those of Optuna 5, on which this project depends.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, final

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nas.errors import usage_error
from nas.limits import Objective
from nas.study_rows import STATES, Row, StudyRows
from nas.terminal import say
from nas.trial import Trial
from search_spaces.genome import Genome
from strategies.optuna_study import silent

BUSY_SECONDS = 1.0  # to wait for a reader during the search
LAST_BUSY_SECONDS = 10.0  # and at its end
_FAULTS = (
    SQLAlchemyError,
    OptunaError,
    sqlite3.Error,
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
)
_METRIC_NAMES = "study:metric_names"  # where ``Study.set_metric_names`` keeps them
_STUDIES: Any = models.StudyModel.__table__
_TRIALS: Any = models.TrialModel.__table__
_PARAMS: Any = models.TrialParamModel.__table__
_ATTRIBUTES: Any = models.TrialUserAttributeModel.__table__
_VALUES: Any = models.TrialValueModel.__table__
_REPORTS: Any = models.TrialIntermediateValueModel.__table__
_OF_TRIALS: Sequence[Any] = (
    _PARAMS,
    _ATTRIBUTES,
    _VALUES,
    models.TrialSystemAttributeModel.__table__,
    _REPORTS,
    models.TrialHeartbeatModel.__table__,
)
_OF_STUDIES: Sequence[Any] = (  # trials first, then what they hang on
    _TRIALS,
    models.StudyDirectionModel.__table__,
    models.StudyUserAttributeModel.__table__,
    models.StudySystemAttributeModel.__table__,
)


@final
class StudyMirror:
    """Keeps ``study.db`` like the trials of a run; the number of a trial is its ordinal.

    Args:
        path: The database, made where there is none. What is no database of Optuna's, such as
            that of another program, is moved aside.
        name: Name of the study. One that is alone in the database and has the same trials is
            renamed, as its folder was.
        genome: Whose decisions are the parameters.
        objectives: Whose values a complete trial has, in their order.
    """

    def __init__(
        self, path: Path, *, name: str, genome: Genome, objectives: Sequence[Objective]
    ) -> None:
        self._path = path
        self._name = name
        self._metrics = [one.metric for one in objectives]
        self._directions = [one.direction for one in objectives]
        self._rows = StudyRows(genome, self._metrics)
        self._storage: RDBStorage | None = None
        self._study_id = 0
        self._first = 1  # trial_id of number 0
        self._states: list[str] = []  # of the trials as they were written
        self._reports: list[int] = []  # how many intermediate values each had then
        self._record: Sequence[Trial] = ()
        self._trials: Sequence[Trial] = ()  # as they are shown
        self._quiet = False

    def sync(self, trials: Sequence[Trial]) -> None:
        """Write what is new among the trials of the run, all of them, in order of ordinals.

        Where the database is locked it stays behind until the next call; any other fault is said
        once and ends the mirror, not the search.
        """
        self._record = trials
        if not self._quiet:
            self._attempt(BUSY_SECONDS)

    def close(self, *, hurry: bool = False) -> None:
        """Write what is left, and let go of the database.

        Args:
            hurry: Whether to wait for a reader no longer than ``sync`` does.
        """
        patience = BUSY_SECONDS if hurry else LAST_BUSY_SECONDS
        if not self._quiet and not self._attempt(patience):
            say(f"{self._path} is locked and lags behind the record; nas resume brings it up")
        self._release()

    def _attempt(self, patience: float) -> bool:
        """Write what is new; whether that was possible."""
        try:
            self._write(patience)
        except _FAULTS as error:
            self._release()
            if _is_locked(error):
                return False
            say(f"{self._path} is not kept any more: {_line(error)}; the record is whole")
            self._quiet = True
        return True

    def _write(self, patience: float) -> None:
        self._trials = [  # what is paused may go on
            replace(trial, state="running") if trial.state == "paused" else trial
            for trial in self._record
        ]
        if self._storage is not None and not self._path.is_file():
            self._release()  # somebody has taken it away
        if self._storage is None:
            self._open(patience)
        changed = [
            trial
            for number, trial in enumerate(self._trials)
            if number >= len(self._states)
            or self._states[number] != trial.state
            or self._reports[number] != len(trial.reports)
        ]
        if not changed:
            return
        try:
            self._insert(changed)
        except _Differs:
            self._begin_anew()
            self._insert(self._trials)
        except IntegrityError:  # somebody else has written here
            self._begin_anew()
            self._insert(self._trials)

    def _open(self, patience: float) -> None:
        """Open the database, and see what of it can stay."""
        was_there = self._path.is_file() and self._path.stat().st_size > 0
        try:
            self._storage = self._connected(patience)
        except _FAULTS as error:
            if _is_locked(error) or not was_there:
                raise
            aside = _move_aside(self._path)
            say(f"{self._path} was no study of this run; it is now {aside.name}")
            self._storage = self._connected(patience)
        self._states, self._reports = [], []
        with self._storage.engine.connect() as connection:
            rows = connection.execute(select(_STUDIES.c.study_id, _STUDIES.c.study_name)).all()
        mine = [row for row in rows if row.study_name == self._name]
        others = rows if len(rows) == 1 else []
        for row in mine or others:
            if self._agrees(row.study_id):
                self._study_id = row.study_id
                self._call_by_name()
                return
        self._begin_anew()

    def _call_by_name(self) -> None:
        """Give a study of the same trials the run's name: the folder was renamed."""
        assert self._storage is not None  # noqa: S101 - opened
        mine = update(_STUDIES).where(_STUDIES.c.study_id == self._study_id)
        with self._storage.engine.begin() as connection:
            connection.execute(mine.values(study_name=self._name))

    def _connected(self, patience: float) -> RDBStorage:
        if _is_of_others(self._path):
            raise sqlite3.DatabaseError("database of another program")
        # A connection that is handed over needs no URL, which some paths cannot be written in.
        arguments = {"creator": lambda: _connect(self._path, patience), "poolclass": NullPool}
        with silent():
            return RDBStorage("sqlite://", engine_kwargs=arguments)

    def _agrees(self, study_id: int) -> bool:
        """Whether the study is this run's, as it was some time ago; notes what it has then."""
        assert self._storage is not None  # noqa: S101 - opened
        names = self._storage.get_study_system_attrs(study_id).get(_METRIC_NAMES)
        directions = [one.name.lower() for one in self._storage.get_study_directions(study_id)]
        may_go_on = any(trial.reports for trial in self._trials)  # though stopped at a rung
        if names != self._metrics or directions != self._directions or may_go_on:
            return False
        mine = _TRIALS.c.study_id == study_id
        query = select(_TRIALS.c.trial_id, _TRIALS.c.number, _TRIALS.c.state).where(mine)
        of_trials = select(_VALUES.c.trial_id, _VALUES.c.value).join(
            _TRIALS, _VALUES.c.trial_id == _TRIALS.c.trial_id
        )
        values: dict[int, list[float]] = {}
        try:
            with self._storage.engine.connect() as connection:
                rows = connection.execute(query.order_by(_TRIALS.c.number)).all()
                in_order = of_trials.where(mine).order_by(_VALUES.c.objective)
                for row in connection.execute(in_order):
                    values.setdefault(row.trial_id, []).append(row.value)
        except LookupError:  # a state that there is not
            return False
        if len(rows) > len(self._trials):
            return False
        first = rows[0].trial_id if rows else self._next_id()
        states: list[str] = []
        for row, trial in zip(rows, self._trials, strict=False):
            running = row.state is TrialState.RUNNING
            found = values.get(row.trial_id, [])
            same = row.state is STATES[trial.state] and found == self._rows.values(trial)
            if row.trial_id != first + trial.ordinal or row.number != trial.ordinal:
                return False
            if not running and not same:
                return False
            states.append("running" if running else trial.state)
        self._states, self._first, self._reports = states, first, [0] * len(states)
        return True

    def _begin_anew(self) -> None:
        """An empty study in place of whatever has its name."""
        storage = self._storage
        assert storage is not None  # noqa: S101 - opened
        with storage.engine.begin() as connection:  # Optuna's way takes milliseconds per trial
            mine = select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == self._name)
            trials = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id.in_(mine))
            for table in _OF_TRIALS:
                connection.execute(delete(table).where(table.c.trial_id.in_(trials)))
            for table in (*_OF_STUDIES, _STUDIES):
                connection.execute(delete(table).where(table.c.study_id.in_(mine)))
        directions = [StudyDirection[one.upper()] for one in self._directions]
        with silent():
            self._study_id = storage.create_new_study(directions, self._name)
        storage.set_study_system_attr(self._study_id, _METRIC_NAMES, self._metrics)
        self._first, self._states, self._reports = self._next_id(), [], []

    def _next_id(self) -> int:
        """A trial_id above all there are, also in rows that lost their trial."""
        assert self._storage is not None  # noqa: S101 - opened
        with self._storage.engine.connect() as connection:
            last = [
                connection.execute(select(func.max(table.c.trial_id))).scalar()
                for table in (_TRIALS, _PARAMS, _ATTRIBUTES, _VALUES)
            ]
        return max((0 if one is None else int(one)) for one in last) + 1

    def _insert(self, trials: Sequence[Trial]) -> None:
        """Write trials, new ones and those that are over now, in one transaction.

        Raises:
            _Differs: If the study or a trial of it has gone.
        """
        assert self._storage is not None  # noqa: S101 - opened
        known = len(self._states)
        new = [trial for trial in trials if trial.ordinal >= known]
        over = [trial for trial in trials if trial.ordinal < known]
        with self._storage.engine.begin() as connection:
            mine = select(_STUDIES.c.study_id).where(_STUDIES.c.study_id == self._study_id)
            if connection.execute(mine).first() is None:
                raise _Differs
            rows, ended = self._rows, [one for one in (*new, *over) if one.state != "running"]
            of_trial = partial(rows.of_trial, study_id=self._study_id)
            attributes = self._all(rows.of_first_attributes, new)
            attributes += self._all(rows.of_last_attributes, ended)
            _many(connection, _TRIALS, [of_trial(one, self._number(one)) for one in new])
            _many(connection, _PARAMS, self._all(rows.of_params, new))
            _many(connection, _ATTRIBUTES, attributes)
            _many(connection, _VALUES, self._all(rows.of_values, ended))
            _many(connection, _REPORTS, self._all(self._new_reports, trials))
            self._end(connection, [trial for trial in over if trial.state != "running"])
        self._states += [trial.state for trial in new]
        self._reports += [len(trial.reports) for trial in new]
        for trial in over:
            self._states[trial.ordinal] = trial.state
            self._reports[trial.ordinal] = len(trial.reports)

    def _end(self, connection: Connection, trials: Sequence[Trial]) -> None:
        if not trials:
            return
        statement = (
            update(_TRIALS)
            .where(_TRIALS.c.trial_id == bindparam("which"))
            .values(state=bindparam("end"), datetime_complete=bindparam("at"))
        )
        rows = [self._rows.of_end(one, self._number(one)) for one in trials]
        if connection.execute(statement, rows).rowcount not in {-1, len(rows)}:
            raise _Differs

    def _number(self, trial: Trial) -> int:
        """Its trial_id."""
        return self._first + trial.ordinal

    def _all(
        self, rows: Callable[[Trial, int], Iterable[Row]], trials: Iterable[Trial]
    ) -> list[Row]:
        """The rows that several trials have in a table."""
        return [row for trial in trials for row in rows(trial, self._number(trial))]

    def _new_reports(self, trial: Trial, trial_id: int) -> Iterator[Row]:
        """Its intermediate values that are not written yet."""
        known = self._reports[trial.ordinal] if trial.ordinal < len(self._reports) else 0
        return self._rows.of_reports(trial, trial_id, known=known)

    def _release(self) -> None:
        if self._storage is not None:
            with suppress(*_FAULTS):
                self._storage.remove_session()
                self._storage.engine.dispose()
            self._storage = None


class _Differs(Exception):  # noqa: N818 - says what was found
    """The database has not what was written to it."""


def load_study(path: Path, name: str) -> optuna.Study:
    """The study of that name in a file, or the only one there, for reading.

    Raises:
        NasError: If there is none (exit code 2).
    """
    if not path.is_file():
        raise usage_error(f"study: there is no {path}")
    arguments = {"creator": lambda: _connect(path, BUSY_SECONDS), "poolclass": NullPool}
    try:
        with silent():
            storage = RDBStorage("sqlite://", engine_kwargs=arguments)
            names = [study.study_name for study in storage.get_all_studies()]
            alone = names[0] if len(names) == 1 else name
            return optuna.load_study(study_name=alone, storage=storage)
    except _FAULTS as error:
        raise usage_error(f"study: cannot read {path}: {_line(error)}") from error


def _many(connection: Connection, table: Any, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _is_of_others(path: Path) -> bool:
    """Whether a file is a database, but none of Optuna's."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    place = f"{path.absolute().as_uri()}?mode=ro"  # nothing of it is changed
    with closing(sqlite3.connect(place, uri=True, timeout=BUSY_SECONDS)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    known = {*models.BaseModel.metadata.tables, "alembic_version", "sqlite_sequence"}
    return not {name for (name,) in rows} <= known


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=patience, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _move_aside(path: Path) -> Path:
    """Give a file and what belongs to it the first free name ``<name>.bad-<n>``."""
    number = 1
    while (aside := path.with_name(f"{path.name}.bad-{number}")).exists():
        number += 1
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + tail).rename(aside.with_name(aside.name + tail))
    return aside


def _is_locked(error: BaseException) -> bool:
    text = f"{error} {error.__cause__}"
    return "database is locked" in text or "database table is locked" in text


def _line(error: BaseException) -> str:
    """The first line of what happened at the bottom."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
