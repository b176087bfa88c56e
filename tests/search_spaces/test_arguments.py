"""Named numbers: they are ints, and their expressions say how they came about."""

import copy
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.arguments import Argument, parse

NAMES = {"in_channels": 24, "kernel": 5, "width": 16}
SCOPE = "stages.0.1"


def named(name: str) -> Argument:
    return Argument(NAMES[name], name, SCOPE)


@st.composite
def results(draw: st.DrawFn) -> int:
    """What sums, differences, products and floor divisions of arguments and numbers yield."""
    value: int = named(draw(st.sampled_from(list(NAMES))))
    for _ in range(draw(st.integers(0, 7))):
        other: int = draw(
            st.one_of(st.integers(-3, 9), st.sampled_from([named(name) for name in NAMES]))
        )
        match draw(st.sampled_from("+-*/R")):
            case "+":
                value = value + other
            case "-":
                value = value - other
            case "*":
                value = value * other
            case "/" if other:
                value = value // other
            case _:
                value = other + value
    return value


@given(results())
def test_an_expression_yields_the_number_it_stands_for(value: int) -> None:
    if isinstance(value, Argument):
        assert eval(value.expression, {}, dict(NAMES)) == int(value)  # noqa: S307 - our own text


@given(results())
def test_parsing_gives_back_the_very_same_expression(value: int) -> None:
    if isinstance(value, Argument):
        again = parse(value.expression, NAMES, SCOPE)
        assert isinstance(again, Argument)
        assert (int(again), again.expression, again.scope) == (
            int(value),
            value.expression,
            SCOPE,
        )


def test_sums_in_a_row_and_products_read_as_people_write_them() -> None:
    width, kernel = named("width"), named("kernel")
    assert (6 * width).expression == "width * 6"  # type: ignore[attr-defined]
    assert (width + kernel + 1).expression == "width + kernel + 1"  # type: ignore[attr-defined]
    assert ((width + 1) * 2).expression == "(width + 1) * 2"  # type: ignore[attr-defined]
    assert (kernel // 2).expression == "kernel // 2"  # type: ignore[attr-defined]
    assert (width + -3).expression == "width + (-3)"  # type: ignore[attr-defined]


def test_an_argument_counts_compares_and_hashes_as_its_number() -> None:
    width = named("width")
    assert width == 16
    assert hash(width) == hash(16)
    assert {16: "found"}[width] == "found"
    assert f"{width}" == "16"
    assert width < 17


def test_numbers_of_two_scopes_do_not_mix() -> None:
    elsewhere = Argument(3, "width", "stages.0.2")
    assert type(named("width") * elsewhere) is int
    assert type(elsewhere + named("width")) is int


def test_other_operations_fall_back_to_plain_numbers() -> None:
    width = named("width")
    for value in (width % 3, width**2, 5 - width, 100 // width, -width, abs(width)):
        assert type(value) is int
    assert type(width / 2) is float


def test_an_expression_too_long_to_read_becomes_a_plain_number() -> None:
    value: int = named("in_channels")
    for _ in range(30):
        value = value + named("in_channels")
    assert value == 31 * 24
    longest: int = named("in_channels")
    while isinstance(longest, Argument):
        assert len(longest.expression) <= 120
        longest = longest + named("in_channels")
    assert type(longest) is int


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_keep_the_name(duplicate: Callable[[Argument], Argument]) -> None:
    again = duplicate(named("kernel"))
    assert (again, again.expression, again.scope) == (5, "kernel", SCOPE)


def test_pickles_keep_the_name() -> None:
    again = pickle.loads(pickle.dumps(named("kernel")))  # noqa: S301 - our own pickle
    assert (again, again.expression, again.scope) == (5, "kernel", SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("width", 16),
        ("12", 12),
        ("kernel // 2 + 1", 3),
        ("(width - kernel) * 2", 22),
        ("2*width", 32),
        ("width ", 16),
        ("-3 + width", 13),
    ],
)
def test_expressions_are_read(text: str, value: int) -> None:
    assert parse(text, NAMES, SCOPE) == value


def test_what_names_nothing_is_a_plain_number() -> None:
    assert type(parse("3 * 4", NAMES, SCOPE)) is int


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " width",
        "other",
        "__import__('os')",
        "width.real",
        "width()",
        "width[0]",
        "[width]",
        "width if kernel else 1",
        "1if width else 2",
        "lambda: 1",
        "(width := 3)",
        "width ** 2",
        "9**9**9",
        "width / 2",
        "width % 2",
        "width << 40",
        "width @ width",
        "not width",
        "~width",
        "width // 0",
        "width // (kernel - 5)",
        "True",
        "1.5",
        "1e3",
        "1_000",
        "0x10",
        "'width'",
        "f'{width}'",
        "width\n",
        "width # why",
        "width; kernel",
        "width, kernel",
        "width \\\n + 1",
        "wi\x00dth",
        "\ud800",
        "\uff57idth",
        "(" * 60,
        "(" * 119 + "1",
        "-" * 100 + "1",
        "1 + " * 40 + "1",
        "9" * 60,
        "9" * 119,
        "width" + " * 9999999" * 11,
    ],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="expression must") as caught:
        parse(text, NAMES, SCOPE)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
