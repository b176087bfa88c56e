"""``model_int8.onnx``: the network in whole numbers of 8 bits, for ONNX Runtime."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from torch import Tensor

from nas.errors import usage_error
from nas.formats import onnx_model
from nas.formats.running import session
from nas.fresh_process import Check, difference, loaded, run
from nas.real_images import RealImages
from nas.run_folder import write_bytes
from search_spaces.folding import folded, folded_state
from search_spaces.graph import Graph

MODEL = "model_int8.onnx"
SAME_CLASS = 0.9  # least share of validation images with the float network's most probable class
BATCH = 32
ROUNDS, PASSES = 7, 10  # of measuring the time: medians of ratios of medians
_WITH_WEIGHTS = frozenset({"Conv", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True)
class Measured:
    """The quantised network beside the float one, on validation images.

    Attributes:
        accuracy: Share of images that get their own class.
        float_accuracy: The same of the float network.
        same_class: Share of images that get the float network's class, right or wrong.
        difference: Largest difference of scores, relative to the float network's largest one.
    """

    accuracy: float
    float_accuracy: float
    same_class: float
    difference: float


def write(
    graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: RealImages | None
) -> dict[str, str]:
    """Quantise, check and time the network.

    Batch norms are folded first. Weights are int8 with a scale for each output channel,
    activations uint8 with the range that they have on the calibration images, between operators
    too (QuantizeLinear and DequantizeLinear around each). The last layer keeps its float32
    weights: it costs little, and those of a classifier fitted to features differ most in size.

    Returns:
        Its lines of the model card.

    Raises:
        NasError: If there are no images, or too many validation images get another class (exit
            code 2).
        RuntimeError: If the file does not run, which is a defect of ours.
    """
    if real is None:
        raise usage_error("--format int8 needs --data, with images to calibrate with")
    with TemporaryDirectory() as temporary:
        plain, quantised = Path(temporary, "float.onnx"), Path(temporary, MODEL)
        after = folded(graph)
        state = folded_state(graph, {name: value.numpy() for name, value in weights.items()})
        tensors = {name: torch.from_numpy(value) for name, value in state.items()}
        onnx_model.save(after, tensors, plain)
        quantise(plain, quantised, real.calibration)
        write_bytes(folder / MODEL, quantised.read_bytes())
        image, some = (real.validation.images[:count].numpy() for count in (1, BATCH))
        ratios = [time_ratio(quantised, plain, images) for images in (image, some)]
        sizes = [path.stat().st_size for path in (quantised, plain)]
    found = measured(graph, weights, folder, real)
    _check(found, len(real.validation))
    return {
        "int8": f"{MODEL}, opset {onnx_model.OPSET}, batch norms folded, weights int8 per channel, "
        f"activations uint8, last layer float32; calibrated with {len(real.calibration):,} "
        f"training images of {real.name}; input {onnx_model.IMAGES}, output {onnx_model.SCORES}",
        "int8 checked": f"in ONNX Runtime, in a fresh process, on {len(real.validation):,} "
        f"validation images: accuracy {found.accuracy:.4g}, of the float network "
        f"{found.float_accuracy:.4g}; the same most probable class on a share of "
        f"{found.same_class:.4g} (at least {SAME_CLASS:g}); scores differ by at "
        f"most {found.difference:.2g} of the largest one",
        "int8 costs": f"{sizes[0]:,} bytes, {sizes[0] / sizes[1]:.2f} of the float network as "
        f"ONNX; {ratios[0]:.2f} of its CPU time for one image, {ratios[1]:.2f} for {len(some)} at "
        "once (ONNX Runtime, this machine, one thread)",
    }


def quantise(plain: Path, quantised: Path, calibration: Tensor) -> None:
    """Write the quantised model of a float one.

    Args:
        plain: The float model.
        quantised: What to write.
        calibration: Images, ``(images, channels, height, width)``.
    """
    model = onnx.load(plain)
    add_pre_process_metadata(model)  # it is folded and has its shapes
    last = [node.name for node in model.graph.node if node.op_type in _WITH_WEIGHTS][-1:]
    quantization.quantize_static(
        model,
        quantised,
        _Calibration(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,  # QInt8 took 4 to 9 times as long on x86
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=last,
    )


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
    """Batches of images."""

    def __init__(self, images: Tensor) -> None:
        self._batches = iter(torch.split(images, BATCH))

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch, by the name of the input; None after the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {onnx_model.IMAGES: batch.numpy()}


def measured(
    graph: Graph, weights: Mapping[str, Tensor], folder: Path, real: RealImages
) -> Measured:
    """The file in a folder, run in a fresh process, beside the network it was made from.

    Raises:
        RuntimeError: If it does not run, or its outputs are no scores, which is a defect of ours.
    """
    batches = torch.split(real.validation.images[:], BATCH)
    check = Check(MODEL, onnx_model.RUN, (MODEL,))
    found = run(check, batches, folder)
    network = loaded(graph, weights)
    with torch.inference_mode():
        expected = [network(images) for images in batches]
    error = difference(list(zip(expected, found, strict=True)), MODEL)
    ours, theirs = (_classes(torch.cat(outputs)) for outputs in (found, expected))
    labels = real.validation.labels
    return Measured(
        accuracy=_equal(ours, labels),
        float_accuracy=_equal(theirs, labels),
        same_class=_equal(ours, theirs),
        difference=error,
    )


def _classes(outputs: Tensor) -> Tensor:
    """The most probable class of each image, of a map of scores by its mean."""
    scores = outputs.mean(dim=(2, 3)) if outputs.ndim == 4 else outputs
    return scores.argmax(dim=1)


def _equal(one: Tensor, other: Tensor) -> float:
    """Share of places where both have the same."""
    return float((one == other).float().mean())


def _check(found: Measured, images: int) -> None:
    """Refuse a network that quantisation has spoilt.

    Raises:
        NasError: Then (exit code 2).
    """
    if found.same_class < SAME_CLASS:
        raise usage_error(
            f"--format int8: {found.same_class:.3g} of {images:,} validation images get the same "
            f"class as from the float network, at least {SAME_CLASS:g} must; calibrate with more "
            "images (--calibration), or leave it out"
        )


def time_ratio(one: Path, other: Path, images: NDArray[Any]) -> float:
    """CPU time of a model for some images, as a multiple of another one's.

    They are measured in turn, so that whatever else a machine does slows down both alike.
    """
    sessions = [session(path, threads=1) for path in (one, other)]

    def median(model: Any) -> float:
        seconds = []
        for _ in range(PASSES):
            begin = time.thread_time()
            model.run([onnx_model.SCORES], {onnx_model.IMAGES: images})
            seconds.append(time.thread_time() - begin)
        return statistics.median(seconds)

    for model in sessions:
        median(model)  # warms up
    return statistics.median(median(sessions[0]) / median(sessions[1]) for _ in range(ROUNDS))
