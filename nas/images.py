"""The images that a user names or hands over."""

from pathlib import Path
from typing import Any, cast

import numpy as np

from estimators.data import ImageData, from_arrays
from estimators.map_style import from_samples
from estimators.sources import read_path
from nas import plugins
from nas.datasets import Arrays, Data, is_arrays, is_path
from nas.errors import usage_error
from nas.run_folder import DataOptions
from nas.terminal import escaped


def images_of(data: Data, options: DataOptions, *, whole: bool = False) -> ImageData:
    """The data that a user names or hands over.

    Args:
        data: Name, path, arrays or samples.
        options: How they are read.
        whole: Whether all images of a path are in the training split, few as they may be, for who
            scores all of them.

    Raises:
        NasError: If they cannot be used (exit code 2).
    """
    if isinstance(data, str) and not is_path(data):
        return _named(data, options)
    if options.data_dir is not None or options.download:
        raise usage_error("--data-dir and --download need --data with the name of a published set")
    try:
        if is_path(data):
            path = Path(str(data))
            return read_path(path, image_size=options.image_size, group=options.group, whole=whole)
        if options.group is not None:
            raise usage_error("--group needs --data with a CSV file")
        if is_arrays(data):
            if options.image_size is not None:
                raise usage_error("--image-size needs --data with a path, or samples")
            pixels, labels = cast("Arrays", data)
            return from_arrays(pixels, labels)
        if isinstance(data, tuple | str | Path | np.ndarray) or not hasattr(data, "__getitem__"):
            raise usage_error(
                "data must be the name of a data set, a path, (images, labels), or samples by "
                f"number, got {escaped(repr(data))[:80]}"
            )
        return from_samples(data, image_size=options.image_size)
    except (TypeError, ValueError) as error:
        raise usage_error(f"data: {escaped(str(error))}") from error


def _named(name: str, options: DataOptions) -> ImageData:
    """The data of a name.

    Raises:
        NasError: If there are none, or they take no such option (exit code 2).
    """
    load = plugins.load("datasets", name)
    if options.image_size is not None or options.group is not None:
        raise usage_error("--image-size and --group need --data with a path")
    given: dict[str, Any] = {}
    if options.data_dir is not None:
        given["data_dir"] = Path(options.data_dir)
    if options.download:
        given["download"] = True
    for option in given:
        if option not in plugins.options(load):
            flag = option.replace("_", "-")
            raise usage_error(f"--{flag}: {name} are no files; leave it out")
    try:
        images: ImageData = load(**given)
    except ValueError as error:
        raise usage_error(f"data: {escaped(str(error))}") from error
    return images
