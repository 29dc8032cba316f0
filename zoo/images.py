"""Reading, writing and listing images, and the way between files and tensors.

Files hold uint8 H W C with 1 or 3 channels; networks see float N C H W in [-1, 1]. Every file is
taken to be hostile: it may be truncated, a bomb, a named pipe, or no image at all. `read_image`
ends in one of three ways only: an array, `UnreadableImage` (leave this file out) or
`DangerousImage` (do not go on).

torch is imported by the two tensor functions only, so that the command line starts quickly.
"""

import functools
import io
import logging
import os
import secrets
import stat
import struct
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from zoo.registry import UserError

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"})
# Decoders by content, not by name. Leaving out the rest keeps EPS (runs Ghostscript) and the
# seldom-tested ones away from files of unknown origin.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
MAX_PIXELS = 2**26  # 8192 x 8192: 192 MiB as RGB

# What Pillow's decoders raise for damaged files. UnidentifiedImageError is an OSError; the last
# five come from the parsers of chunks and tags.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
)


class _PillowWarnings:
    """While any thread reads: bombs are errors, talk of odd metadata (without a file name) is mute.

    `catch_warnings` alone is not safe in threads: one could restore the filters of another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
                warnings.simplefilter("error", Image.DecompressionBombWarning)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._filters.__exit__(None, None, None)


_pillow_warnings = _PillowWarnings()


class ImageError(UserError):
    """A file that cannot be used as an image.

    Attributes:
        path: the file.
        reason: why, in a few words, without the file's name.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str):
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        """The escaped path and the reason, printable on any terminal."""
        return f"{printable(self.path)}: {self.reason}"


class UnreadableImage(ImageError):
    """Not an image, or a damaged one: may be skipped."""


class DangerousImage(ImageError):
    """Decoding it could exhaust the memory: never skipped, always an error."""


def printable(name: str | os.PathLike[str]) -> str:
    r"""Return a file name with everything escaped that a log line or terminal cannot show.

    Newlines, control characters and Unicode's invisible ones become `\n`, `\x1b`, `\u200b`; bytes
    of a name that is not UTF-8 become `\xe9`. The result always encodes to UTF-8.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in os.fspath(name))


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # surrogateescape: a raw byte of the name
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def is_image_name(name: str) -> bool:
    """Tell whether a file name looks like an image: a known extension in any case, not hidden."""
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def list_images(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """List what is named like an image, in the order of the names' bytes (the same everywhere).

    Only names are looked at: `read_image` decides what is inside. Hidden files, macOS resource
    forks (`._x.jpg`) and other extensions are left out.

    Args:
        folder: where to look.
        recursive: also in sub-folders that are not hidden; links to folders are not followed.

    Raises:
        OSError: the folder does not exist or cannot be listed.
    """
    folder = Path(folder)
    if not recursive:
        found = [path for path in folder.iterdir() if is_image_name(path.name)]
        return sorted(found, key=os.fsencode)
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if is_image_name(name)]
    return sorted(found, key=os.fsencode)


def _raise(error: OSError) -> None:
    raise error


def read_image(
    path: str | os.PathLike[str], channels: int = 3, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode one file.

    Turned upright by its EXIF orientation, transparency composited on white, CMYK and palettes
    converted, 16-bit grey scaled to 8 bits, the first frame of several taken (with one log line).
    Truncated files are refused, never filled up with grey.

    Args:
        path: a regular file or a link to one; anything else (folder, named pipe) is refused
            unopened. The content decides about the format, not the extension.
        channels: 3 for RGB, 1 for luma.
        max_pixels: the largest width x height that is decoded. Pillow's own limit, 89 478 485,
            holds too.

    Returns:
        uint8 H W C.

    Raises:
        UnreadableImage: missing, not an image, damaged, or without a defined 8-bit meaning
            (floating point, 32-bit integers).
        DangerousImage: more pixels than allowed, or metadata that inflates without bound.
    """
    path = Path(path)
    try:
        _check_regular(path)
        with _pillow_warnings, Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                size = f"{image.width} x {image.height} pixels"
                raise DangerousImage(path, f"{size}, more than the {max_pixels} of max_pixels")
            # The second image inside a phone's MPO is a preview or depth map, not a frame.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                _notice_frames(path)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return from_pil(image, channels)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"more pixels than Pillow decodes ({Image.MAX_IMAGE_PIXELS})"
        raise DangerousImage(path, reason) from error
    except MemoryError as error:
        raise DangerousImage(path, "not enough memory to decode it") from error
    except _DECODER_ERRORS as error:
        # Pillow's guard against text chunks that inflate is told apart by its message only.
        if "MAX_TEXT" in str(error):
            raise DangerousImage(path, "its metadata inflates beyond Pillow's limit") from error
        raise UnreadableImage(path, _reason(error)) from error


