"""Weights that a run keeps in its folder, so that no session has to train them again."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from nas.errors import NasError
from nas.loading import build_meta, read_weights
from nas.readings import Kept
from nas.run_folder import TRIALS, write_bytes
from search_spaces.graph import Graph


def keep(folder: Path, name: str, weights: Mapping[str, Tensor]) -> Kept:
    """Write weights into a run folder, under ``trials/<name>.safetensors``.

    Raises:
        NasError: If they cannot be written (exit code 5).
    """
    data = _written(weights)
    path = folder / TRIALS / f"{name}.safetensors"
    write_bytes(path, data)
    return Kept(f"{TRIALS}/{path.name}", hashlib.sha256(data).hexdigest())


def digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of what ``keep`` writes of a state dict."""
    return hashlib.sha256(_written(weights)).hexdigest()


def _written(weights: Mapping[str, Tensor]) -> bytes:
    return save({key: value.contiguous() for key, value in weights.items()})


def still_there(folder: Path, kept: Kept) -> bool:
    """Whether the file is there and is what was written."""
    try:
        data = place(folder, kept).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data).hexdigest() == kept.sha256


def read(folder: Path, kept: Kept, graph: Graph) -> dict[str, Tensor]:
    """The weights of a network.

    Raises:
        NasError: If the file is damaged or of another network (exit code 2).
    """
    return read_weights(place(folder, kept), build_meta(graph))


def forget_others(folder: Path, kept: frozenset[str]) -> None:
    """Delete weights in the folder but those files, so that its size is bounded."""
    for path in (folder / TRIALS).glob("*.safetensors"):
        if f"{TRIALS}/{path.name}" not in kept:
            path.unlink(missing_ok=True)


def place(folder: Path, kept: Kept) -> Path:
    """Where a file lies; a journal from elsewhere cannot name one outside its folder.

    Raises:
        NasError: If it names one (exit code 4).
    """
    path = folder / kept.file
    odd = path.name in {".", ".."} or "\0" in path.name
    if path.parent != folder / TRIALS or os.sep in path.name or odd:
        raise NasError(f"journal: weights must lie in {TRIALS}/, got {kept.file}", exit_code=4)
    return path
