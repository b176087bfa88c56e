"""Image files of every kind, and what is no image."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from estimators import image_files
from estimators.image_files import Header, read_header, read_image

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def saved(pixels: np.ndarray, path: Path, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "gif", "ppm", "webp"])
def test_grey_and_colour_keep_their_values(tmp_path: Path, ending: str) -> None:
    if ending == "webp" and not features.check("webp"):
        pytest.skip("this Pillow was built without WebP")
    options = {"lossless": True} if ending == "webp" else {}
    path = saved(GREY, tmp_path / f"grey.{ending}", **options)
    assert np.allclose(read_image(path, 1)[0], GREY / 255)
    assert np.allclose(read_image(path, 3), GREY / 255)
    if ending != "gif":
        path = saved(COLOUR, tmp_path / f"colour.{ending}", **options)
        found = read_image(path, 3)
        assert found.dtype == np.float32
        assert np.allclose(found, COLOUR.transpose(2, 0, 1) / 255)
        luma = COLOUR @ (0.299, 0.587, 0.114)  # ITU-R BT.601
        assert np.allclose(read_image(path, 1)[0], luma / 255, atol=0.6 / 255)


def test_what_is_transparent_lies_on_white_unless_alpha_is_read(tmp_path: Path) -> None:
    alpha = np.full((4, 6), 255, dtype=np.uint8)
    alpha[:, :3] = 0
    path = saved(np.dstack([COLOUR, alpha]), tmp_path / "a.png")
    expected = np.where(alpha == 255, COLOUR.transpose(2, 0, 1), 255) / 255
    assert np.allclose(read_image(path, 3), expected)
    assert np.allclose(read_image(path, 4)[3], alpha / 255)
    assert np.allclose(read_image(path, 4)[:3], COLOUR.transpose(2, 0, 1) / 255)
    both = saved(np.dstack([GREY, alpha]), tmp_path / "la.png")
    assert np.allclose(read_image(both, 1)[0], np.where(alpha == 255, GREY, 255) / 255)
    assert np.allclose(read_image(both, 2), np.stack([GREY, alpha]) / 255)
    palette = Image.fromarray(GREY).convert("P")
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
    assert read_image(tmp_path / "p.png", 1)[0, 0, 0] == 1


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bits_keep_their_depth(tmp_path: Path, ending: str) -> None:
    deep = (np.arange(24, dtype=np.uint16) * 2711).reshape(4, 6)
    path = saved(deep, tmp_path / f"deep.{ending}")
    assert np.allclose(read_image(path, 1)[0], deep / 65535, atol=1e-6)
    assert read_image(path, 3).shape == (3, 4, 6)
    assert np.allclose(read_image(path, 4)[3], 1)
    assert np.allclose(read_image(path, 2)[0], deep / 65535, atol=1e-6)


def test_an_image_is_turned_as_its_exif_data_say(tmp_path: Path) -> None:
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned right by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.allclose(read_image(tmp_path / "turned.png", 1)[0], np.rot90(GREY, -1) / 255)


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9))


def refusal(path: Path, channels: int = 1) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read_image(path, channels)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("sides", [(8193, 8192), (40_000, 40_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path, sides: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*sides))
    assert "pixels" in refusal(path) or "cannot be read" in refusal(path)


def test_what_is_damaged_is_refused_by_name(tmp_path: Path) -> None:
    whole = saved(
        np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), tmp_path / "w.png"
    )
    data = whole.read_bytes()
    broken = {
        "empty.png": b"",
        "text.png": b"hello",
        "cut.png": data[: len(data) // 2],
        "bits.png": data[:200] + bytes(byte ^ 255 for byte in data[200:260]) + data[260:],
        "none.png": png(8, 8)[:-20],
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nquit\n",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        assert f"{name}: cannot be read" in refusal(tmp_path / name)
    saved(GREY, tmp_path / "icon.ico")  # whole, but of a format that is not listed
    assert "icon.ico: cannot be read" in refusal(tmp_path / "icon.ico")
    assert "No such file" in refusal(tmp_path / "nothing.png")
    assert "Is a directory" in refusal(tmp_path)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_what_is_no_picture_for_the_network_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), 0.5, dtype=np.float32)).save(tmp_path / "f.tiff")
    assert "whole numbers, got floats" in refusal(tmp_path / "f.tiff")
    Image.fromarray(np.full((3, 3), 70_000, dtype=np.int32)).save(tmp_path / "i.tiff")
    assert "at most 16 bits" in refusal(tmp_path / "i.tiff")
    with pytest.raises(ValueError, match="1 to 4 channels, the network reads 7"):
        read_image(tmp_path / "f.tiff", 7)


def test_the_limit_is_on_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 24)
    assert read_image(saved(GREY, tmp_path / "a.png"), 1).shape == (1, 4, 6)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 23)
    assert "must have at most 23 pixels, got 6x4" in refusal(tmp_path / "a.png")


def test_a_header_says_size_and_colours_without_the_pixels(tmp_path: Path) -> None:
    assert read_header(saved(GREY, tmp_path / "g.png")) == Header(4, 6, grey=True)
    assert read_header(saved(COLOUR, tmp_path / "c.png")) == Header(4, 6, grey=False)
    assert read_header(saved(GREY, tmp_path / "p.gif", "P")) == Header(4, 6, grey=False)
    deep = saved(GREY.astype(np.uint16), tmp_path / "deep.png")
    assert read_header(deep) == Header(4, 6, grey=True)
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_header(tmp_path / "turned.png") == Header(6, 4, grey=True)
    data = (tmp_path / "c.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[:20])
    with pytest.raises(ValueError, match=r"cut\.png: cannot be read"):
        read_header(tmp_path / "cut.png")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_the_size_of_what_is_read(
    tmp_path: Path, ending: str, orientation: int
) -> None:
    if ending == "webp" and not features.check("webp"):
        pytest.skip("this Pillow was built without WebP")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(COLOUR, tmp_path / f"turned.{ending}", exif=exif)
    header = read_header(path)
    found = read_image(path, 3)
    assert found.shape == (3, header.height, header.width)
    assert (header.height, header.width) == ((6, 4) if orientation > 4 else (4, 6))
    if ending in {"png", "tiff"}:
        plain = COLOUR.transpose(2, 0, 1) / 255
        turns = {
            1: plain,
            2: plain[:, :, ::-1],
            3: plain[:, ::-1, ::-1],
            4: plain[:, ::-1],
            5: plain.transpose(0, 2, 1),
            6: np.rot90(plain, -1, (1, 2)),
            7: np.rot90(plain, 2, (1, 2)).transpose(0, 2, 1),
            8: np.rot90(plain, 1, (1, 2)),
        }
        assert np.allclose(found, turns[orientation])


def test_the_header_of_a_png_is_read_without_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(GREY, tmp_path / "a.png")

    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert read_header(path) == Header(4, 6, grey=True)


def test_odd_exif_data_beside_the_orientation_do_not_matter(tmp_path: Path) -> None:
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    resolution = struct.pack("<HHI4s", 0x011A, 2, 4, b"wide")  # a text, not a number
    entries = struct.pack("<H", 2) + orientation + resolution + struct.pack("<I", 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entries
    path = saved(COLOUR, tmp_path / "odd.jpg", exif=exif)
    assert read_image(path, 3).shape == (3, 6, 4)


def test_large_images_and_cut_exif_data_are_told_without_warnings(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png(10_000, 9_999))  # Pillow warns from 89 megapixels on
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "a maker of cameras"
    cut = saved(COLOUR, tmp_path / "cut.jpg", exif=exif.tobytes()[:-12])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert "at most 67,108,864 pixels" in refusal(large)
        assert read_image(cut, 3).shape == (3, 4, 6)
    assert told == []
