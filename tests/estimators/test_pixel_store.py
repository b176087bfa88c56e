"""Images of 8 bits in a file: whole or not there, read when taken, sent by name."""

import errno
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators import pixel_store
from estimators.pixel_store import Mapped, PixelStore, is_large, kept

SHAPE = (5, 3, 4, 6)
VALUES = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
FLOATS = VALUES.astype(np.float32) / 255


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files go; not there at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nas-engine" / "pixels"


class Usage(NamedTuple):
    """Of a disk."""

    free: int


def never() -> Iterator[NDArray[np.float32]]:
    pytest.fail("images were read")
    yield FLOATS[0]


def there(sent: bytes) -> PixelStore:
    """What another process gets."""
    store: PixelStore = pickle.loads(sent)  # noqa: S301 - of this test
    return store


def test_a_set_is_large_by_its_values_alone() -> None:
    assert is_large(2**16, 1, 64, 64)
    assert not is_large(2**16 - 1, 1, 64, 64)


def test_what_is_taken_is_what_was_kept(folder: Path) -> None:
    store = kept(SHAPE, iter(FLOATS), name="some")
    assert (len(store), store.shape) == (5, SHAPE)
    assert np.array_equal(store.values, VALUES)
    assert np.array_equal(store[1:3], FLOATS[1:3])
    assert np.array_equal(store[np.array([4, 0])], FLOATS[[4, 0]])
    assert np.array_equal(np.load(folder / "some.npy"), VALUES)
    assert [path.name for path in folder.iterdir()] == ["some.npy"]


def test_values_between_are_rounded() -> None:
    store = kept((1, 1, 1, 3), iter([np.float32([[[0.5, 0.4999 / 255, 1.0]]])]))
    assert store.values.ravel().tolist() == [128, 0, 255]


def test_a_file_that_is_there_is_not_made_again(folder: Path) -> None:
    kept(SHAPE, iter(FLOATS), name="some")
    assert np.array_equal(kept(SHAPE, never(), name="some").values, VALUES)
    whole = (folder / "some.npy").read_bytes()
    for damaged in (whole[:-1], b"", whole[:8], b"{" + whole[1:], whole + b"0"):
        (folder / "some.npy").write_bytes(damaged)
        assert np.array_equal(kept(SHAPE, iter(FLOATS), name="some").values, VALUES)


def test_without_a_name_equal_images_have_one_file(folder: Path) -> None:
    kept(SHAPE, iter(FLOATS))
    kept(SHAPE, iter(FLOATS))
    kept(SHAPE, iter(1 - FLOATS))
    assert len(list(folder.iterdir())) == 2


def test_a_disk_without_room_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_store.shutil, "disk_usage", lambda _: Usage(359))
    with pytest.raises(ValueError, match=r"pixels: must have room for .* GiB of pixels, has"):
        kept(SHAPE, never(), name="some")
    monkeypatch.setattr(pixel_store.shutil, "disk_usage", lambda _: Usage(360))
    kept(SHAPE, iter(FLOATS), name="some")


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_store.os, "fsync", full)
    with pytest.raises(ValueError, match="pixels: cannot be written: No space left on device"):
        kept(SHAPE, iter(FLOATS), name="some")
    assert not list(folder.iterdir())


def test_an_image_that_cannot_be_read_leaves_nothing(folder: Path) -> None:
    def images() -> Iterator[NDArray[np.float32]]:
        yield FLOATS[0]
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        kept(SHAPE, images(), name="some")
    assert not list(folder.iterdir())


def test_what_killed_processes_left_goes_after_a_day(folder: Path) -> None:
    folder.mkdir(parents=True)
    old, new = folder / ".1.part", folder / ".2.part"
    for path, age in ((old, 25), (new, 23)):
        path.write_bytes(b"0")
        at = pixel_store.time.time() - age * 3600
        os.utime(path, (at, at))
    kept(SHAPE, iter(FLOATS))
    assert not old.exists()
    assert new.exists()


def test_a_file_is_sent_by_its_name_and_memory_as_it_is(folder: Path) -> None:
    many = (2_000, *SHAPE[1:])
    store = kept(many, iter(np.broadcast_to(FLOATS[0], many)), name="some")
    sent = pickle.dumps(store)
    assert len(sent) < 500
    assert np.array_equal(there(sent).values, store.values)
    assert np.array_equal(there(pickle.dumps(PixelStore(VALUES))).values, VALUES)
    (folder / "some.npy").unlink()
    with pytest.raises(OSError, match=r"cannot be read: .* must reach the folder"):
        there(sent)


def test_whole_pages_of_images_are_asked_for() -> None:
    class Memory:
        def __init__(self) -> None:
            self.asked: list[tuple[int, int]] = []

        def madvise(self, _: int, begin: int, length: int) -> None:
            assert begin % pixel_store.mmap.PAGESIZE == 0
            self.asked.append((begin, begin + length))

    memory: Any = Memory()
    Mapped(Path("some.npy"), memory, 128).expect(np.array([9, 2]), 5_000)
    for (begin, end), position in zip(memory.asked, (9, 2), strict=True):
        assert begin <= 128 + position * 5_000
        assert end == 128 + (position + 1) * 5_000


def test_images_that_are_expected_are_the_same() -> None:
    store = kept(SHAPE, iter(FLOATS))
    store.expect(np.array([0, 4]))
    PixelStore(VALUES).expect(np.array([0, 4]))
    assert np.array_equal(store.values, VALUES)
