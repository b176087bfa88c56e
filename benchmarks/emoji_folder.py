"""A benchmark of real colour images: emoji by category, drawn by two foundries.

They are graphics, not photographs, and what is learned from them says nothing about those. They
are there for everybody who has npm, free to use, and no digits:

    python benchmarks/emoji_folder.py emoji
    nas search --data emoji/emoji.csv --image-size 32 --budget 20

The packages ``emoji-datasource-google`` and ``emoji-datasource-twitter`` are fetched by
``npm pack`` (136 MB), or read from where their archives are unpacked: ``emoji PACKAGE PACKAGE``.

The folder has one for each category, and ``emoji.csv`` with ``path``, ``label`` and ``group``. A
group is an identity: both drawings of it, all skin tones, and the man, the woman and the person
who do the same. They differ in little else, so in two splits they would be known by heart.
Without groups (``--data emoji``) most test images have such a twin among the training images.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

PACKAGES = ("emoji-datasource-google", "emoji-datasource-twitter")
SIZE = "64"  # pixels
LEFT_OUT = "Component"  # skin tones and hair alone: five images
TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
SIGNS = {"2640", "2642", "FE0F"}  # woman, man, "as a picture"
JOINER = "200D"
NEUTRAL = {"1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2"}  # man to person


class Drawing(NamedTuple):
    """One image file."""

    file: Path
    foundry: str
    label: str
    group: str


def identity(unified: str) -> str:
    """What a sequence of code points shows, whatever tone or sex it has.

    Args:
        unified: Code points in hexadecimal digits with dashes between, as ``emoji.json`` has them.
    """
    points = [point for point in unified.split("-") if point not in TONES | SIGNS | {JOINER}]
    if not points:  # the sign is all there is
        return unified
    return "-".join(NEUTRAL.get(point, point) for point in points)


def drawings(package: Path, *, tones: bool) -> Iterator[Drawing]:
    """Every image of an unpacked package.

    Args:
        package: Folder with ``emoji.json`` and ``img/FOUNDRY/64``.
        tones: Whether skin tones beside the yellow one are wanted.
    """
    (folder,) = package.glob(f"img/*/{SIZE}")
    foundry = folder.parent.name
    entries: list[dict[str, Any]] = json.loads((package / "emoji.json").read_text("utf-8"))
    for entry in entries:
        if entry["category"] == LEFT_OUT:
            continue
        label = re.sub(r"[^a-z]+", "-", entry["category"].lower())
        kinds = [entry, *(entry.get("skin_variations", {}).values() if tones else ())]
        for kind in kinds:
            if kind[f"has_img_{foundry}"]:
                group = identity(entry["unified"])
                yield Drawing(folder / kind["image"], foundry, label, group)


def write(out: Path, packages: list[Path], *, tones: bool) -> Counter[str]:
    """Copy the images into ``out`` and write ``emoji.csv``; the number of images by category."""
    out.mkdir(parents=True)
    counts: Counter[str] = Counter()
    with (out / "emoji.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for package in packages:
            for one in drawings(package, tones=tones):
                path = Path(one.label) / f"{one.foundry}-{one.file.name}"
                (out / one.label).mkdir(exist_ok=True)
                shutil.copyfile(one.file, out / path)
                writer.writerow([path, one.label, one.group])
                counts[one.label] += 1
    return counts


def fetched(folder: Path) -> list[Path]:
    """The packages, fetched by npm and unpacked in a folder."""
    if shutil.which("npm") is None:
        sys.exit("error: npm must be installed to fetch the packages, or name unpacked ones")
    command = ["npm", "pack", "--loglevel", "error", "--pack-destination", str(folder), *PACKAGES]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit("error: npm cannot fetch the packages; see above")
    places = []
    for name in PACKAGES:
        (archive,) = folder.glob(f"{name}-*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder / name, filter="data")
        places.append(folder / name / "package")
    return places


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("packages", type=Path, nargs="*", help="unpacked npm packages")
    parser.add_argument("--one-tone", action="store_true", help="leave skin tones out")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"error: {arguments.out} is there already; choose another folder")
    for package in arguments.packages:
        if not (package / "emoji.json").is_file() or not [*package.glob(f"img/*/{SIZE}")]:
            sys.exit(f"error: {package} must hold emoji.json and img/*/{SIZE}; unpack it first")
    with TemporaryDirectory() as folder:
        packages = arguments.packages or fetched(Path(folder))
        counts = write(arguments.out, packages, tones=not arguments.one_tone)
    print(f"{arguments.out / 'emoji.csv'}: {counts.total():,} images of {len(counts)} categories")
    for label, count in counts.most_common():
        print(f"  {label:<20}{count:>6,}")


if __name__ == "__main__":
    main()
