"""Images of a user's own, by the path where they lie."""

from pathlib import Path

from estimators.array_file import read_archive
from estimators.data import ImageData
from estimators.examples import read_examples
from estimators.image_folder import list_folder
from estimators.paths import is_file, is_folder, is_there
from estimators.table import list_table


def read_path(
    path: Path,
    *,
    image_size: tuple[int, int] | None = None,
    group: str | None = None,
    whole: bool = False,
) -> ImageData:
    """The data set at a path: an image folder, a CSV file or an ``.npz`` file.

    Args:
        path: See ``list_folder``, ``list_table`` and ``read_archive``.
        image_size: Height and width of the images in memory; by default as they are, or their
            median where files differ.
        group: Column of a CSV file with what must stay together in one split.
        whole: Whether all images are in the training split, few as they may be.

    Raises:
        ValueError: If the data cannot be used; the message names the file.
    """
    if not is_there(path):
        raise ValueError(f"{str(path)[:200]}: is not there")
    kind = path.suffix.lower()
    if kind == ".csv" and is_file(path):
        file = path.absolute()
        examples = list_table(file, group)
        return read_examples(examples, source=file, image_size=image_size, whole=whole)
    if group is not None:
        raise ValueError(f"{path}: --group needs a CSV file, whose column it names")
    if is_folder(path):
        examples = list_folder(path)
        return read_examples(examples, source=path, image_size=image_size, whole=whole)
    if kind == ".npz" and is_file(path):
        return read_archive(path, image_size=image_size, whole=whole)
    raise ValueError(f"{path}: must be a folder of images, a .csv or an .npz file")