def _check_regular(path: Path) -> None:
    """Refuse whatever is not a file before opening it: open() on a named pipe never returns."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImage(path, "a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage(path, "not a regular file")
    if status.st_size == 0:
        raise UnreadableImage(path, "an empty file")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not an image (none of {', '.join(FORMATS)})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(str(error)) or type(error).__name__


@functools.cache
def _notice_frames(path: Path) -> None:
    """Log once per file and process."""
    logger.warning("%s: has several frames, the first one is used", printable(path))


def from_pil(image: Image.Image, channels: int = 3) -> np.ndarray:
    """Convert an open Pillow image of any mode.

    Transparent pixels are composited on white, so that colours hidden under them stay hidden.

    Args:
        image: a Pillow image.
        channels: 3 for RGB, 1 for luma.

    Returns:
        uint8 H W C, a new array.

    Raises:
        ValueError: `channels` is neither 1 nor 3, or the mode has no defined 8-bit meaning.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    # Pillow scales PGM files of more than 8 bits to 16, but says mode "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # Image.convert would clip at 255. 65535 / 257 = 255; adding 128 rounds to nearest.
        image = Image.fromarray(((np.asarray(image, np.int64) + 128) // 257).astype(np.uint8))
    elif image.mode in ("F", "I"):
        kind = "floating-point" if image.mode == "F" else "32-bit integer"
        raise ValueError(f"{kind} pixels have no defined 8-bit range")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    array = np.array(image.convert("RGB" if channels == 3 else "L"))
    return array.reshape(*array.shape[:2], channels)


def write_image(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a PNG so that the file is either whole or absent, also after a kill.

    Args:
        path: ends in `.png`; its folder is made if need be, a file that is there is replaced.
        array: uint8 H W C with 1 or 3 channels, or H W.

    Raises:
        UserError: another extension.
        ValueError: another type or shape.
        OSError: the file cannot be written; the earlier one, if any, is untouched.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{printable(path)}: images are written as .png, not {path.suffix!r}")
    encoded = io.BytesIO()
    _to_pil(array).save(encoded, "PNG")
    # A short name of its own: the final one may already be as long as the file system allows.
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(encoded.getbuffer())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _to_pil(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise ValueError(f"an image is a uint8 array, not {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"an image is H W, H W 1 or H W 3, not {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def resize(image: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Resize with Pillow's bicubic filter, which antialiases when it shrinks.

    Args:
        image: uint8 H W C with 1 or 3 channels.
        size: (height, width), or one number for a square.

    Returns:
        uint8 height width C; `image` itself when it has that size already.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if image.shape[:2] == (height, width):
        return image
    resized = np.array(_to_pil(image).resize((width, height), Image.Resampling.BICUBIC))
    return resized.reshape(height, width, image.shape[2])


def grid(
    rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str] = (), gap: int = 2
) -> np.ndarray:
    """Lay images out in rows on white, each at the top left of a cell of the largest one's size.

    Args:
        rows: uint8 H W C images, 1 or 3 channels; rows may differ in length.
        labels: one heading per column, drawn above it and cut at the column's width.
        gap: white pixels between cells.

    Returns:
        uint8 H W 3.

    Raises:
        ValueError: there is no image at all.
    """
    images = [image for row in rows for image in row]
    if not images:
        raise ValueError("a grid needs at least one image")
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    columns = max(max(len(row) for row in rows), len(labels))
    font = ImageFont.load_default(11)
    top = font.getbbox("Ag")[3] + 4 if labels else 0
    size = (columns * (width + gap) - gap, top + len(rows) * (height + gap) - gap)
    canvas = Image.new("RGB", (int(size[0]), int(size[1])), "white")
    for column, label in enumerate(labels):
        heading = Image.new("RGB", (width, int(top)), "white")
        ImageDraw.Draw(heading).text((1, 1), printable(label), fill="black", font=font)
        canvas.paste(heading, (column * (width + gap), 0))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            canvas.paste(_to_pil(image), (x * (width + gap), int(top) + y * (height + gap)))
    return np.array(canvas)


def to_tensor(images: np.ndarray) -> "Tensor":
    """Convert for a network.

    Args:
        images: uint8 H W C or N H W C.

    Returns:
        float32 N C H W in [-1, 1], contiguous: 0 becomes -1 and 255 becomes 1 exactly.

    Raises:
        ValueError: another type or number of dimensions.
    """
    import torch

    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(f"wanted uint8 H W C or N H W C, not {images.dtype} {images.shape}")
    planes = np.ascontiguousarray(np.moveaxis(images, -1, -3))
    batch = torch.tensor(planes, dtype=torch.float32).div_(127.5).sub_(1)
    return batch if batch.ndim == 4 else batch[None]


def to_uint8(images: "Tensor") -> np.ndarray:
    """Convert a network's output for files: rounded to the nearest level, clamped.

    Args:
        images: float N C H W, meant to be in [-1, 1], on any device and of any precision.

    Returns:
        uint8 N H W C.

    Raises:
        ValueError: another number of dimensions, or a NaN, which has no grey level.
    """
    if images.ndim != 4:
        raise ValueError(f"wanted N C H W, not {tuple(images.shape)}")
    levels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).cpu().numpy()
    if np.isnan(levels).any():
        raise ValueError("the images hold NaN")
    return np.ascontiguousarray(np.moveaxis(levels, 1, 3).astype(np.uint8))
