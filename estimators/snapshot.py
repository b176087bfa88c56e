"""Where a full training stands, and the bytes that hold it: safetensors and JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

VERSION = 1
MOST_HEADER = 2**24  # bytes


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the curve.

    Attributes:
        epoch: Passes that are done, from 1.
        step: Steps that are done.
        learning_rate: Of the last step, for weights of factor 1.
        loss: Mean training loss of the pass, of images as they were augmented.
        validation: Metrics of the averaged weights on validation images; empty where these are
            trained on.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float
    validation: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a training stands, to go on from; taken between two passes.

    Attributes:
        tensors: Weights (``model.``), averaged weights (``average.``) and the state of the
            optimizer (``optimizer.``), on the CPU.
        curve: One entry for each pass that is done.
        parts: Pieces that each batch is cut into, for several threads of a CPU or for want of
            memory on another device.
    """

    tensors: Mapping[str, Tensor]
    curve: tuple[Epoch, ...]
    parts: int

    def to_bytes(self, *, of: str) -> bytes:
        """As one file, so that tensors and curve cannot be of two moments.

        Args:
            of: What the training is of: configuration, data, seed. ``from_bytes`` compares it.
        """
        header = {
            "version": VERSION,
            "of": of,
            "parts": self.parts,
            "curve": [asdict(line) for line in self.curve],
        }
        return save(dict(self.tensors), metadata={"training": json.dumps(header)})

    @classmethod
    def from_bytes(cls, data: bytes, *, of: str) -> "Snapshot":
        """What ``to_bytes`` wrote.

        Raises:
            ValueError: If it is damaged, or of another training.
        """
        header = _header(data)
        if header.get("version") != VERSION or header.get("of") != of:
            raise ValueError("checkpoint must be of this training, got one of another")
        try:
            tensors = load(data)
            curve = tuple(Epoch(**line) for line in header["curve"])
            parts = int(header["parts"])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint is damaged: {error}") from error
        if parts < 1 or not all(math.isfinite(line.loss) for line in curve):
            raise ValueError("checkpoint is damaged: its curve")
        return cls(tensors, curve, parts)


def curve_of(path: Path) -> tuple[Epoch, ...]:
    """How far the training of a snapshot in a file is; empty if there is none that can be read.

    Only its header is read, of whatever training it is.
    """
    try:
        with path.open("rb") as file:
            length = file.read(8)
            header = file.read(min(int.from_bytes(length, "little"), MOST_HEADER))
        return tuple(Epoch(**line) for line in _header(length + header)["curve"])
    except (OSError, KeyError, TypeError, ValueError):
        return ()


def _header(data: bytes) -> Mapping[str, Any]:
    """The JSON that a safetensors file has in its header: 8 bytes of length, then the header.

    Raises:
        ValueError: If there is none.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        found = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["training"])
        return dict(found)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("checkpoint is damaged: it has no header") from error
