"""Images of a user's own: read as they are, or refused in one line that names the file."""

import io
import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from estimators import memory
from estimators.data import ImageData, Split, from_arrays
from estimators.folds import identity
from estimators.image_files import read_image
from estimators.lazy_images import LazyImages
from estimators.sources import read_path
from estimators.task import Classification
from estimators.training import Training
from nas.__main__ import main

Damage = Callable[[Path], object]


def folder(root: Path, *splits: str, count: int = 8) -> Path:
    """Noise in two classes."""
    rng = np.random.default_rng(0)
    for split in splits or (".",):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (6, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    return root


def table(root: Path, *, header: str = "path,label", ends: str = "") -> Path:
    folder(root)
    lines = [f"{label}/{at}.png,{label}{ends}" for label in ("cat", "dog") for at in range(8)]
    (root / "all.csv").write_text("\n".join([header, *lines]) + "\n")
    return root / "all.csv"


def archive(root: Path, **arrays: np.ndarray) -> Path:
    whole = {"x": np.arange(16 * 48, dtype=np.uint8).reshape(16, 6, 8), "y": np.arange(16) % 2}
    np.savez(root / "all.npz", **(arrays or whole))
    return root / "all.npz"


def test_folders_tables_and_archives_of_the_same_images_agree(tmp_path: Path) -> None:
    first = read_path(folder(tmp_path / "a"))
    second = read_path(table(tmp_path / "b"))
    assert first.classes == ("cat", "dog")
    assert first.input_shape == (1, 6, 8)
    assert [len(s) for s in (first.train, first.validation, first.test)] == [10, 3, 3]
    assert first.fingerprint == second.fingerprint
    names = [(label, at) for label in ("cat", "dog") for at in range(8)]
    x = [np.asarray(Image.open(tmp_path / "a" / label / f"{at}.png")) for label, at in names]
    y = np.array([["cat", "dog"].index(label) for label, _ in names])
    third = read_path(archive(tmp_path, images=np.stack(x), labels=y[:, np.newaxis]))
    assert (third.mean, third.std) == (first.mean, first.std)
    assert bool((third.train.images == first.train.images).all())


@pytest.mark.parametrize("word", ["val", "validation"])
def test_splits_that_are_given_stay(tmp_path: Path, word: str) -> None:
    root = folder(tmp_path / "a", "train", word, "test", count=3)
    for name in (".DS_Store", "Thumbs.db", ".hidden"):
        (root / name).write_bytes(b"x")
        (root / "train" / "cat" / name).write_bytes(b"x")
    data = read_path(root)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [6, 6, 6]


def test_mixed_sizes_become_the_median_or_what_is_asked_for(tmp_path: Path) -> None:
    root = folder(tmp_path / "a")
    Image.new("RGBA", (30, 20), (1, 2, 3, 4)).save(root / "cat" / "0.png")
    assert read_path(root).input_shape == (3, 6, 8)
    assert read_path(root, image_size=(12, 5)).input_shape == (3, 12, 5)


def test_groups_of_a_table_stay_together(tmp_path: Path) -> None:
    file = table(tmp_path / "a")
    lines = file.read_text().splitlines()
    rows = [f"{line},{number // 2}" for number, line in enumerate(lines[1:])]
    file.write_text("\n".join(["path,label,patient", *rows]))
    assert read_path(file, group="patient").fingerprint != read_path(file).fingerprint


def test_folds_are_known_by_groups_and_the_data_are_not(tmp_path: Path) -> None:
    file = table(tmp_path / "a")
    lines = file.read_text().splitlines()[1:]
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    found = []
    for together in (2, 4):  # of the first images, all in train
        groups = [0 if at < together else at // 2 for at in range(16)]
        rows = [f"{line},{splits[at % 8]},{groups[at]}" for at, line in enumerate(lines)]
        file.write_text("\n".join(["path,label,split,group", *rows]))
        found.append(read_path(file))
    assert torch.equal(found[0].train.images, found[1].train.images)
    assert found[0].fingerprint == found[1].fingerprint
    assert identity(found[0]) != identity(found[1])
    for folds, same in ((1, True), (2, False)):
        data = []
        for images in found:
            training = Training(folds=folds, epochs=1)
            training.prepare(images, Classification(2))
            data.append(training.recipe["data"])
        assert (data[0] == data[1]) == same


def _splits(data: ImageData) -> tuple[Split, Split, Split]:
    return data.train, data.validation, data.test


FOLDERS: dict[str, tuple[Damage, str]] = {
    "truncated": (lambda r: cut(r / "cat/3.png"), "cat/3.png: cannot be read"),
    "zero bytes": (
        lambda r: (r / "cat/3.png").write_bytes(b""),
        "cat/3.png: cannot be read: it is e",
    ),
    "text": (
        lambda r: (r / "cat/a.jpg").write_text("hello"),
        "a.jpg: cannot be read: it is no PNG",
    ),
    "a bomb": (lambda r: Image.new("1", (9999, 9999)).save(r / "cat/b.png"), "cat/b.png: must hav"),
    "a link without end": (
        lambda r: (r / "cow").symlink_to("cow"),
        "cow: is a link that leads no",
    ),
    "a long link": (lambda r: (r / "cat/l.png").symlink_to("l" * 300), "l.png: is a link that le"),
    "a dangling link": (lambda r: (r / "cat/l.png").symlink_to("no"), "l.png: is a link that lead"),
    "an empty class": (lambda r: (r / "cow").mkdir(), "cow: is a class without images"),
    "nested": (lambda r: (r / "cat/x").mkdir(), "cat/x: is a folder in that of a class"),
    "beside": (lambda r: (r / "a.png").touch(), "a.png: lies beside the folders"),
    "few": (
        lambda r: [(r / f"cat/{n}.png").unlink() for n in range(3)],
        "a: every class .* 5 of cat",
    ),
}
ROWS = {
    "a path that is not there": ("cow/1.png,cat", "line 18: cow/1.png is not there"),
    "a path outside": ("../x.png,cat", "line 18: path must lie in the folder"),
    "an absolute path outside": ("/x.png,cat", "line 18: path must lie in the folder"),
    "no label": ("cat/1.png,", "line 18: label must not be empty"),
    "no path": (",cat", "line 18: path must not be empty"),
    "another label": ("cat/1.png,dog", "line 18: cat/1.png is on line 3 already, as 'cat' there"),
    "twice": ("./cat/1.png,cat", "line 18: ./cat/1.png is on line 3 already"),
    "too many values": ("cat/1.png,cat,dog", "line 18: must have 2 values, got 3"),
    "a folder": ("cat,cat", "cat: is no file"),
    "blanks for a label": ("cat/1.png,  ", "line 18: label must not be empty"),
    "quotes after a blank": ('cat/1.png, "cat"', "line 18: must have no blank before quotes, got"),
}
X, Y = np.zeros((16, 6, 8), np.uint8), np.arange(16) % 2
ARCHIVES: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "objects": ({"x": np.array([{}] * 16), "y": Y}, "must hold plain arrays"),
    "object labels": (
        {"x": X, "y": Y.astype(object)},
        "must hold plain arrays",
    ),
    "channels first": ({"x": np.zeros((16, 9, 6, 8), np.uint8), "y": Y}, "images must have shape"),
    "NaN": (
        {"x": np.full((16, 6, 8), np.nan), "y": Y},
        "NaN or infinity in image 0",
    ),
    "negative labels": ({"x": X, "y": Y - 1}, "numbered from 0 on without gaps, got -1"),
    "float labels": ({"x": X, "y": Y / 1.0}, "labels must be whole numbers, got float64"),
    "short labels": ({"x": X, "y": Y[1:]}, "labels must have shape \\(16,\\), got \\(15,\\)"),
    "no labels": ({"x": X}, "must hold labels"),
    "another name": ({"pictures": X, "y": Y}, "must hold arrays such as x and y"),
    "one class": ({"x": X, "y": Y * 0}, "labels must name 2 classes, got 1"),
    "all equal": ({"x": X, "y": Y}, "images must differ, got 16 equal ones"),
    "one number": ({"x": np.array(3), "y": Y}, "images must be an array of images, got a single"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def refused(path: Path, message: str, group: str | None = None) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_path(path, group=group)
    assert "\n" not in str(caught.value)


def damaged(root: Path, kind: str) -> tuple[Path, str]:
    """A data set with a fault, and what is said of it."""
    if kind in ARCHIVES:
        arrays, message = ARCHIVES[kind]
        return archive(root, **arrays), message
    if kind in ROWS:
        row, message = ROWS[kind]
        file = table(root / "a")
        file.write_text(file.read_text() + row + "\n")
        return file, message
    damage, message = FOLDERS[kind]
    damage(folder(root / "a"))
    return root / "a", message


@pytest.mark.parametrize("kind", [*FOLDERS, *ROWS, *ARCHIVES])
def test_what_is_damaged_is_refused_in_one_line_and_nothing_is_started(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, message = damaged(tmp_path, kind)
    refused(path, message)
    arguments = ["nas", "search", "--data", str(path), "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests
        with pytest.raises(SystemExit) as ended:
            main()
    out, error = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert len(error.splitlines()) == 1
    assert re.search(message, error)
    assert not (tmp_path / "run").exists()


def test_twenty_kinds_of_damage_have_messages_of_their_own(tmp_path: Path) -> None:
    said = set()
    for place, kind in enumerate([*FOLDERS, *ROWS, *ARCHIVES]):
        root = tmp_path / str(place)
        root.mkdir()
        path, _ = damaged(root, kind)
        with pytest.raises(ValueError, match=r".") as caught:
            read_path(path)
        words = str(caught.value).replace(str(root), "")
        said.add(re.sub(r"\S*/\S*|\d+", "", words))  # neither paths nor numbers
    assert len(said) >= 20


def raw(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def header(shape: tuple[int, ...]) -> bytes:
    """The beginning of an array file, and nothing of the array."""
    stream = io.BytesIO()
    values = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, values)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"no array", b"", header((10**14,)), header((16, 6, 8)), b"\x93NUMPY\x01\x00\x02\x00{("],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(raw(tmp_path / "a.npz", x=content, y=content), "a.npz: ")


def test_names_that_no_file_has_are_not_there(tmp_path: Path) -> None:
    refused(Path("x" * 1000), "is not there")
    file = table(tmp_path / "a")
    file.write_text(file.read_text() + "x" * 1000 + ",cat\n")
    refused(file, "is not there")


def test_what_is_resized_must_fit_into_memory_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, x=X, y=Y)
    monkeypatch.setattr("estimators.memory.free_memory", lambda: 2**30)
    with pytest.raises(ValueError, match="must fit into"):
        read_path(path, image_size=(4000, 4000))


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every set is large; files that were read as images."""
    read: list[Path] = []

    def watched(path: Path, channels: int) -> np.ndarray:
        read.append(path)
        return read_image(path, channels)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("estimators.pixel_store.LARGE", 0)
    monkeypatch.setattr("estimators.examples.read_image", watched)
    return read


def test_a_large_folder_is_read_once_until_a_file_changes(
    tmp_path: Path, large: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "a")
    first = read_path(root)
    assert len(large) == 16
    with monkeypatch.context() as patch:
        patch.setattr("estimators.pixel_store.LARGE", 2**28)
        small = read_path(root)
    assert torch.equal(first.train.images[:], small.train.images[:])
    large.clear()
    again = read_path(root)
    assert not large
    assert again.fingerprint == first.fingerprint
    Image.fromarray(np.full((6, 8), 9, np.uint8)).save(root / "cat" / "3.png")
    changed = read_path(root)
    assert len(large) == 16
    assert changed.fingerprint != first.fingerprint
    assert read_path(root, image_size=(4, 4)).input_shape == (1, 4, 4)


def test_a_damaged_file_of_a_large_folder_is_refused(
    tmp_path: Path, large: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path, channels: int) -> np.ndarray:
        if path.match("dog/5.png"):
            raise ValueError(f"{path}: cannot be read: it ends too soon")
        return read_image(path, channels)

    monkeypatch.setattr("estimators.examples.read_image", damaged)
    refused(folder(tmp_path / "a"), "dog/5.png: cannot be read")
    assert not large
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("large")
def test_a_large_archive_stays_as_8_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 6, 8, 3), dtype=np.uint8), np.arange(24) % 2
    splits = {"x_train": x[:16], "y_train": y[:16], "x_test": x[16:], "y_test": y[16:]}
    found = read_path(archive(tmp_path, **splits))
    assert isinstance(found.train.images, LazyImages)
    assert [len(one) for one in (found.train, found.validation, found.test)] == [13, 3, 8]
    one = torch.from_numpy(x[16:].transpose(0, 3, 1, 2)).double() / 255
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (found.mean, found.std))
    assert torch.allclose(found.test.images[:], ((one - mean) / std).float(), atol=1e-6)
    floats = {"x": (x / 255).astype(np.float32), "y": y}
    assert isinstance(read_path(archive(tmp_path, **floats)).train.images, torch.Tensor)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "none: is empty")
    refused(tmp_path / "nowhere", "nowhere: is not there")
    (tmp_path / "a.txt").touch()
    refused(tmp_path / "a.txt", "must be a folder of images, a .csv or an .npz file")
    (tmp_path / "cut.npz").write_bytes(archive(tmp_path).read_bytes()[:200])
    refused(tmp_path / "cut.npz", "cut.npz: cannot be read")
    words = table(tmp_path / "w", header="path,label,split", ends=",training")
    refused(words, "line 2: split must be one of train, val, validation, test, got 'training'")
    refused(table(tmp_path / "l", header="path,class"), "must have a column 'label'")
    one = table(tmp_path / "g", header="path,label,group", ends=",all")
    refused(one, "too few or too large groups")
    refused(one, "must have a column 'patient'", "patient")
    refused(folder(tmp_path / "f"), "--group needs a CSV file", "patient")
    more = folder(tmp_path / "m", "train", "val", "test", count=2)
    (more / "train" / "dog").rename(more / "train" / "cow")
    refused(more, "m: every class must be in train, got dog in validation only")
    (tmp_path / "none.csv").touch()
    refused(tmp_path / "none.csv", "none.csv: is empty; its first line names the columns path and")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("1", "1.0"), "labels 1 and 1.0 are the same number"),
        (("10", "1e1"), "labels 10 and 1e1 are the same number"),
        (("0", "nan"), "label must be a name or a number, got 'nan'"),
        (("-inf", "2"), "label must be a name or a number, got '-inf'"),
    ],
)
def test_labels_that_are_numbers_are_told_apart_by_their_value(
    tmp_path: Path, labels: tuple[str, str], message: str
) -> None:
    file = table(tmp_path / "a")
    text = file.read_text()
    for name, label in zip(("cat", "dog"), labels, strict=True):
        text = text.replace(f",{name}\n", f",{label}\n")
    file.write_text(text)
    refused(file, message)


def test_names_may_look_like_numbers_and_long_numbers_differ(tmp_path: Path) -> None:
    for place, labels in enumerate(
        [("nan", "rice"), ("1", "1.0x"), ("12345678901234567890", "12345678901234567891")]
    ):
        file = table(tmp_path / str(place))
        text = file.read_text()
        for name, label in zip(("cat", "dog"), labels, strict=True):
            text = text.replace(f",{name}\n", f",{label}\n")
        file.write_text(text)
        assert read_path(file).classes == labels


def test_blanks_around_the_values_of_a_table_do_not_count(tmp_path: Path) -> None:
    plain = table(tmp_path / "a")
    spaced = table(tmp_path / "b", header="path, label")
    spaced.write_text(spaced.read_text().replace(",cat\n", ", cat \n", 3))
    assert read_path(spaced).classes == ("cat", "dog")
    assert read_path(spaced).fingerprint == read_path(plain).fingerprint


def test_what_spreadsheets_leave_behind_does_not_count(tmp_path: Path) -> None:
    plain, file = table(tmp_path / "a"), table(tmp_path / "b", header="path,label,,", ends=",,")
    file.write_text(file.read_text() + ",,,\n   \n")
    assert read_path(file).fingerprint == read_path(plain).fingerprint


def test_values_that_are_divided_by_something_else_are_told(tmp_path: Path) -> None:
    file = table(tmp_path / "a")
    file.write_text(file.read_text().replace(",", ";"))
    refused(file, "must have a column 'path', got path;label; values are divided by commas")


def test_classes_with_numbers_are_in_their_order(tmp_path: Path) -> None:
    file = table(tmp_path / "a")
    file.write_text(file.read_text().replace(",cat\n", ",10\n").replace(",dog\n", ",2\n"))
    found = read_path(file)
    assert found.classes == ("2", "10")
    named = table(tmp_path / "b")  # the same images, in the same order of the names
    named.write_text(named.read_text().replace(",dog\n", ",eel\n"))
    for one, other in zip(_splits(found), _splits(read_path(named)), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, 1 - other.labels)


def test_an_absolute_path_past_a_link_lies_in_the_folder(tmp_path: Path) -> None:
    file = table(tmp_path / "a")
    text = file.read_text().replace("cat/", f"{tmp_path.resolve()}/a/cat/")
    file.write_text(text)
    (tmp_path / "link").symlink_to("a")
    direct, linked = read_path(file), read_path(tmp_path / "link" / "all.csv")
    assert direct.fingerprint == linked.fingerprint


def test_arrays_must_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).random((16, 6, 8, 3))
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * 16 * 48 * 3 * 8)
    assert from_arrays(pixels, Y).input_shape == (3, 6, 8)
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * 16 * 48 * 3 * 8 - 2)
    with pytest.raises(ValueError, match="got 16 of 3x6x8 that need"):
        from_arrays(pixels, Y)


def test_what_may_not_be_looked_at_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "a")

    def denied(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **named: Any) -> Any:
            if str(path).endswith("cat/3.png"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **named)

        return call

    for name in ("os.stat", "os.lstat", "builtins.open"):
        module, _, function = name.partition(".")
        monkeypatch.setattr(name, denied(getattr(sys.modules[module], function)))
    refused(root, "cat/3.png: cannot be read: Permission denied")


def test_what_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "a")
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * 16 * 48 * 8)
    assert read_path(root).input_shape == (1, 6, 8)
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * 16 * 48 * 8 - 2)
    refused(root, "choose a smaller --image-size")
