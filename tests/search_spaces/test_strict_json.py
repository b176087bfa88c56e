"""JSON from untrusted files: read strictly, refused in one line and at once."""

import math
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.strict_json import (
    MAX_BYTES,
    MAX_INT,
    JsonError,
    check_keys,
    check_version,
    dumps,
    fields_of,
    loads,
    member,
    record,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INT, MAX_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One field of each type."""

    count: int
    share: float = 0.5
    wide: bool = False
    kind: str = "relu"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be at least 0, got {self.count}")


@given(VALUES)
def test_what_is_written_is_read_back(document: Any) -> None:
    assert loads(dumps(document)) == document
    assert loads(dumps(document).encode()) == document


def test_layout_is_compact_or_indented() -> None:
    assert dumps({"a": [1, 2]}) == '{"a":[1,2]}'
    assert dumps({"a": 1}, indent=2) == '{\n  "a": 1\n}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_json_does_not_know_are_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        dumps({"score": value})


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "not a number": ('{"a": NaN}', "must not hold NaN"),
    "infinity": ("[Infinity]", "must not hold Infinity"),
    "negative infinity": ("[-Infinity]", "must not hold -Infinity"),
    "a float too large": ("[1e999]", "must not hold infinities, got 1e999"),
    "a float with many digits": ("[" + "9" * 4000 + ".0]", "must not hold infinities"),
    "a key twice": ('{"a": 1, "a": 2}', "key 'a' stands twice"),
    "a key twice deep inside": ('{"a": [{"b": {"c": 1, "c": 1}}]}', "key 'c' stands twice"),
    "lists in lists": ("[" * 100_000, "nested too deeply"),
    "closed lists in lists": ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "objects in objects": ('{"a":' * 100_000, "nested too deeply"),
    "5,000 digits": ("[" + "9" * 5_000 + "]", "whole numbers must be at most 2**53"),
    "5,000 negative digits": ("[-" + "9" * 5_000 + "]", "whole numbers must be at most 2**53"),
    "one more than is exact": (f"[{MAX_INT + 1}]", "whole numbers must be at most 2**53"),
    "a huge document": (" " * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes"),
    "a huge document in bytes": (b" " * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes"),
    "nothing": ("", "not JSON: Expecting value, line 1 column 1"),
    "no bytes": (b"", "not JSON"),
    "half an object": ('{"a": 1', "not JSON"),
    "two documents": ("{} {}", "not JSON: Extra data"),
    "a trailing comma": ("[1,]", "not JSON"),
    "a comment": ("[1] // why", "not JSON"),
    "single quotes": ("{'a': 1}", "not JSON"),
    "a raw line break in a text": ('["a\nb"]', "not JSON"),
    "no UTF-8": (b'["\xff\xfe"]', "not UTF-8"),
    "a byte order mark": ("\ufeff[]", "not JSON"),
    "zero bytes": (b"\x00\x00\x00\x00\x00", "not"),
    "a pickle": (b"\x80\x04\x95\x00", "not UTF-8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_in_one_line_and_at_once(name: str) -> None:
    text, message = HOSTILE[name]
    begin = time.process_time()
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert time.process_time() - begin < 5
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


def test_the_largest_exact_whole_numbers_are_read() -> None:
    assert loads(f"[{MAX_INT}, {-MAX_INT}, 0, -0]") == [MAX_INT, -MAX_INT, 0, 0]


def test_a_record_takes_exactly_its_fields() -> None:
    assert record(Sample, {"count": 3, "limit": None}, "sample") == Sample(3)
    full = {"count": 1, "share": 0.25, "wide": True, "kind": "silu", "limit": 4}
    assert record(Sample, full, "sample") == Sample(1, 0.25, wide=True, kind="silu", limit=4)
    assert fields_of(record(Sample, full, "sample")) == full


def test_a_whole_number_in_place_of_a_float_becomes_one() -> None:
    assert type(record(Sample, {"count": 1, "share": 1}, "sample").share) is float


def test_fields_can_be_listed_without_their_defaults() -> None:
    assert fields_of(Sample(1), defaults=False) == {"count": 1}
    assert fields_of(Sample(1, wide=True), defaults=False) == {"count": 1, "wide": True}
    assert fields_of(Sample(1))["share"] == 0.5


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "sample: field 'count' is missing"),
        ({"count": 1, "more": 2}, "sample: unknown field 'more'; known are count, share, wide"),
        ({"count": 1, "m" * 10**6: 2}, "sample: unknown field 'mmm"),
        ({"count": 1, "a\nb": 2}, r"sample: unknown field 'a\nb'"),
        ({"count": True}, "sample.count must be int, got True"),
        ({"count": 1.0}, "sample.count must be int, got 1.0"),
        ({"count": 1e12}, "sample.count must be int, got 1000000000000.0"),
        ({"count": "1"}, "sample.count must be int, got '1'"),
        ({"count": None}, "sample.count must be int, got None"),
        ({"count": [1]}, "sample.count must be int, got list"),
        ({"count": {"a": 1}}, "sample.count must be int, got dict"),
        ({"count": -1}, "sample: count must be at least 0, got -1"),
        ({"count": 1, "share": True}, "sample.share must be float, got True"),
        ({"count": 1, "share": "0.5"}, "sample.share must be float, got '0.5'"),
        ({"count": 1, "wide": 1}, "sample.wide must be bool, got 1"),
        ({"count": 1, "wide": None}, "sample.wide must be bool, got None"),
        ({"count": 1, "kind": 5}, "sample.kind must be str, got 5"),
        ({"count": 1, "kind": ["a"]}, "sample.kind must be str, got list"),
        ({"count": 1, "limit": True}, "sample.limit must be int | None, got True"),
        ({"count": "x" * 10**6}, "sample.count must be int, got 'xxx"),
        ({"count": "a\nb"}, r"sample.count must be int, got 'a\nb'"),
    ],
)
def test_a_record_that_is_not_one_is_refused_with_its_place(
    document: dict[str, Any], message: str
) -> None:
    with pytest.raises(JsonError) as caught:
        record(Sample, document, "sample")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 200


def test_a_member_has_the_type_that_was_asked_for() -> None:
    assert member({"a": 1}, "a", int, "file") == 1
    assert member({"a": True}, "a", bool, "file") is True
    refused: list[tuple[Any, type, str]] = [
        ([], int, "file must be an object, got list"),
        (None, int, "file must be an object, got None"),
        ({}, int, "file: field 'a' is missing"),
        ({"a": True}, int, "file.a must be int, got True"),
        ({"a": 1}, str, "file.a must be str, got 1"),
        ({"a": {}}, list, "file.a must be list, got dict"),
    ]
    for document, kind, message in refused:
        with pytest.raises(JsonError) as caught:
            member(document, "a", kind, "file")
        assert str(caught.value) == message


def test_keys_are_those_that_are_known() -> None:
    check_keys({"a": 1}, ("a", "b"), "file")
    with pytest.raises(JsonError, match=r"^file: unknown field 'c'; known are a, b$"):
        check_keys({"a": 1, "c": 1}, ("a", "b"), "file")
    with pytest.raises(JsonError, match=r"^file must be an object, got list$"):
        check_keys([], ("a",), "file")


@pytest.mark.parametrize("version", [0, 2, True, "1", 1.0, None])
def test_another_schema_version_is_refused(version: object) -> None:
    with pytest.raises(JsonError, match=r"file\.schema_version must be"):
        check_version({"schema_version": version}, 1, "file")
    check_version({"schema_version": 1}, 1, "file")


def test_a_missing_schema_version_is_refused() -> None:
    with pytest.raises(JsonError, match="file: field 'schema_version' is missing"):
        check_version({}, 1, "file")
