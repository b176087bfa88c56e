"""The table of published networks."""

from nas.references import references_document, references_text
from search_spaces.reference import FAMILIES, REFERENCES


def test_every_network_has_a_row_family_by_family() -> None:
    rows = references_document()
    assert [row["name"] for row in rows] == list(REFERENCES)
    assert [row["family"] for row in rows] == [
        family for family, makers in FAMILIES.items() for _ in makers
    ]
    assert {
        "name": "wrn_28_10",
        "family": "ResNet",
        "input_shape": [3, 32, 32],
        "params": 36_479_194,
        "macs": 5_243_328_768,
    } in rows


def test_the_text_names_a_family_once_and_keeps_its_columns() -> None:
    lines = references_text(references_document()).splitlines()
    assert len(lines) == 1 + len(REFERENCES)
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == list(FAMILIES)
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 80
    row = next(line for line in lines if " resnet50 " in line)
    assert row.split() == ["resnet50", "3x224x224", "25,557,032", "4,089,184,256"]
