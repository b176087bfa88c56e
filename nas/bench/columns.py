"""Columns of a CSV file with roles in its header; mistakes are named with their line."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO, cast, final

from nas.errors import usage_error
from nas.plugins import unknown

MAX_ROWS = 2_000_000
MAX_COLUMNS = 1_000
MAX_LINE = 1 << 20  # characters
_CHUNK = 1 << 16  # rows


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        role: What stands before the colon in the header.
        name: What stands behind it.
        cells: As written, in the order of the rows; row n is line n + 2.
    """

    role: str
    name: str
    cells: Sequence[str]

    @property
    def title(self) -> str:
        """As in the header."""
        return f"{self.role}:{self.name}"


def read_columns(path: Path, roles: Sequence[str]) -> list[Column]:
    """The columns of a file with at least one row.

    Args:
        path: CSV in UTF-8, gzipped where the name ends in ``.gz``; no cell holds a line break.
        roles: Those that a header may give.

    Raises:
        NasError: If the file cannot be read or has another form (exit code 2).
    """
    try:
        with path.open("rb") as raw:
            packed = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            text = io.TextIOWrapper(cast("BinaryIO", packed), encoding="utf-8-sig", newline="")
            return _read(path, text, roles)
    except OSError as error:  # not gzip is one of them
        reason = error.strerror if error.strerror is not None else error
        raise usage_error(f"{path}: cannot be read: {reason}") from error
    except (EOFError, zlib.error) as error:
        raise usage_error(f"{path}: cannot be unpacked: {error}") from error
    except UnicodeDecodeError as error:
        raise usage_error(f"{path}: must be text in UTF-8, got {error.reason}") from error


def _read(path: Path, text: TextIO, roles: Sequence[str]) -> list[Column]:
    reader = csv.reader(_lines(path, text), strict=True)
    try:
        header = next(reader, [])
        titles = _titles(path, header, roles)
        cells: list[list[str]] = [[] for _ in titles]
        rows = 0
        while chunk := list(islice(reader, _CHUNK)):
            _check_shape(path, chunk, rows=rows, columns=len(titles))
            rows += len(chunk)
            if reader.line_num != rows + 1:
                raise usage_error(f"{path}: cells must not hold line breaks, got one")
            if rows > MAX_ROWS:
                raise usage_error(f"{path}: must have at most {MAX_ROWS:,} rows, got more")
            for column, part in zip(cells, zip(*chunk, strict=True), strict=True):
                column.extend(part)
    except csv.Error as error:
        raise usage_error(f"{path}: line {reader.line_num}: {error}") from error
    if not rows:
        raise usage_error(f"{path}: must have a row below its header, got none")
    return [Column(role, name, column) for (role, name), column in zip(titles, cells, strict=True)]


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    number = 1
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise usage_error(
                f"{path}: line {number} must have fewer than {MAX_LINE:,} characters, got more"
            )
        yield line
        number += 1


def _titles(path: Path, header: Sequence[str], roles: Sequence[str]) -> list[tuple[str, str]]:
    if not header:
        raise usage_error(f"{path}: must start with a header, got none")
    if len(header) > MAX_COLUMNS:
        raise usage_error(f"{path}: must have at most {MAX_COLUMNS:,} columns, got {len(header)}")
    titles: list[tuple[str, str]] = []
    for title in header:
        role, colon, name = title.partition(":")
        if not (colon and role and name):
            raise usage_error(f"{path}: header must be of ROLE:NAME, got {title[:40]!r}")
        if role not in roles:
            raise usage_error(f"{path}: header, role of {title[:40]!r}: {unknown(role, roles)}")
        if (role, name) in titles:
            raise usage_error(f"{path}: header must name each column once, got {title!r} twice")
        titles.append((role, name))
    return titles


def _check_shape(path: Path, chunk: Sequence[Sequence[str]], *, rows: int, columns: int) -> None:
    if all(len(row) == columns for row in chunk):
        return
    at, row = next((at, row) for at, row in enumerate(chunk) if len(row) != columns)
    raise usage_error(
        f"{path}: line {rows + at + 2} must have {columns} cells, as the header, got {len(row)}"
    )
