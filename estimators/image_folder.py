"""Folders of images: a folder for each class, within a folder for each split or without."""

from pathlib import Path

from estimators.examples import Example
from estimators.paths import is_folder, is_link, leads_nowhere
from estimators.splits import SPLIT_WORDS

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
_LEFT_BY_SYSTEMS = frozenset({"thumbs.db", "desktop.ini"})


def list_folder(folder: Path) -> list[Example]:
    """Every image of an image folder, in the order of their names.

    Either some of ``train``, ``val`` (or ``validation``) and ``test`` with a folder for each class
    in each; or just a folder for each class. Hidden files
    and what systems leave (``Thumbs.db``) are passed over.

    Args:
        folder: The folder.

    Raises:
        ValueError: If folders lie in another way, or a class has no image.
    """
    names = [path.name for path in _entries(folder) if is_folder(path)]
    if not names or not set(names) <= set(SPLIT_WORDS):
        return _list_classes(folder, None)
    if {"val", "validation"} <= set(names):
        raise ValueError(f"{folder}: must have one of val and validation, got both")
    return [
        example for name in names for example in _list_classes(folder / name, SPLIT_WORDS[name])
    ]


def _list_classes(folder: Path, split: int | None) -> list[Example]:
    """Images of a folder of classes.

    Raises:
        ValueError: If it is none.
    """
    entries = _entries(folder)
    if not entries:
        raise ValueError(f"{folder}: is empty; it must hold a folder of images for each class")
    examples = []
    for path in entries:
        if is_folder(path):
            examples += [Example(image, path.name, split) for image in _images(path)]
        elif leads_nowhere(path):
            raise ValueError(f"{path}: is a link that leads nowhere")
        elif path.suffix.lower() in _IMAGES or is_link(path):
            raise ValueError(f"{path}: lies beside the folders of classes; put it into one")
    if not examples:
        raise ValueError(f"{folder}: must hold a folder of images for each class, got none")
    return examples


def _images(folder: Path) -> list[Path]:
    paths = _entries(folder)
    if not paths:
        raise ValueError(f"{folder}: is a class without images")
    for path in paths:
        if is_folder(path):
            raise ValueError(
                f"{path}: is a folder in that of a class; images lie there directly, and splits "
                "are folders called train, val and test"
            )
    return paths


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, but for hidden files and what systems leave.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read: {error.strerror}") from error
    return [
        path
        for path in paths
        if not path.name.startswith(".") and path.name.lower() not in _LEFT_BY_SYSTEMS
    ]
