"""The written file: valid, harmless, the same each time."""

from xml.dom import minidom

import pytest

from nas.drawing.svg import Box, Line, Text, document, shortened, text_width, visible

HOSTILE = (
    "<script>alert(1)</script>",
    'a" onload="x',
    "&amp; ]]> &#0;",
    "\x00\x08\x1b[31m\u202eevil\ud800\ufffe",
    "日本語 ⋮ é",
)


def written(*elements: Box | Line | Text, title: str = "t", description: str = "d") -> str:
    return document(elements, 100, 50.25, title=title, description=description)


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_text_and_nothing_else(text: str) -> None:
    plain = written(Text(1, 2, "x", 10, "#000000"), title="x", description="x")
    hostile = written(Text(1, 2, text, 10, "#000000"), title=text, description=text)
    hostile.encode()  # no lone surrogates
    trees = [minidom.parseString(text).documentElement for text in (plain, hostile)]  # noqa: S318
    tags = [[node.tagName for node in tree.getElementsByTagName("*")] for tree in trees]
    assert tags[0] == tags[1] == ["title", "desc", "text"]
    for node in trees[1].getElementsByTagName("*"):
        assert node.firstChild.data == visible(text)
    assert trees[1].attributes.keys() == trees[0].attributes.keys()


def test_it_says_what_it_is_to_those_who_cannot_see_it() -> None:
    root = minidom.parseString(written(title="A net", description="of boxes")).documentElement  # noqa: S318
    assert root.getAttribute("role") == "img"
    named = {
        node.getAttribute("id"): node.firstChild.data for node in root.getElementsByTagName("*")
    }
    assert [named[name] for name in root.getAttribute("aria-labelledby").split()] == [
        "A net",
        "of boxes",
    ]
    assert (root.getAttribute("width"), root.getAttribute("viewBox")) == ("100", "0 0 100 50.2")


def test_lines_are_upright_level_or_curved() -> None:
    text = written(Line(((0, 0), (0, 10), (5, 20), (9, 20)), "#111111", arrow=True))
    assert 'd="M0 0 V10 C0 15 5 15 5 20 H9"' in text
    assert 'points="9,20 3,16.5 3,23.5"' in text


@pytest.mark.parametrize("font", [{}, {"bold": True}, {"mono": True}])
def test_text_is_shortened_to_its_room(font: dict[str, bool]) -> None:
    assert shortened("Wide", 100, 10, **font) == "Wide"
    cut = shortened("W" * 50, 100, 10, **font)
    assert cut.endswith("W…")
    assert 80 < text_width(cut, 10, **font) <= 100
    assert shortened("W", 1, 10) == "…"


def test_the_place_of_a_text_follows_its_anchor() -> None:
    width = text_width("iW", 10)
    assert width == pytest.approx(13.0)
    lefts = [
        Text(50, 20, "iW", 10, "#000000", anchor).place.left
        for anchor in ("start", "middle", "end")
    ]
    assert lefts == pytest.approx([50, 50 - width / 2, 50 - width])
