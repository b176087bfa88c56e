"""Published data sets by name, from files that are there already or are fetched if asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.cache import cache
from estimators.cifar_files import Layout, read_records
from estimators.data import ImageData, assemble
from estimators.idx_files import read_idx
from estimators.memory import check_fits
from estimators.paths import is_file, is_folder, is_there
from estimators.splits import partition

SYSTEM = Path("/usr/share/datasets")  # where Debian's packages of data have their files
URL = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True, slots=True)
class IdxSet:
    """A data set of four idx files.

    Attributes:
        name: What a user calls it.
        folder: Its folder as torchvision has it, in which ``raw`` holds the files.
        files: Images and labels of the training split, then of the test split, each with the MD5
            of its content. Those that torchvision has are of the published gzip files, which
            packages compress anew.
    """

    name: str
    folder: str
    files: Mapping[str, str]


MNIST = IdxSet(
    "mnist",
    "MNIST",
    {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)
FASHION_MNIST = IdxSet(
    "fashion-mnist",
    "FashionMNIST",
    {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)
CIFAR10 = Layout(
    archive="cifar-10-binary.tar.gz",
    digest="c32a1d4ab5d03f1284b67883e8d87530",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    names="batches.meta.txt",
    counts=(50_000, 10_000),
    labels=1,
    pickled=("cifar-10-batches-py", "cifar-10-python.tar.gz"),
)
CIFAR100 = Layout(
    archive="cifar-100-binary.tar.gz",
    digest="03b5dce01913d631647c71ecec9e9cb8",
    folder="cifar-100-binary",
    train=("train.bin",),
    test="test.bin",
    names="fine_label_names.txt",
    counts=(50_000, 10_000),
    labels=2,  # the coarse one first
    pickled=("cifar-100-python", "cifar-100-python.tar.gz"),
)


def mnist(*, data_dir: Path | None = None, download: bool = False) -> ImageData:
    """MNIST: 60,000 and 10,000 handwritten digits, 28x28 grey pixels (LeCun et al., 1998).

    The published test split is the test split; validation is 15 % of the training images,
    stratified by class, the same for every run.

    Args:
        data_dir: Folder of the files, plain or gzipped, or one that has them where torchvision
            puts them (``MNIST/raw``). None for the user's cache, then ``SYSTEM``.
        download: Whether to fetch what is not there, into ``data_dir`` or the cache.

    Raises:
        ValueError: If files are missing or not the published ones, or cannot be fetched.
    """
    return _idx_set(MNIST, [str(number) for number in range(10)], data_dir, download=download)


def fashion_mnist(*, data_dir: Path | None = None, download: bool = False) -> ImageData:
    """Fashion-MNIST: 60,000 and 10,000 pieces of clothing, 28x28 grey pixels (arXiv:1708.07747).

    Otherwise as ``mnist``; torchvision's folder is ``FashionMNIST/raw``.
    """
    from torchvision.datasets import FashionMNIST  # noqa: PLC0415 - slow to import, rarely needed

    return _idx_set(FASHION_MNIST, FashionMNIST.classes, data_dir, download=download)


def cifar10(*, data_dir: Path | None = None, download: bool = False) -> ImageData:
    """CIFAR-10: 50,000 and 10,000 photographs of 10 classes, 32x32 pixels (Krizhevsky, 2009).

    Splits as for ``mnist``. The binary version is read, as archive or unpacked; the version for
    Python is pickled, which could run code, and is refused.
    """
    return _cifar("cifar10", CIFAR10, data_dir, download=download)


def cifar100(*, data_dir: Path | None = None, download: bool = False) -> ImageData:
    """CIFAR-100: as ``cifar10``, with 100 classes; its 20 coarse ones are not looked at."""
    return _cifar("cifar100", CIFAR100, data_dir, download=download)


def _idx_set(
    wanted: IdxSet, classes: Sequence[str], data_dir: Path | None, *, download: bool
) -> ImageData:
    files = _idx_files(wanted, data_dir, download=download)
    images, labels, test_images, test_labels = (
        read_idx(file, axes=axes, digest=digest)
        for file, axes, digest in zip(files, (3, 1, 3, 1), wanted.files.values(), strict=True)
    )
    for one, other, file in ((images, labels, files[1]), (test_images, test_labels, files[3])):
        if len(one) != len(other):
            raise ValueError(f"{file}: must hold {len(one):,} labels, got {len(other):,}")
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{files[2]}: images must have {images.shape[1:]} pixels as those of the training "
            f"split, got {test_images.shape[1:]}"
        )
    data = _data(
        wanted.name,
        np.concatenate([images, test_images])[:, np.newaxis],
        np.concatenate([labels, test_labels]).astype(np.int64),
        train=len(images),
        classes=classes,
    )
    return _told(data, files[0].parent, data_dir)


def _idx_files(wanted: IdxSet, data_dir: Path | None, *, download: bool) -> list[Path]:
    """The four files, fetched if they have to be and may.

    Raises:
        ValueError: If one is missing, or cannot be fetched.
    """
    try:
        return _find_idx(wanted, data_dir)
    except FileNotFoundError as error:
        if not download:
            raise ValueError(_missing(wanted.name, str(error))) from error
    _fetch_idx(wanted, cache() if data_dir is None else data_dir)
    return _find_idx(wanted, data_dir)


def _find_idx(wanted: IdxSet, data_dir: Path | None) -> list[Path]:
    """The four files, of the first folder that has all of them.

    Raises:
        FileNotFoundError: If none has; the message says what is missing and where, in a folder
            with some of them if there is one.
    """
    if data_dir is None:
        roots = [cache(), SYSTEM]
        places = [root / sub for root in roots for sub in (f"{wanted.folder}/raw", wanted.name)]
    else:
        places = [data_dir / wanted.folder / "raw", data_dir]
    lacking = []
    for place in places:
        files = [_plain_or_gzipped(place / name) for name in wanted.files]
        missing = [name for name, file in zip(wanted.files, files, strict=True) if file is None]
        if not missing:
            return [file for file in files if file is not None]
        if len(missing) < len(files):
            lacking.append(f"{missing[0]}[.gz] is not in {place}")
    first = next(iter(wanted.files))
    lacking.append(f"{first}[.gz] is not in {' or '.join(map(str, places))}")
    raise FileNotFoundError(lacking[0])


def _plain_or_gzipped(file: Path) -> Path | None:
    return next((one for one in (file, file.with_name(f"{file.name}.gz")) if is_file(one)), None)


def _fetch_idx(wanted: IdxSet, root: Path) -> None:
    from torchvision import datasets  # noqa: PLC0415 - slow to import, rarely needed

    try:
        getattr(datasets, wanted.folder)(root, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(_not_fetched(wanted.name, root, error)) from error


def _cifar(name: str, layout: Layout, data_dir: Path | None, *, download: bool) -> ImageData:
    root = cache() if data_dir is None else data_dir
    place = _cifar_place(layout, root)
    if place is None and download:
        _fetch_archive(name, layout, root)
        place = root / layout.archive
    if place is None:
        for pickled in layout.pickled:
            if is_there(root / pickled):
                raise ValueError(
                    f"{root / pickled}: is the version for Python, pickled, which is never read; "
                    f"put {layout.archive} of {URL}cifar.html beside it, or use --download"
                )
        raise ValueError(_missing(name, f"{layout.archive} or {layout.folder} is not in {root}"))
    records = read_records(place, layout)
    train = layout.counts[0]
    data = _data(name, records.images, records.labels, train=train, classes=records.classes)
    return _told(data, place, data_dir)


def _cifar_place(layout: Layout, root: Path) -> Path | None:
    """The folder or archive, if it is there."""
    if is_folder(root / layout.folder):
        return root / layout.folder
    if is_file(root / layout.test):
        return root
    return root / layout.archive if is_file(root / layout.archive) else None


def _fetch_archive(name: str, layout: Layout, root: Path) -> None:
    from torchvision.datasets.utils import download_url  # noqa: PLC0415 - slow to import

    try:
        download_url(f"{URL}{layout.archive}", str(root), layout.archive, layout.digest)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(_not_fetched(name, root, error)) from error


def _data(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    train: int,
    classes: Sequence[str],
) -> ImageData:
    """Splits of published images.

    Args:
        name: What to call the data.
        images: ``(images, channels, height, width)``, training images first.
        labels: Class of each image.
        train: How many are training images.
        classes: Name of each class.

    Raises:
        ValueError: If they do not fit into memory, or a class is missing.
    """
    check_fits(*images.shape)
    given = np.where(np.arange(len(images)) < train, 0, 2)
    pixels = images.astype(np.float32) / np.float32(255)
    parts = partition(labels, classes, given=given)
    return assemble(pixels, labels, parts, name=name, classes=classes)


def _told(data: ImageData, place: Path, data_dir: Path | None) -> ImageData:
    """The data, whose notice names the place if the user did not."""
    if data_dir is not None:
        return data
    lines = [f"{data.name} is read from {place}", data.notice]
    return replace(data, notice="; ".join(filter(None, lines)))


def _missing(name: str, where: str) -> str:
    return f"{name}: {where}; fetch it with --download, or name its folder with --data-dir"


def _not_fetched(name: str, root: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"{name}: cannot be fetched into {root}: {reason:.300}; name a folder that has it with "
        "--data-dir"
    )
