"""The network of an exported folder, from its weights or from a file for ONNX Runtime."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.errors import NasError, usage_error
from nas.export import Winner
from nas.fresh_process import loaded
from nas.plugins import unknown
from nas.run_folder import BEST

# Files that ONNX Runtime reads, by the name of their format.
ONNX_FILES = {"onnx": "model.onnx", "int8": "model_int8.onnx"}


def network_of(winner: Winner, source: str | Path, format_: str | None) -> nn.Module:
    """The network to run, in eval mode.

    Args:
        winner: What ``source`` holds, with weights.
        source: The exported folder, or a run.
        format_: ``onnx`` or ``int8``: that file of the folder; None for the network itself.

    Raises:
        NasError: If there is no such format or file, or the file is damaged or of another network
            (exit code 2), or ONNX Runtime is not installed (5).
    """
    assert winner.weights is not None  # noqa: S101 - the caller has looked
    if format_ is None:
        return loaded(winner.graph, winner.weights)
    if format_ not in ONNX_FILES:
        raise usage_error(f"--format: {unknown(format_, ONNX_FILES)}")
    if find_spec("onnxruntime") is None:
        raise NasError(
            f"--format {format_} needs onnxruntime; pip install 'nas-engine[onnx]'", exit_code=5
        )
    name = ONNX_FILES[format_]
    places = (Path(source, BEST, name), Path(source, name))
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        data = " --data ..." if format_ == "int8" else ""
        raise usage_error(
            f"{source} holds no {name}; write one into a folder and name that: "
            f"nas export {source} --format {format_}{data} --out ..."
        )
    return OnnxNetwork(file, winner)


@final
class OnnxNetwork(nn.Module):
    """A file of ONNX, run on the CPU.

    Args:
        file: The file.
        winner: The network that it must be of.

    Raises:
        NasError: If it is damaged, or has another input or output (exit code 2).
    """

    def __init__(self, file: Path, winner: Winner) -> None:
        super().__init__()
        self._file, self._outputs = file, tuple(int(side) for side in winner.graph.output_shape)
        try:
            self._session = session(file)
            names = [
                [value.name for value in values]
                for values in (self._session.get_inputs(), self._session.get_outputs())
            ]
        except Exception as error:
            raise usage_error(f"{file}: cannot be read: {_first_line(error)}") from error
        if names != [["images"], ["scores"]]:
            raise usage_error(f"{file}: must have the input images and the output scores")

    def forward(self, images: Tensor) -> Tensor:
        """Scores of images.

        Raises:
            NasError: If the file is of another network (exit code 2).
        """
        try:
            (scores,) = self._session.run(["scores"], {"images": images.cpu().numpy()})
        except Exception as error:
            raise usage_error(f"{self._file}: cannot be run: {_first_line(error)}") from error
        found = torch.from_numpy(scores)
        if found.ndim != 1 + len(self._outputs) or found.shape[1] != self._outputs[0]:
            raise usage_error(
                f"{self._file}: must return {self._outputs[0]} scores, got {tuple(found.shape)}"
            )
        return found


def session(file: Path, *, threads: int = 0) -> Any:
    """What ONNX Runtime runs a file with, on the CPU.

    Sums of 8-bit products do not overflow on x86 processors without VNNI either: those are slower
    then, but as exact as the others.

    Args:
        file: The model.
        threads: How many compute; 0 for all cores.
    """
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what is wrong is raised as well
    options.add_session_config_entry("session.x64quantprecision", "1")
    return runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
