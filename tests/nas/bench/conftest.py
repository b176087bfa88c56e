"""Tables in memory's stead: text of CSV files, and what is read from them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nas.bench.table import Table, read_table

# Two decisions; the first two networks are one; macs and scores disagree about the order.
SMALL = """\
decision:op,decision:width,key:net,search:val,report:test,cost:params,cost:macs
conv,2,a,1.0,10.0,5,100
pool,2,a,1.0,10.0,5,100
conv,10,b,2.0,40.0,7,300
pool,10,c,3.0,20.0,6,200
"""

Read = Callable[[str], Table]


@pytest.fixture
def table(tmp_path: Path) -> Read:
    """Reads a table from the text of a CSV file."""

    def read(text: str) -> Table:
        path = tmp_path / "small.csv"
        path.write_text(text, encoding="utf-8")
        return read_table(path)

    return read


@pytest.fixture
def small() -> str:
    """A table of four rows and three networks."""
    return SMALL
