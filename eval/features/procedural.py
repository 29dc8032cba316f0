"""Procedural pictures between photo and drawing, for constants and tests of the extractors."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def procedural_images(count: int, seed: int, size: int = 128) -> np.ndarray:
    """Pictures with 1/f textures, shading and soft focus, or flat colours and outlines, or between.

    Args:
        count: number of pictures.
        seed: the same seed gives the same pictures.
        size: width and height in px.

    Returns:
        uint8 of shape (count, size, size, 3).
    """
    return np.stack([_picture(np.random.default_rng([seed, i]), size) for i in range(count)])


def _picture(rng: np.random.Generator, size: int) -> np.ndarray:
    drawn = rng.random()  # 0: photo-like, 1: drawing-like
    palette = rng.uniform(0, 255, (6, 3))
    palette = palette.mean(1, keepdims=True) + rng.uniform(0.1, 0.8) * (
        palette - palette.mean(1, keepdims=True)
    )
    canvas = Image.new("RGB", (size, size), tuple(palette[0].astype(int)))
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(4, 40)):
        _shape(pen, rng, size, palette, outlined=drawn > 0.5)
    pixels = np.asarray(canvas, dtype=np.float64)

    amount = 1 - drawn
    pixels *= 1 + 0.5 * amount * _fractal_noise(rng, size, 2.0)[..., None]  # light and shade
    pixels += (
        30 * amount * rng.random() * _fractal_noise(rng, size, rng.uniform(0.5, 1.5))[..., None]
    )
    canvas = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.exponential(1.5) * amount))
    pixels = np.asarray(canvas, dtype=np.float64)
    pixels += rng.exponential(6) * amount * rng.standard_normal(pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def _shape(
    pen: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    size: int,
    palette: np.ndarray,
    outlined: bool,
) -> None:
    fill = tuple(int(v) for v in (rng.choice(palette) + rng.normal(0, 12, 3)).clip(0, 255))
    line = tuple(int(v) for v in rng.uniform(0, 70, 3)) if outlined else None
    width = int(rng.integers(1, 4)) if outlined else 0
    centre = rng.uniform(0, size, 2)
    radius = size * 0.5 * rng.random() ** 2 + 2
    if rng.random() < 0.5:
        stretched = radius * rng.uniform(0.4, 1, 2)
        box = [*(centre - stretched), *(centre + stretched)]
        pen.ellipse(box, fill=fill, outline=line, width=width)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        pen.polygon([tuple(p) for p in points], fill=fill, outline=line, width=max(width, 1))


def _fractal_noise(rng: np.random.Generator, size: int, exponent: float) -> np.ndarray:
    """Noise with amplitude 1 / f^exponent, mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    phases = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
    noise = np.fft.irfft2(phases / frequency**exponent, s=(size, size))
    return (noise - noise.mean()) / noise.std()
