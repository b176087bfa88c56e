"""Reading tables: roles, order, conditional decisions, and every mistake named with its line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.bench import columns
from nas.bench.table import Table, read_table
from nas.errors import NasError
from search_spaces.genome import Genotype

Read = Callable[[str], Table]

TREE = """\
decision:kernel,decision:op,decision:depth,decision:second,run:a,run:b,run:c
3,conv,1,,1,2,4
5,conv,1,,2,4,8
,pool,1,,0,0,3
3,conv,2,yes,1,1,1
5,conv,2,no,5,5,5
,pool,2,no,6,6,6
"""


def genotype(table: Table, **answers: str) -> Genotype:
    return table.genome.genotype(answers)


def network(table: Table, **answers: str) -> int:
    row = table.row(genotype(table, **answers))
    assert row is not None
    return int(table.networks[row])


def test_columns_are_taken_by_their_roles(table: Read, small: str) -> None:
    found = table(small)
    assert found.name == "small"
    assert found.cost_names == ("macs", "params")
    assert found.genome.names == ("op", "width")
    assert found.complete
    both = network(found, op="conv", width="2")
    assert both == network(found, op="pool", width="2")
    assert sorted(set(found.networks.tolist())) == [0, 1, 2]
    assert found.costs[both].tolist() == [100, 5]
    best = network(found, op="conv", width="10")
    assert found.told[best].tolist() == [2.0]
    assert found.reported[best].tolist() == [40.0]
    assert found.metric == "test"


def test_options_are_ordered_as_numbers_where_they_are(table: Read, small: str) -> None:
    width = table(small).genome.decisions[1]
    assert [option.value for option in width.options] == ["2", "10"]


def test_every_row_is_found_and_has_its_genotype(table: Read) -> None:
    found = table(TREE)
    for row in range(6):
        assert found.row(found.genotype(row)) == row


def test_the_order_of_rows_says_nothing(table: Read, small: str) -> None:
    header, *rows = small.splitlines()
    first = table(small)
    second = table("\n".join([header, *reversed(rows)]) + "\n")
    assert first.codes.tolist() == second.codes.tolist()
    assert first.networks.tolist() == second.networks.tolist()
    for name in ("costs", "told", "reported"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_without_a_key_every_row_is_a_network(table: Read) -> None:
    found = table("decision:a,search:x,report:x\n1,5,5\n2,5,5\n")
    assert found.networks.tolist() == [0, 1]
    assert found.costs.shape == (2, 0)


def test_of_several_runs_one_is_told_and_the_mean_of_the_others_reported(table: Read) -> None:
    found = table(TREE)
    row = network(found, op="conv", kernel="5", depth="1")
    assert found.told[row].tolist() == [2, 4, 8]
    assert found.reported[row].tolist() == [6, 5, 3]


def test_empty_cells_make_a_tree(table: Read) -> None:
    found = table(TREE)
    assert [decision.name for decision in found.genome.decisions] == ["op", "depth"]
    conv, pool = found.genome.decisions[0].options
    assert [[opened.name for opened in option.opens] for option in (conv, pool)] == [["kernel"], []]
    assert found.genome.size == 3 * 3
    assert not found.complete
    assert found.row(genotype(found, op="pool", depth="2", second="yes")) is None


def test_a_decision_that_is_opened_can_open_another(table: Read) -> None:
    found = table(
        "decision:c,decision:b,decision:a,search:x,report:x\n"
        ",,1,0,0\n,1,2,0,0\n1,2,2,0,0\n2,2,2,0,0\n"
    )
    (outer,) = found.genome.decisions
    assert outer.name == "a"
    (inner,) = outer.options[1].opens
    assert [opened.name for opened in inner.options[1].opens] == ["c"]
    assert found.complete


def test_decisions_opened_together_are_not_opened_by_each_other(table: Read) -> None:
    found = table(
        "decision:b,decision:c,decision:a,search:x,report:x\n,,1,0,0\n1,2,2,0,0\n2,1,2,0,0\n"
    )
    (outer,) = found.genome.decisions
    assert [opened.name for opened in outer.options[1].opens] == ["b", "c"]


HEADER = "decision:a,key:k,cost:macs,search:s,report:r\n"
MISTAKES = [
    ("", "must start with a header"),
    (HEADER, "must have a row below its header"),
    ("decision:a,score\n", "header must be of ROLE:NAME, got 'score'"),
    ("decision:a,:x\n", "header must be of ROLE:NAME, got ':x'"),
    ("decision:a,reprot:r\n", "role of 'reprot:r': there is no 'reprot'; did you mean report?"),
    ("decision:a,decision:a\n", "must name each column once, got 'decision:a' twice"),
    ("search:s,report:r\n1,1\n", "must have a decision:NAME column"),
    ("decision:a,key:a,key:b,search:s,report:r\n1,1,1,1,1\n", "at most one key:NAME, got 2"),
    ("decision:a,search:s\n1,1\n", "got 1, 0 and 0 of them"),
    ("decision:a,run:s\n1,1\n", "got 0, 0 and 1 of them"),
    ("decision:a,search:s,report:r,run:a,run:b\n1,1,1,1,1\n", "got 1, 1 and 2 of them"),
    (HEADER + "1,n,1,1,1\n2,m,1,1\n", "line 3 must have 5 cells, as the header, got 4"),
    (HEADER + "1,n,1,1,1\n\n", "line 3 must have 5 cells, as the header, got 0"),
    (HEADER + "1,n,1,1,x\n", "line 2: report:r must be a finite number, got 'x'"),
    (HEADER + "1,n,1,1,1\n2,m,1,nan,1\n", "line 3: search:s must be a finite number, got 'nan'"),
    (HEADER + "1,n,1,1,\n", "line 2: report:r must be a finite number, got ''"),
    (HEADER + "1,n,0,1,1\n", "line 2: cost:macs must be a finite number above 0, got '0'"),
    (HEADER + "1,n,inf,1,1\n", "line 2: cost:macs must be a finite number above 0, got 'inf'"),
    (HEADER + "1,n,1,1,1\n2,m,1,1,1\n1,o,1,1,1\n", "line 4 must differ in a decision from line 2"),
    (
        HEADER + "1,n,1,1,1\n2,m,1,1,1\n3,n,1,1,2\n",
        "line 4: report:r must be 1 as in line 2, which has the same key, got 2",
    ),
    (HEADER + "1,n,1,1,1\n2,n,3,1,1\n", "line 3: cost:macs must be 1 as in line 2"),
    (HEADER + ",n,1,1,1\n", "decision:a must have 1 to 1000 different answers, got 0"),
    ("decision:a,decision:b,search:s,report:r\n1,1,1,1\n1,,1,1\n", "decision:b must be left empty"),
    (HEADER + '1,"n\nm",1,1,1\n', "cells must not hold line breaks"),
    (HEADER + '1,"n,1,1,1\n', "line 2: unexpected end of data"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_bad_table_is_named_in_one_line(table: Read, text: str, message: str) -> None:
    with pytest.raises(NasError) as caught:
        table(text)
    assert message in str(caught.value)
    assert "small.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_decision_opened_by_two_others_together_is_refused(table: Read) -> None:
    rows = ["0,0,", "0,1,", "1,0,", "1,1,x"]
    text = "decision:a,decision:b,decision:c,search:s,report:r\n"
    with pytest.raises(NasError, match="decision:c must be left empty by the answer to one other"):
        table(text + "".join(f"{row},1,1\n" for row in rows))


def test_gzip_a_byte_order_mark_and_other_line_ends_are_read(tmp_path: Path, small: str) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + small.replace("\n", "\r\n").encode()))
    found = read_table(path)
    assert (found.name, len(found.networks)) == ("t", 4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"\xff\xfe", "must be text in UTF-8"),
        ("t.csv.gz", b"plain", "cannot be read"),
        ("t.csv.gz", gzip.compress(b"decision:a\n" * 999, mtime=0)[:-20], "cannot be unpacked"),
        ("t.csv.gz", gzip.compress(b"decision:a\n" * 999, mtime=0)[:20] + b"0" * 50, "cannot be"),
    ],
)
def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NasError, match=message):
        read_table(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"none.csv: cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(NasError, match="cannot be read: Is a directory"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_LINE", 40, "line 1 must have fewer than 40 characters"),
        ("MAX_ROWS", 3, "must have at most 3 rows"),
        ("MAX_COLUMNS", 6, "must have at most 6 columns, got 7"),
    ],
)
def test_tables_have_limits(
    table: Read, small: str, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    monkeypatch.setattr(columns, limit, value)
    with pytest.raises(NasError, match=message):
        table(small)


def test_lines_are_counted_through_all_chunks(table: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_CHUNK", 2)
    rows = "".join(f"{row},{row},1,1,1\n" for row in range(5))
    assert len(table(HEADER + rows).networks) == 5
    with pytest.raises(NasError, match="line 7 must have 5 cells"):
        table(HEADER + rows + "5,5\n")
