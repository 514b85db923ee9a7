"""Image files from outside, decoded with limits."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from shufflec.errors import InputFileError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
# Decoders of pixel formats alone: PIL would hand others (EPS) to programs of the system.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
MAX_PIXELS = 100_000_000
_MAX_FILE_BYTES = 512 << 20


def load_image(path: str | Path) -> np.ndarray:
    """The image as uint8 [H, W, 3] in RGB, turned upright as its EXIF tag says; of an animation, the first frame.

    Raises InputFileError when the file is missing, is no image of a known format, is truncated, or has more than
    MAX_PIXELS pixels (checked before they are decoded).
    """
    path = Path(path)
    if path.is_dir():
        raise InputFileError(path, "is a folder, expected an image file")
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InputFileError(path, f"is larger than {_MAX_FILE_BYTES >> 20} MiB, too large for an image")
        with warnings.catch_warnings():
            # PIL's own warning about large images: our limit below says it in our words.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    size = f"{image.width}x{image.height}"
                    raise InputFileError(path, f"has {size} pixels, more than the {MAX_PIXELS} allowed")
                return _rgb(image)
    except FileNotFoundError as error:
        raise InputFileError(path, "no such file", "expected an image") from error
    except PermissionError as error:
        raise InputFileError(path, "cannot be read: permission denied") from error
    except UnidentifiedImageError as error:
        raise InputFileError(path, "is not an image", f"expected one of {', '.join(_FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise InputFileError(path, f"has more than the {MAX_PIXELS} pixels allowed") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error) as error:
        # What PIL's decoders raise on damaged files.
        raise InputFileError(path, f"is a damaged image: {' '.join(str(error).split())[:120]}") from error


def _rgb(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # convert("RGB") would clip 16-bit grey values at 255 instead of scaling them.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))
