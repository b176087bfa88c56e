"""The drawing of a front."""

from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from nas.front_chart import front_chart
from nas.limits import Objective
from nas.record import Record

NAMESPACE = "{http://www.w3.org/2000/svg}"
GOALS = (
    Objective("accuracy", "maximize"),
    Objective("params", "minimize"),
    Objective("log_loss", "minimize"),
)
POINTS = ((0.9, 300), (0.8, 100), (0.7, 200), (0.1, 9_000))


def trial(ordinal: int) -> Any:
    accuracy, params = POINTS[ordinal]
    values = {"accuracy": accuracy, "params": params, "log_loss": 1 - accuracy}
    return SimpleNamespace(ordinal=ordinal, state="complete", figure=values.__getitem__)


def drawn(objectives: int, *, front: tuple[int, ...] = (0, 1)) -> ET.Element:
    record = Record(GOALS[0], 9, beside=GOALS[1:objectives])
    record.trials = [trial(at) for at in range(len(POINTS))]
    record.front = [record.trials[at] for at in front]
    members: Any = [SimpleNamespace(trial=record.trials[0], figure=record.trials[0].figure)]
    return ET.fromstring(front_chart(record, members))  # noqa: S314 - our own


def test_every_child_has_a_dot_and_every_member_its_number() -> None:
    page = drawn(2)
    dots = page.findall(f"{NAMESPACE}circle")
    assert len(dots) == len(POINTS) + 2 + 2  # two of the front, two of the legend
    assert "0" in [text.text for text in page.findall(f"{NAMESPACE}text")]


def test_better_is_further_up_and_cheaper_further_left() -> None:
    blue = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in drawn(2).findall(f"{NAMESPACE}circle")
        if dot.attrib["r"] == "3.5" and float(dot.attrib["cy"]) > 50
    ]
    (small_x, small_y), (large_x, large_y) = blue
    assert small_x < large_x
    assert small_y > large_y


def test_a_third_objective_has_a_panel_of_its_own_and_no_line() -> None:
    two, three = drawn(2), drawn(3)
    assert int(three.attrib["height"]) == 2 * int(two.attrib["height"])
    lines = [
        sum(path.attrib.get("stroke-width") == "1.5" for path in page.findall(f"{NAMESPACE}path"))
        for page in (two, three)
    ]
    assert lines == [1, 0]


def test_everything_lies_on_the_page() -> None:
    page = drawn(3)
    for dot in page.findall(f"{NAMESPACE}circle"):
        assert 0 <= float(dot.attrib["cx"]) <= float(page.attrib["width"])
        assert 0 <= float(dot.attrib["cy"]) <= float(page.attrib["height"])


@pytest.mark.parametrize("objectives", [2, 3])
def test_a_front_of_one_can_be_drawn(objectives: int) -> None:
    assert drawn(objectives, front=(0,)).tag == f"{NAMESPACE}svg"
