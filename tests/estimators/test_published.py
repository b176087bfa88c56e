"""Published data by name: read as they were published, or refused in one line."""

import gzip
import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from estimators import idx_files, published
from estimators.cifar_files import PIXELS
from estimators.data import ImageData

Names = tuple[str, ...]
NAMES: Names = tuple(published.MNIST.files)
Load = Callable[..., ImageData]


def idx(array: np.ndarray) -> bytes:
    lengths = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes()


def contents(train: int = 70, test: int = 20) -> list[bytes]:
    """Noise of 10 classes in the published form."""
    rng = np.random.default_rng(0)
    arrays = []
    for count in (train, test):
        arrays.append(rng.integers(0, 256, (count, 6, 5), dtype=np.uint8))
        arrays.append((np.arange(count) % 10).astype(np.uint8))
    return [idx(array) for array in arrays]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def miniature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bytes]:
    """A tiny MNIST and Fashion-MNIST are the published ones; no place has them yet."""
    whole = contents()
    digests = dict(zip(NAMES, map(md5, whole), strict=True))
    for name in ("MNIST", "FASHION_MNIST"):
        monkeypatch.setattr(published, name, replace(getattr(published, name), files=digests))
    monkeypatch.setattr(published, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return whole


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address, on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def write(folder: Path, files: list[bytes], *, gzipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(NAMES, files, strict=True):
        packed = gzip.compress(content) if gzipped else content
        (folder / (f"{name}.gz" if gzipped else name)).write_bytes(packed)
    return folder


def test_every_layout_holds_the_same_images(tmp_path: Path, miniature: list[bytes]) -> None:
    flat = published.mnist(data_dir=write(tmp_path / "flat", miniature, gzipped=True))
    write(tmp_path / "root" / "MNIST" / "raw", miniature)
    nested = published.mnist(data_dir=tmp_path / "root")
    assert flat.fingerprint == nested.fingerprint
    assert (flat.name, flat.input_shape) == ("mnist", (1, 6, 5))
    assert flat.classes == tuple("0123456789")
    assert flat.notice == ""


def test_the_published_test_split_stays_and_validation_is_of_the_training_images(
    tmp_path: Path, miniature: list[bytes]
) -> None:
    data = published.mnist(data_dir=write(tmp_path, miniature))
    assert [len(one) for one in (data.train, data.validation, data.test)] == [59, 11, 20]
    assert data.test.labels.tolist() == list(range(10)) * 2
    pixels = np.frombuffer(miniature[2], np.uint8, offset=16).reshape(20, 1, 6, 5) / 255
    expected = (pixels - data.mean[0]) / data.std[0]
    assert np.abs(data.test.images.numpy() - expected).max() < 1e-5
    assert set(data.validation.labels.tolist()) == set(range(10))


def test_the_images_are_those_that_torchvision_reads(
    tmp_path: Path, miniature: list[bytes]
) -> None:
    write(tmp_path / "FashionMNIST" / "raw", miniature)
    theirs = FashionMNIST(str(tmp_path), train=False)
    ours = published.fashion_mnist(data_dir=tmp_path)
    expected = (theirs.data.numpy() / 255 - ours.mean[0]) / ours.std[0]
    assert np.abs(ours.test.images[:, 0].numpy() - expected).max() < 1e-5
    assert ours.test.labels.tolist() == theirs.targets.tolist()
    assert ours.classes == tuple(theirs.classes)


def test_what_is_installed_is_found_and_told(tmp_path: Path, miniature: list[bytes]) -> None:
    place = write(tmp_path / "system" / "fashion-mnist", miniature, gzipped=True)
    assert f"fashion-mnist is read from {place}" in published.fashion_mnist().notice
    write(tmp_path / "cache" / "nas-engine" / "FashionMNIST" / "raw", miniature)
    assert "cache" in published.fashion_mnist().notice  # the user's own comes first


def test_a_download_is_checked_and_read(
    tmp_path: Path,
    miniature: list[bytes],
    served: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror = write(served[0], miniature, gzipped=True)
    files = [(f"{name}.gz", md5((mirror / f"{name}.gz").read_bytes())) for name in NAMES]
    monkeypatch.setattr(FashionMNIST, "mirrors", [served[1]])
    monkeypatch.setattr(FashionMNIST, "resources", files)
    data = published.fashion_mnist(download=True)
    assert f"{tmp_path / 'cache'}" in data.notice
    again = published.fashion_mnist(data_dir=tmp_path / "cache" / "nas-engine")
    assert again.fingerprint == data.fingerprint
    (mirror / f"{NAMES[2]}.gz").write_bytes(b"another file")
    with pytest.raises(ValueError, match=r"cannot be fetched into .*--data-dir") as caught:
        published.fashion_mnist(data_dir=tmp_path / "new", download=True)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named_with_both_ways_on(tmp_path: Path, miniature: list[bytes]) -> None:
    one_line(published.mnist, f"mnist: {NAMES[0]}[.gz] is not in {tmp_path / 'cache'}")
    one_line(published.mnist, "fetch it with --download, or name its folder with --data-dir")
    (write(tmp_path / "a", miniature) / NAMES[3]).unlink()
    one_line(published.mnist, f"{NAMES[3]}[.gz] is not in {tmp_path / 'a'};", tmp_path / "a")


def test_a_part_of_a_set_hides_no_whole_one(tmp_path: Path, miniature: list[bytes]) -> None:
    place = write(tmp_path / "cache/nas-engine/FashionMNIST/raw", miniature)
    whole = published.fashion_mnist()
    (place / NAMES[1]).unlink()
    one_line(published.fashion_mnist, f"{NAMES[1]}[.gz] is not in {place};")
    write(tmp_path / "system/fashion-mnist", miniature)
    assert published.fashion_mnist().fingerprint == whole.fingerprint


def one_line(load: Load, message: str, data_dir: Path | None = None) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        load(data_dir=data_dir)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


SIDES = np.zeros((70, 5, 5), np.uint8)
DAMAGED: dict[str, tuple[int, Callable[[bytes], bytes], str]] = {
    "cut": (0, lambda whole: whole[:-7], "must hold the 70x6x5 values that its header names, got"),
    "too long": (1, lambda whole: whole + b"x", "must hold the 70 values that its header names"),
    "of another type": (
        0,
        lambda whole: b"\0\0\x0d\3" + whole[4:],
        "begins with 00000803, got 0000",
    ),
    "of other axes": (1, lambda _: idx(np.zeros((70, 1), np.uint8)), "of bytes with 1 axes"),
    "empty": (2, lambda _: b"", "must be an idx file of bytes with 3 axes, which begins with"),
    "text": (3, lambda _: b"<html>", "begins with 00000801, got 3c68746d"),
    "another": (0, lambda whole: whole[:-1] + b"x", "is not the published file, whose MD5 is"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_refused(tmp_path: Path, miniature: list[bytes], kind: str) -> None:
    place, damage, message = DAMAGED[kind]
    miniature[place] = damage(miniature[place])
    file = f"{write(tmp_path, miniature, gzipped=True) / NAMES[place]}.gz: "
    one_line(published.mnist, file, tmp_path)
    one_line(published.mnist, message, tmp_path)


def test_a_gzip_file_that_is_cut_or_none_is_refused(
    tmp_path: Path, miniature: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, miniature, gzipped=True) / f"{NAMES[0]}.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    one_line(published.mnist, f"{file}: cannot be read: ", tmp_path)
    file.write_bytes(b"no archive")
    one_line(published.mnist, f"{file}: cannot be read: Not a gzipped file", tmp_path)
    file.write_bytes(whole)
    monkeypatch.setattr(idx_files, "MOST_BYTES", 1000)
    one_line(published.mnist, f"{file}: must hold at most 1,000 bytes, got more", tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([*contents()[:1], *contents(71)[1:]], "-labels-idx1-ubyte: must hold 70 labels, got 71"),
        ([*contents()[:2], idx(SIDES[:20]), contents()[3]], "images must have (6, 5) pixels as"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[bytes], message: str
) -> None:
    digests = dict(zip(NAMES, map(md5, files), strict=True))
    monkeypatch.setattr(published, "MNIST", replace(published.MNIST, files=digests))
    write(tmp_path, files)
    one_line(published.mnist, message, tmp_path)


@pytest.fixture(params=["CIFAR10", "CIFAR100"])
def cifar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Load, Any]:
    """A tiny CIFAR of two classes is the published one."""
    layout = replace(getattr(published, request.param), counts=(20, 4))
    monkeypatch.setattr(published, request.param, layout)
    return getattr(published, request.param.lower()), layout


def binary(folder: Path, layout: Any) -> np.ndarray:
    """Write the binary version; what its files hold, in their order."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / layout.names).write_text("cat\ndog\n\n")
    records = rng.integers(0, 256, (24, layout.labels + PIXELS), dtype=np.uint8)
    records[:, layout.labels - 1] = np.arange(24) % 2
    parts = np.split(records[:20], len(layout.train))
    for name, part in zip((*layout.train, layout.test), (*parts, records[20:]), strict=True):
        (folder / name).write_bytes(part.tobytes())
    return records


def test_cifar_is_read_unpacked_and_from_the_archive(
    tmp_path: Path,
    cifar: tuple[Load, Any],
    served: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load, layout = cifar
    records = binary(tmp_path / "a" / layout.folder, layout)
    data = load(data_dir=tmp_path / "a")
    assert (data.classes, data.input_shape) == (("cat", "dog"), (3, 32, 32))
    assert [len(one) for one in (data.train, data.validation, data.test)] == [17, 3, 4]
    pixels = records[20:, layout.labels :].reshape(4, 3, 32, 32) / 255
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (data.mean, data.std))
    assert np.abs(data.test.images.numpy() - (pixels - mean) / std).max() < 1e-5
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert load(data_dir=tmp_path / "a" / layout.folder).fingerprint == data.fingerprint
    archive = served[0] / layout.archive
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tmp_path / "a" / layout.folder, layout.folder)
    one_line(load, f"{archive}: is not the published file, whose MD5 is", served[0])
    right = replace(layout, digest=md5(archive.read_bytes()))
    monkeypatch.setattr(published, load.__name__.upper(), right)
    assert load(data_dir=served[0]).fingerprint == data.fingerprint
    monkeypatch.setattr(published, "URL", served[1])
    fetched = load(data_dir=tmp_path / "c", download=True)
    assert fetched.fingerprint == data.fingerprint


def test_damaged_cifar_is_refused(
    tmp_path: Path, cifar: tuple[Load, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, layout = cifar
    one_line(load, f"{layout.archive} or {layout.folder} is not in {tmp_path}; fetch", tmp_path)
    records = binary(tmp_path / layout.folder, layout)
    test = tmp_path / layout.folder / layout.test
    test.write_bytes(records[20:].tobytes()[:-1])
    one_line(load, f"{test}: must hold 4 images of {records.shape[1]:,} bytes, got ", tmp_path)
    records[21, layout.labels - 1] = 9
    test.write_bytes(records[20:].tobytes())
    one_line(load, f"{test}: labels must be below 2, got 9 at image 1", tmp_path)
    (tmp_path / layout.folder / layout.names).write_bytes(b"\xff\n")
    one_line(load, f"{layout.names}: must be text", tmp_path)
    (tmp_path / layout.folder / layout.names).write_bytes(b"cat")
    one_line(load, f"{layout.names}: must name at least 2 classes, got 1", tmp_path)
    test.unlink()
    one_line(load, f"{test}: cannot be read: No such file", tmp_path)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        packed.addfile(tarfile.TarInfo("other"), io.BytesIO())
    (tmp_path / layout.folder).rename(tmp_path / "away")
    archive = (tmp_path / "a.tar.gz").rename(tmp_path / layout.archive)
    right = replace(layout, digest=md5(archive.read_bytes()))
    monkeypatch.setattr(published, load.__name__.upper(), right)
    one_line(load, f"{archive}: cannot be read: ", tmp_path)


class Opens:
    """A pickle of it writes a file when it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


def test_the_pickled_version_is_refused_and_not_read(
    tmp_path: Path, cifar: tuple[Load, Any]
) -> None:
    load, layout = cifar
    (tmp_path / layout.pickled[0]).mkdir()
    for name in ("data_batch_1", "train", "test", "meta", "batches.meta"):
        content = pickle.dumps(Opens(tmp_path / "opened"))
        (tmp_path / layout.pickled[0] / name).write_bytes(content)
    one_line(load, "is the version for Python, pickled, which is never read; put", tmp_path)
    assert not (tmp_path / "opened").exists()


@pytest.mark.skipif(
    not (published.SYSTEM / "fashion-mnist").exists(), reason="Debian's package is not installed"
)
@pytest.mark.slow
def test_the_installed_fashion_mnist_is_the_published_one() -> None:
    data = published.fashion_mnist(data_dir=published.SYSTEM / "fashion-mnist")
    assert [len(one) for one in (data.train, data.validation, data.test)] == [51000, 9000, 10000]
    # Mean and standard deviation that are in general use, over all 60,000 training images.
    assert data.mean[0] == pytest.approx(0.2860, abs=5e-4)
    assert data.std[0] == pytest.approx(0.3530, abs=5e-4)
