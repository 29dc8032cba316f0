"""A folder of odd files, and what a careful reader must make of each."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

OK, SKIP, ERROR, IGNORED = "ok", "skip", "error", "ignored"


def photo(width: int = 40, height: int = 24) -> np.ndarray:
    """Smooth colours, darker to the top left: uint8 H W 3."""
    x = np.linspace(20, 235, width, dtype=np.float32)[None, :].repeat(height, 0)
    y = np.linspace(20, 235, height, dtype=np.float32)[:, None].repeat(width, 1)
    return np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG header with next to no pixels behind it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(64)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def with_text_bomb(png: bytes, inflated: int) -> bytes:
    """The PNG with a comment that inflates to many bytes, put behind its header."""
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(inflated)))
    return png[:33] + bomb + png[33:]


def with_orientation(orientation: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(photo(), kind, exif=exif)


def _frames(count: int = 3) -> list[Image.Image]:
    return [Image.fromarray(np.roll(photo(), 5 * n, axis=1)) for n in range(count)]


def good_files() -> Iterator[tuple[bytes, bytes]]:
    rgb = photo()
    alpha = np.dstack([rgb, np.full(rgb.shape[:2], 90, np.uint8)])
    grey16 = rgb[:, :, 0].astype(np.uint16) * 257
    first, *others = _frames()
    png, jpeg = encode(rgb), encode(rgb, "JPEG", quality=95)
    yield b"plain.jpg", jpeg
    yield b"plain.png", png
    yield b"UPPER.PNG", png
    yield b"Mixed.JpEg", jpeg
    yield b"still.webp", encode(rgb, "WEBP", lossless=True)
    yield b"plain.bmp", encode(rgb, "BMP")
    yield b"plain.tiff", encode(rgb, "TIFF")
    yield b"plain.ppm", encode(rgb, "PPM")
    yield b"a_png_named.jpg", png
    yield b"progressive.jpg", encode(rgb, "JPEG", progressive=True)
    yield b"cmyk.jpg", encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95)
    yield b"grey.png", encode(rgb[:, :, 0])
    yield b"grey16.png", encode(grey16)
    yield b"grey16.tif", encode(grey16, "TIFF")
    yield b"one_bit.png", encode(Image.fromarray(rgb).convert("1"))
    yield b"palette.png", encode(Image.fromarray(rgb).quantize(8), transparency=0)
    yield b"rgba.png", encode(alpha)
    yield b"grey_alpha.png", encode(Image.fromarray(alpha).convert("LA"))
    yield b"animated.gif", encode(first, "GIF", save_all=True, append_images=others)
    yield b"animated.webp", encode(first, "WEBP", save_all=True, append_images=others)
    yield b"turned.jpg", with_orientation(6)
    yield b"one_pixel.png", encode(rgb[:1, :1])
    yield b"line.png", encode(photo(300, 1))
    yield b"strip.png", encode(photo(6000, 3))
    yield b"trailing_script.jpg", jpeg + b"<script>alert(1)</script>"
    yield b"damaged_exif.jpg", with_orientation(6).replace(b"Exif\0\0II*\0", b"Exif\0\0II*\xff")
    yield b"stem.png", png
    yield b"stem.jpg", jpeg
    yield "gesichter 顔 😀.png".encode(), png
    yield b"new\nline.png", png
    yield b"latin1_\xe9.png", png
    yield b"<img src=x onerror=alert(1)>.png", png
    yield b"{{7}}%s$(id);`id`.png", png
    yield b"#a?b=c&d.png", png
    yield b"--strict.png", png
    yield b"n" * 251 + b".png", png


def bad_files() -> Iterator[tuple[bytes, bytes]]:
    jpeg, png = encode(photo(200, 150), "JPEG"), encode(photo(200, 150))
    damaged = bytearray(png)
    damaged[len(png) // 2 : len(png) // 2 + 16] = b"\xff" * 16
    yield b"half.jpg", jpeg[: len(jpeg) // 2]
    yield b"half.png", png[: len(png) // 2]
    yield b"half.bmp", encode(photo(), "BMP")[:1000]
    yield b"half.ppm", encode(photo(), "PPM")[:1000]
    yield b"half.webp", encode(photo(200, 150), "WEBP")[:300]
    yield b"damaged.png", bytes(damaged)
    yield b"empty.jpg", b""
    yield b"not_found.jpg", b"<html><body>404</body></html>"
    yield b"drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    yield b"magic_only.jpg", b"\xff\xd8\xff\xe0"
    yield b"postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield b"float.tif", encode(photo()[:, :, 0].astype(np.float32) / 255, "TIFF")
    yield b"int32.tif", encode(photo()[:, :, 0].astype(np.int32), "TIFF")


def dangerous_files() -> Iterator[tuple[bytes, bytes]]:
    yield b"above_our_limit.png", png_claiming(8200, 8200)
    yield b"pillow_warns.png", png_claiming(10_000, 10_000)
    yield b"pillow_refuses.png", png_claiming(20_000, 20_000)
    yield b"largest_header.png", png_claiming(2**31 - 1, 2**31 - 1)
    yield b"text_bomb.png", with_text_bomb(encode(photo()), 4 * 2**20)


def ignored_files() -> Iterator[tuple[bytes, bytes]]:
    yield b".hidden.png", encode(photo())
    yield b"._fork.jpg", b"\x00\x05\x16\x07" + bytes(60)
    yield b"Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(60)
    yield b"notes.txt", b"not an image"


def write_odd_images(folder: Path, *, dangerous: bool = True) -> dict[str, str]:
    """Fill a folder; return the class of each name: OK, SKIP, ERROR or IGNORED."""
    classes = {}
    kinds = [(OK, good_files()), (SKIP, bad_files()), (IGNORED, ignored_files())]
    for kind, files in [*kinds, (ERROR, dangerous_files())] if dangerous else kinds:
        for name, data in files:
            Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(data)
            classes[os.fsdecode(name)] = kind
    (folder / "directory.jpg").mkdir()
    (folder / "loop_a.png").symlink_to("loop_b.png")
    (folder / "loop_b.png").symlink_to("loop_a.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "itself").symlink_to(".")
    (folder / "link.jpg").symlink_to("plain.jpg")
    os.mkfifo(folder / "pipe.png")
    for name in ("directory.jpg", "loop_a.png", "loop_b.png", "dangling.png", "pipe.png"):
        classes[name] = SKIP
    return classes | {"itself": IGNORED, "link.jpg": OK}
