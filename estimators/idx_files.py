"""Arrays of bytes as MNIST and its likes publish them: idx files, plain or gzipped."""

import gzip
import hashlib
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 2**28  # of one file's content; the largest published one has 47 million

_BYTES = 8  # the code for values of one unsigned byte


def read_idx(file: Path, *, axes: int, digest: str) -> NDArray[np.uint8]:
    """The array in an idx file.

    Two zero bytes, the code of the values' type, the number of axes, the length of each axis in
    four bytes (the highest first), then the values, the last axis fastest.

    Args:
        file: Compressed by gzip if its name ends in ``.gz``.
        axes: How many it must have.
        digest: MD5 that its content must have, in hexadecimal digits.

    Raises:
        ValueError: If the file cannot be read, is cut or too long, is of another form, or its
            content is not what was published.

    Source: "The IDX file format", on the page of the MNIST database (Y. LeCun, C. Cortes, C.
    Burges). Only bytes are read, the one type that the published files have.
    """
    content = _content(file)
    begin = 4 + 4 * axes
    if len(content) < begin or content[:4] != bytes((0, 0, _BYTES, axes)):
        raise ValueError(
            f"{file}: must be an idx file of bytes with {axes} axes, which begins with "
            f"0000080{axes}, got {content[:4].hex() or 'nothing'}"
        )
    shape = tuple(int(length) for length in np.frombuffer(content[4:begin], dtype=">u4"))
    if len(content) - begin != math.prod(shape):
        sides = "x".join(str(side) for side in shape)
        raise ValueError(
            f"{file}: must hold the {sides} values that its header names, "
            f"got {len(content) - begin:,}"
        )
    check_digest(file, hashlib.md5(content, usedforsecurity=False).hexdigest(), digest)
    return np.frombuffer(content, dtype=np.uint8, offset=begin).reshape(shape)


def check_digest(file: Path, found: str, published: str) -> None:
    """Refuse a file that is not the published one.

    Raises:
        ValueError: If the digests differ.
    """
    if found != published:
        raise ValueError(
            f"{file}: is not the published file, whose MD5 is {published}, got {found}; "
            "remove it and use --download, or hand over data of your own as --data PATH"
        )


def _content(file: Path) -> bytes:
    """What is in the file, decompressed.

    Raises:
        ValueError: If it cannot be read or is too long.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except Exception as error:  # damaged archives raise all sorts of things
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"{file}: cannot be read: {reason:.200}") from error
    if len(content) > MOST_BYTES:
        raise ValueError(f"{file}: must hold at most {MOST_BYTES:,} bytes, got more")
    return content
