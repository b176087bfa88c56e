"""Shared weights on the disk: one JSON document and the tensors it names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from search_spaces.strict_json import dumps, loads

SCHEMA_VERSION = 1
DOCUMENT = "supernet.json"

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "file": str,
    "finished": bool,
    "seed": int,
    "step": int,
    "seconds": (int, float),
    "recipe": dict,
    "layout": dict,
    "rankings": list,
    "scores": list,
}


@final
class SupernetFile:
    """What a training of shared weights leaves in its folder: safetensors and JSON.

    The document is replaced once its tensors are on the disk, so whatever happens there is the
    old state or the new one.

    Args:
        folder: Where; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Replace what is there.

        Args:
            document: Plain values, ``step`` among them.
            tensors: On the CPU.

        Raises:
            OSError: If it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        kind = "weights" if document["finished"] else "training"
        name = f"{kind}-{document['step']}.safetensors"
        temporary = self._folder / f"{name}.tmp-{os.getpid()}"
        save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)
        _replace(temporary, self._folder / name)
        whole = {"schema_version": SCHEMA_VERSION, "file": name, **document}
        temporary = self._folder / f"{DOCUMENT}.tmp-{os.getpid()}"
        temporary.write_text(dumps(whole) + "\n")
        _replace(temporary, self._folder / DOCUMENT)
        for path in self._folder.iterdir():
            if path.name not in {name, DOCUMENT} and ".safetensors" in path.name:
                path.unlink()

    def read(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """What was written last; None if nothing was.

        Raises:
            ValueError: If it is damaged or of another version.
            OSError: If it cannot be read.
        """
        path = self._folder / DOCUMENT
        if not path.exists():
            return None
        document = loads(path.read_bytes())
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(f"{path}: must have schema version {SCHEMA_VERSION}, got {version!r}")
        wrong = [key for key, kind in _TYPES.items() if not isinstance(document.get(key), kind)]
        if wrong:
            raise ValueError(f"{path}: {wrong[0]} is missing or damaged")
        name = document["file"]
        if Path(name).name != name:
            raise ValueError(f"{path}: file must lie beside it, got {name!r:.80}")
        try:
            return document, load_file(self._folder / name)
        except (SafetensorError, FileNotFoundError) as error:
            raise ValueError(f"{self._folder / name}: is missing or damaged: {error}") from error


def _replace(temporary: Path, path: Path) -> None:
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
