"""Where paused trainings stand, as files of the run folder: safetensors with a JSON header."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from estimators.estimator import Checkpoint
from nas.readings import Kept
from nas.run_folder import TRIALS, write_bytes
from nas.weights import place, still_there
from search_spaces.strict_json import JsonError, dumps, loads

SCHEMA_VERSION = 1
_HEADER = "checkpoint"


def keep_checkpoint(folder: Path, name: str, checkpoint: Checkpoint) -> Kept:
    """Write a checkpoint under ``trials/<name>.safetensors``; tensors bit by bit, the rest as JSON.

    Raises:
        ValueError: If its optimiser holds what is neither a tensor nor plain, or other parts than
            ``state`` and ``param_groups``.
        NasError: If it cannot be written (exit code 5).
    """
    if set(checkpoint.optimizer) != {"state", "param_groups"}:
        raise ValueError(f"optimizer must hold state and param_groups, got {checkpoint.optimizer}")
    tensors = {f"weights.{key}": value for key, value in checkpoint.weights.items()}
    plain: dict[str, dict[str, Any]] = {}
    for number, held in checkpoint.optimizer["state"].items():
        plain[str(number)] = {}
        for key, value in held.items():
            if isinstance(value, Tensor):
                tensors[f"state.{number}.{key}"] = value
            else:
                plain[str(number)][key] = value
    try:
        header = dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "step": checkpoint.step,
                "state": plain,
                "param_groups": checkpoint.optimizer["param_groups"],
            }
        )
    except TypeError as error:
        raise ValueError(f"optimizer must hold tensors and plain values: {error}") from error
    data = save({key: value.contiguous() for key, value in tensors.items()}, {_HEADER: header})
    path = folder / TRIALS / f"{name}.safetensors"
    write_bytes(path, data)
    return Kept(f"{TRIALS}/{path.name}", hashlib.sha256(data).hexdigest())


def read_checkpoint(folder: Path, kept: Kept) -> Checkpoint | None:
    """A checkpoint; None if its file has gone or is not what was written.

    Raises:
        NasError: If the journal names a file outside of its folder (exit code 4).
    """
    if not still_there(folder, kept):
        return None
    weights: dict[str, Tensor] = {}
    try:
        with safe_open(str(place(folder, kept)), framework="pt") as file:
            header = loads(file.metadata()[_HEADER])
            state: dict[int, dict[str, Any]] = {
                int(number): dict(held) for number, held in header["state"].items()
            }
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part, _, rest = name.partition(".")
                if part == "weights":
                    weights[rest] = file.get_tensor(name)
                else:
                    number, _, key = rest.partition(".")
                    state[int(number)][key] = file.get_tensor(name)
        optimizer: Mapping[str, Any] = {"state": state, "param_groups": header["param_groups"]}
        return Checkpoint(int(header["step"]), weights, optimizer)
    except (SafetensorError, JsonError, OSError, LookupError, TypeError, ValueError):
        return None


def forget(folder: Path, kept: Kept) -> None:
    """Delete a checkpoint that nothing goes on from any more."""
    place(folder, kept).unlink(missing_ok=True)
