"""Weights from elsewhere: the one place where files of torch's own format are read.

Such a file can hold code. It is read in a process of its own, with limits on memory, time and
files, by a loader that accepts tensors and nothing else.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from nas.errors import NasError, usage_error
from nas.loading import build_meta, find
from nas.run_folder import write_bytes
from nas.terminal import printable
from search_spaces.graph import Graph

MAX_BYTES = 8 * 2**30
MAX_SECONDS = 300
COUNTER = "num_batches_tracked"  # batches a norm has seen: of no use to a trained network

# Arguments: the file, where to write, the file's size, the seconds it may take.
_READER = """
import sys
import torch
from safetensors.torch import save_file

source, target, size, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
try:
    import resource
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
except (ImportError, OSError):
    pass  # not Linux: the limit on time remains
else:
    most = {"AS": held + 4 * size + 2**29, "CPU": seconds, "FSIZE": 2 * size + 2**20}
    for kind, value in most.items():
        limit = getattr(resource, "RLIMIT_" + kind)
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
try:
    found = torch.load(source, map_location="cpu", weights_only=True)
except Exception:
    sys.exit("is no file of tensors alone, is damaged, or needs more memory than its size allows")
for key in ("state_dict", "model"):
    if isinstance(found, dict) and isinstance(found.get(key), dict):
        found = found[key]
if not isinstance(found, dict) or not found:
    sys.exit("holds no state dict")
if not all(
    isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided
    for name, value in found.items()
):
    sys.exit("holds other things than tensors with names")
if sum(value.numel() * value.element_size() for value in found.values()) > 2 * size:
    sys.exit("holds tensors that are larger than the file")
# In the order of the file, which safetensors does not keep.
ordered = {
    f"{place:06}:{name}": value.clone(memory_format=torch.contiguous_format)
    for place, (name, value) in enumerate(found.items())
}
save_file(ordered, target)
"""


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written.

    Attributes:
        tensors: Number of tensors.
        params: Parameters of the network.
        by_name: Whether the file's names were those of the network; else order and shapes agree.
    """

    tensors: int
    params: int
    by_name: bool


def convert(
    source: Path,
    out: Path,
    network: str,
    *,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
) -> Converted:
    """Write the weights in a file of torch's format as safetensors, under a network's own names.

    Args:
        source: A state dict, or a dictionary that holds one as ``state_dict`` or ``model``.
        out: The safetensors file to write, not there yet.
        network: Whose weights they are; see ``nas.loading.load``.
        input_shape: To adapt a reference network to, as for ``nas.loading.load``.
        num_classes: Likewise.

    Raises:
        NasError: If the file cannot be read as tensors alone, or is of another network (exit code
            2), or the result cannot be written (5).
    """
    if out.exists():
        raise usage_error(f"{out} is there already; choose another file with --out")
    graph = find(network, input_shape=input_shape, num_classes=num_classes).winner.graph
    found = _read(source)
    try:
        weights, by_name = matched(found, graph)
    except ValueError as error:
        raise usage_error(f"weights: {source}: {error} (network: {network})") from error
    write_bytes(out, save(weights))
    return Converted(len(weights), graph.params, by_name)


def matched(found: Mapping[str, Tensor], graph: Graph) -> tuple[dict[str, Tensor], bool]:
    """A foreign state dict under the names of a network, and whether it had them itself.

    Tensors are taken by name where the names are the network's, else in their order. Counters of
    batches, which some files lack, are set to 0.

    Raises:
        ValueError: If number or shapes differ, or values are not finite floats.
    """
    model = build_meta(graph).state_dict()
    expected = {name: value for name, value in model.items() if not _counts(name)}
    theirs = {name: value for name, value in found.items() if not _counts(name)}
    by_name = theirs.keys() == expected.keys()
    names = list(expected) if by_name else list(theirs)
    if len(names) != len(expected):
        raise ValueError(f"must hold {len(expected)} tensors, got {len(names)}")
    weights = {name: torch.zeros_like(value, device="cpu") for name, value in model.items()}
    for (name, wanted), foreign in zip(expected.items(), names, strict=True):
        value = theirs[foreign]
        shown = printable(foreign)[:80]
        if value.shape != wanted.shape:
            raise ValueError(
                f"{shown} must have shape {tuple(wanted.shape)}, as {name}, "
                f"got {tuple(value.shape)}"
            )
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise ValueError(f"{shown} must hold finite floats")
        weights[name] = value.to(wanted.dtype).contiguous()
    return weights, by_name


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def _read(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file by name, in the file's order, read in another process.

    Raises:
        NasError: If that does not end well (exit code 2).
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise usage_error(f"weights: cannot read {path}: {error.strerror}") from error
    if not path.is_file() or size > MAX_BYTES:
        raise usage_error(f"weights: {path} must be a file of at most {MAX_BYTES >> 30} GiB")
    with tempfile.TemporaryDirectory(prefix="nas-weights-") as folder:
        target = Path(folder, "tensors.safetensors")
        command = [sys.executable, "-I", "-c", _READER, str(path.absolute()), str(target)]
        try:
            done = subprocess.run(  # noqa: S603 - our own script, with names of files
                [*command, str(size), str(MAX_SECONDS)],
                capture_output=True,
                text=True,
                check=False,
                timeout=MAX_SECONDS,
                cwd=folder,
            )
        except subprocess.TimeoutExpired as error:
            raise usage_error(f"weights: {path}: takes longer than {MAX_SECONDS} s") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            reason = lines[-1] if done.returncode == 1 and lines else "ended its reader"
            raise usage_error(f"weights: {path}: {printable(reason)[:200]}")
        try:
            ordered = load_file(target)
        except (SafetensorError, OSError) as error:
            raise NasError(f"cannot read {target}: {error}", exit_code=5) from error
    return {name.partition(":")[2]: ordered[name] for name in sorted(ordered)}
