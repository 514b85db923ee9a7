"""Images from outside: what is read, and one line for what is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shufflec.data import images
from shufflec.data.images import load_image
from shufflec.errors import ExitCode, InputFileError


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "webp", "tiff"])
def test_lossless_formats(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(load_image(path), pixels)


def test_modes_become_rgb(tmp_path):
    Image.new("L", (4, 3), 7).save(tmp_path / "grey.png")
    Image.new("P", (4, 3)).save(tmp_path / "palette.png")
    Image.new("RGBA", (4, 3), (1, 2, 3, 0)).save(tmp_path / "alpha.png")
    Image.fromarray(np.full((3, 4), 0x8033, np.uint16)).save(tmp_path / "deep.png")
    for name in ("grey", "palette", "alpha", "deep"):
        assert load_image(tmp_path / f"{name}.png").shape == (3, 4, 3)
    assert load_image(tmp_path / "grey.png")[0, 0].tolist() == [7, 7, 7]
    assert load_image(tmp_path / "deep.png")[0, 0].tolist() == [0x80, 0x80, 0x80]


def test_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (8, 4, 3)


@pytest.mark.parametrize("content", [b"", b"text, not pixels", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"])
def test_not_an_image(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="is not an image") as caught:
        load_image(path)
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputFileError, match="no such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(InputFileError, match="is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tiff", "bmp"])
def test_truncated_images(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    for keep in (len(data) // 2, 60, 20):
        path.write_bytes(data[:keep])
        with pytest.raises(InputFileError, match="image"):
            load_image(path)


def test_size_is_checked_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("1", (200, 100)).save(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 19_999)
    with pytest.raises(InputFileError, match="200x100 pixels, more than the 19999 allowed"):
        load_image(path)


def test_decompression_bomb(tmp_path):
    """Half a million bytes that would decode to four gigapixels."""
    path = tmp_path / "bomb.png"
    image = Image.new("1", (20_000, 20_000))
    image.save(path)
    with pytest.raises(InputFileError, match="pixels"):
        load_image(path)
