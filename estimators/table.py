"""CSV files of paths and labels."""

import csv
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path

from estimators.examples import Example
from estimators.splits import SPLIT_WORDS

_PATH, _LABEL, _SPLIT, _GROUP = "path", "label", "split", "group"


def list_table(file: Path, group: str | None = None) -> list[Example]:
    """Every image that a CSV file names, in its order.

    The first line names the columns: ``path``, ``label``, and if wanted ``split`` (``train``,
    ``val`` or ``validation``, ``test``) and ``group``; others are not looked at. Lines without
    values do not count, and neither do blanks around values, but for those of a path; before
    quotes they are refused. Paths are relative to the folder of the file and stay in it, absolute
    ones too.

    Args:
        file: The CSV file, UTF-8 with commas.
        group: Column of what must stay together in one split; by default ``group`` if there is
            such a column.

    Raises:
        ValueError: If the file cannot be read, a line is not of that form, or a path is named
            twice, leads outside or to nothing.
    """
    header, rows = _rows(file)
    group = None if group is None else group.strip()
    if not header:
        raise ValueError(f"{file}: is empty; its first line names the columns {_PATH} and {_LABEL}")
    for column in (_PATH, _LABEL, *([] if group is None else [group])):
        if column not in header:
            known = ", ".join(header)
            apart = not any(mark in known for mark in ";\t")
            hint = "" if apart else "; values are divided by commas"
            raise ValueError(f"{file}: must have a column {column!r:.80}, got {known:.200}{hint}")
    if group is None and _GROUP in header:
        group = _GROUP
    examples, seen = [], dict[Path, tuple[int, str]]()
    for line, row in rows:
        where = f"{file}: line {line}"
        example = _example(file.parent, row, group, where)
        if example.path in seen:
            first, label = seen[example.path]
            other = "" if label == example.label else f", as {label!r:.80} there"
            raise ValueError(f"{where}: {row[_PATH]} is on line {first} already{other}")
        seen[example.path] = line, example.label
        examples.append(example)
    if not examples:
        raise ValueError(f"{file}: names no images")
    _check_labels(file, {example.label for example in examples})
    return examples


def _check_labels(file: Path, labels: set[str]) -> None:
    """Refuse labels that are all numbers, of which some say the same, or nothing.

    Raises:
        ValueError: If there are such.
    """
    try:
        values = {label: Decimal(label) for label in sorted(labels)}
    except InvalidOperation:
        return  # classes have names
    first: dict[Decimal, str] = {}
    for label, value in values.items():
        if not value.is_finite():
            raise ValueError(f"{file}: label must be a name or a number, got {label!r:.80}")
        if value in first:
            raise ValueError(
                f"{file}: labels {first[value]:.80} and {label:.80} are the same number; write "
                "each class in one way"
            )
        first[value] = label


def _example(folder: Path, row: dict[str, str], group: str | None, where: str) -> Example:
    """The image of one line.

    Raises:
        ValueError: If a value cannot be used.
    """
    used = [_PATH, _LABEL, *([_SPLIT] if _SPLIT in row else []), *([group] if group else [])]
    for column in used:
        if not row[column]:
            raise ValueError(f"{where}: {column} must not be empty")
    if "\0" in row[_PATH]:
        raise ValueError(f"{where}: path must not hold a NUL")
    base = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are named
    path = Path(os.path.normpath(base / row[_PATH]))
    if not path.is_relative_to(base):  # unless it is past a link
        real = Path(os.path.realpath(folder))
        path = base / path.relative_to(real) if path.is_relative_to(real) else path
    if not path.is_relative_to(base):
        raise ValueError(f"{where}: path must lie in the folder of the CSV file, got {row[_PATH]}")
    if not os.path.lexists(path):
        raise ValueError(f"{where}: {row[_PATH]:.200} is not there")
    split = None
    if _SPLIT in row:
        if row[_SPLIT] not in SPLIT_WORDS:
            known = ", ".join(SPLIT_WORDS)
            raise ValueError(f"{where}: split must be one of {known}, got {row[_SPLIT]!r:.80}")
        split = SPLIT_WORDS[row[_SPLIT]]
    return Example(path, row[_LABEL], split, row[group] if group else None)


def _rows(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Names of the columns, and each further line with its number.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = ((reader.line_num, row) for row in reader)
            rows = [(line, row) for line, row in lines if "".join(row).strip()]
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: is no CSV file in UTF-8: {error}") from error
    named = [name for name in header if name]  # spreadsheets leave columns without names
    if len(set(named)) != len(named):
        raise ValueError(f"{file}: must name each column once, got {', '.join(header):.200}")
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(f"{file}: line {line}: must have {len(header)} values, got {len(row)}")
        odd = [value for value in row if value[:1].isspace() and value.lstrip()[:1] == '"']
        if odd:
            raise ValueError(f"{file}: line {line}: must have no blank before quotes, got {odd[0]}")
    return header, [(line, _stripped(dict(zip(header, row, strict=True)))) for line, row in rows]


def _stripped(row: dict[str, str]) -> dict[str, str]:
    """A line without blanks around its values, but for those of a path."""
    return {name: value if name == _PATH else value.strip() for name, value in row.items()}
