"""The benchmark's folder of emoji: categories, and identities that stay in one split."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from estimators.sources import read_path

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "emoji_folder.py"
CATEGORIES = {"Food & Drink": 0x1F34A, "Flags": 0x1F3F4}


def entry(category: str, unified: str, **more: Any) -> dict[str, Any]:
    image, seen = f"{unified.lower()}.png", {"has_img_a": True, "has_img_b": True}
    return {"category": category, "unified": unified, "image": image, **seen, **more}


def package(root: Path, foundry: str) -> Path:
    """Ten emoji of each of two categories, and what needs care, as a package has them."""
    tone = entry("", "1F468-1F3FB-200D-1F373")
    entries = [
        entry("Food & Drink", "1F468-200D-1F373", skin_variations={"1F3FB": tone}),
        entry("Food & Drink", "1F469-200D-1F373"),
        entry("Flags", "2640-FE0F"),
        entry("Flags", "1F3F3", has_img_b=False),
        entry("Component", "1F3FB"),
    ]
    for category, first in CATEGORIES.items():
        entries += [entry(category, f"{first + 16 * number:X}") for number in range(10)]
    (root / foundry / "img" / foundry / "64").mkdir(parents=True)
    (root / foundry / "emoji.json").write_text(json.dumps(entries))
    for number, one in enumerate([*entries, tone]):
        image = Image.new("RGBA", (8, 8), (9 * number, 99, len(foundry), 255))
        image.save(root / foundry / "img" / foundry / "64" / one["image"])
    return root / foundry


def script(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_both_drawings_and_all_tones_of_an_identity_are_one_group(tmp_path: Path) -> None:
    packages = [package(tmp_path, foundry) for foundry in ("a", "b")]
    out = tmp_path / "emoji"
    assert "49 images of 2 categories" in script(out, *packages).stdout
    with (out / "emoji.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cooks = [row["path"] for row in rows if row["group"] == "1F9D1-1F373"]
    assert len(cooks) == 6  # two drawings of the man, the man with a tone, and the woman
    assert {row["label"] for row in rows} == {"food-drink", "flags"}
    assert [row["group"] for row in rows if "2640" in row["path"]] == ["2640-FE0F"] * 2
    assert not (out / "flags" / "b-1f3f3.png").exists()
    data = read_path(out / "emoji.csv")
    assert (data.classes, data.input_shape) == (("flags", "food-drink"), (3, 8, 8))
    assert read_path(out).classes == data.classes
    assert script(out, *packages).stderr.startswith(f"error: {out} is there already")
    one = script(tmp_path / "one", packages[0], "--one-tone").stdout
    assert "24 images of 2 categories" in one


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    assert script(tmp_path / "out", tmp_path).stderr == (
        f"error: {tmp_path} must hold emoji.json and img/*/64; unpack it first\n"
    )
    assert not (tmp_path / "out").exists()
