"""`offline-v1`: image features without trained weights.

For machines that cannot fetch Inception, and for scoring during short trainings. Distances on
these features order degradations and domains; they are **not comparable with published numbers**.

An image is brought to 128 px; a pyramid of 128, 64, 32 and 16 px follows. Five groups of features:

- `colour`: layout on a 4 x 4 grid, soft histograms of luma and of chroma;
- `edges`: oriented filters (quadrature pairs), by orientation, split into edges, dark lines and
  bright lines, at all scales (dark lines are what makes an outline);
- `flatness`: how much of the picture has a local deviation below each of several thresholds;
- `spectrum`: energy in rings of spatial frequency, and its excess over a scale-free fall;
- `texture`: a second layer of fixed random filters over the maps of the groups above, rectified
  and pooled, in the way of a scattering transform (Bruna and Mallat 2013): which edges, colours
  and flat areas lie beside which.

Random filters come from the raw output of PCG64, which numpy keeps stable between versions.
Each feature is centred and scaled by constants measured once on procedural pictures
(`eval.features.procedural`), softly bounded, and each group gets the same share of the variance.
"""

import json
import math
from collections.abc import Iterator
from functools import cache
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.features.images import Images, as_uint8, resize_clean
from eval.features.procedural import procedural_images

SIZE = 128
ORIENTATIONS = 4
FLAT_THRESHOLDS = (0.004, 0.008, 0.016, 0.032, 0.064)  # of the range [0, 1]
RINGS = 12
TEXTURE_FILTERS = 24
BOUND = 4.0  # of a centred and scaled feature
CHUNK = 16  # images at once: bounds memory, keeps maps in the cache


def random_filters(seed: int, *shape: int) -> Tensor:
    """Uniform numbers with mean 0 and variance 1, the same on every platform and numpy version."""
    raw = np.random.PCG64(seed).random_raw(math.prod(shape))
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy((uniform - 0.5) * math.sqrt(12)).reshape(shape).float()


def gabor_bank() -> Tensor:
    """Quadrature pairs of oriented filters, (2 * ORIENTATIONS, 1, 7, 7): even ones first.

    Wavelength 4 px. Even filters have no mean, so that flat areas answer with 0; all have unit
    absolute sum. A bright line excites an even filter positively, a dark line negatively.
    """
    axis = np.arange(-3, 4)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    even, odd = [], []
    for k in range(ORIENTATIONS):
        angle = math.pi * k / ORIENTATIONS
        across = x * math.cos(angle) + y * math.sin(angle)
        wave = window * np.cos(math.pi / 2 * across)
        wave -= window * wave.sum() / window.sum()
        even.append(wave / np.abs(wave).sum())
        wave = window * np.sin(math.pi / 2 * across)
        odd.append(wave / np.abs(wave).sum())
    return torch.from_numpy(np.stack(even + odd)[:, None]).float()


def frequency_rings() -> Tensor:
    """Ring masks over a real FFT of a SIZE x SIZE image, (RINGS, SIZE * (SIZE // 2 + 1)).

    Rings are spaced in logarithm from 2 cycles an image to the Nyquist frequency; each sums to 1.
    """
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE
    fx = np.fft.rfftfreq(SIZE)[None, :] * SIZE
    radius = np.hypot(fy, fx).ravel()
    borders = np.geomspace(1.5, SIZE / 2, RINGS + 1)
    rings = np.stack(
        [
            (radius >= low) & (radius < high)
            for low, high in zip(borders[:-1], borders[1:], strict=True)
        ]
    )
    return torch.from_numpy(rings / rings.sum(1, keepdims=True)).float()


def halve(x: Tensor) -> Tensor:
    """Half the size with the binomial filter 1 3 3 1, N C H W."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    channels = x.shape[1]
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = F.conv2d(x, taps.view(1, 1, 1, 4).expand(channels, 1, 1, 4), stride=(1, 2), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 4, 1).expand(channels, 1, 4, 1), stride=(2, 1), groups=channels)


def opponent(rgb: Tensor) -> Tensor:
    """Luma and two colour differences from RGB in [0, 1], N 3 H W (ITU-R BT.601)."""
    matrix = rgb.new_tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    return torch.einsum("oc,nchw->nohw", matrix, rgb)


def soft_histogram(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Membership of each value in `bins` triangular bins from low to high, values.shape + (bins,)."""
    centres = torch.linspace(low, high, bins)
    width = (high - low) / (bins - 1)
    clamped = values.clamp(low, high)
    return (1 - (clamped[..., None] - centres).abs() / width).clamp_min(0)


def local_deviation(luma: Tensor) -> Tensor:
    """Standard deviation in 5 x 5 windows, N 1 H W."""
    padded = F.pad(luma, (2, 2, 2, 2), mode="replicate")
    both = torch.cat([padded, padded**2], 1)
    mean, square = F.avg_pool2d(F.avg_pool2d(both, (5, 1), 1), (1, 5), 1).chunk(2, dim=1)
    return (square - mean**2).clamp_min(1e-8).sqrt()


def pool(maps: Tensor, grid: int) -> Tensor:
    """Means on a grid x grid raster, flattened: N (C * grid * grid)."""
    return F.adaptive_avg_pool2d(maps, grid).flatten(1)


class _Bank:
    """The fixed filters, and the groups of features computed with them."""

    def __init__(self) -> None:
        self.gabors = gabor_bank()
        self.rings = frequency_rings()
        self.window = torch.outer(torch.hann_window(SIZE), torch.hann_window(SIZE))
        self.texture = []
        maps = 2 + ORIENTATIONS + 1 + 1 + 3
        for seed in (1, 2):
            filters = random_filters(seed, TEXTURE_FILTERS, maps, 5, 5)
            filters = filters - filters.mean((2, 3), keepdim=True)
            self.texture.append(filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1))

    def __call__(self, rgb: Tensor) -> dict[str, Tensor]:
        """Features by group, each (N, d), of RGB in [0, 1], N 3 SIZE SIZE."""
        pyramid = [opponent(rgb)]
        for _ in range(3):
            pyramid.append(halve(pyramid[-1]))
        answers = [self.oriented(level[:, :1]) for level in pyramid]
        deviations = [local_deviation(level[:, :1]) for level in pyramid[:3]]
        return {
            "colour": self.colour(pyramid[2]),
            "edges": self.edges(pyramid, answers),
            "flatness": self.flatness(deviations),
            "spectrum": self.spectrum(pyramid[0][:, 0]),
            "texture": self.textures(pyramid, answers, deviations),
        }

    def oriented(self, channel: Tensor) -> tuple[Tensor, Tensor]:
        """Even and odd answers of one channel, each N ORIENTATIONS H W."""
        padded = F.pad(channel, (3, 3, 3, 3), mode="reflect")
        return F.conv2d(padded, self.gabors).chunk(2, dim=1)

    def colour(self, x: Tensor) -> Tensor:
        """Layout and histograms of the 32 px level."""
        luma, blue, red = x.flatten(2).unbind(1)
        luma_bins = soft_histogram(luma, 0, 1, 10).mean(1)
        chroma_bins = torch.einsum(
            "npi,npj->nij",
            soft_histogram(blue, -0.3, 0.3, 5),
            soft_histogram(red, -0.3, 0.3, 5),
        ).flatten(1) / x[0, 0].numel()
        saturation = torch.hypot(blue, red)
        moments = torch.stack([luma.std(1), blue.std(1), red.std(1), saturation.mean(1)], 1)
        return torch.cat([pool(x, 4), luma_bins.sqrt(), chroma_bins.sqrt(), moments], 1)

    def edges(self, pyramid: list[Tensor], answers: list[tuple[Tensor, Tensor]]) -> Tensor:
        features = []
        for even, odd in answers:
            modulus = torch.hypot(even, odd)
            dark, bright = (-even).clamp_min(0), even.clamp_min(0)
            features += [pool(modulus, 2), pool(dark, 1), pool(bright, 1), pool(odd.abs(), 1)]
            features.append((modulus**2).mean((2, 3)).sqrt())
        for level in pyramid[1:3]:
            for channel in (level[:, 1:2], level[:, 2:3]):
                even, odd = self.oriented(channel)
                features.append(pool(torch.hypot(even, odd), 1))
        return torch.cat(features, 1).sqrt()

    def flatness(self, deviations: list[Tensor]) -> Tensor:
        features = []
        for deviation in deviations:
            flat = [torch.exp(-((deviation / FLAT_THRESHOLDS[-1]) ** 2))]
            for _ in FLAT_THRESHOLDS[1:]:  # half the threshold is the fourth power
                flat.append(flat[-1] ** 4)
            flat = torch.cat(flat, 1)
            features += [pool(flat, 1), pool(flat[:, 1::2], 2)]
        return torch.cat(features, 1)

    def spectrum(self, luma: Tensor) -> Tensor:
        centred = (luma - luma.mean((1, 2), keepdim=True)) * self.window
        energy = torch.fft.rfft2(centred).abs().square().flatten(1)
        rings = (energy @ self.rings.T + 1e-2).log()
        return torch.cat([rings, rings.diff(dim=1)], 1)

    def textures(
        self,
        pyramid: list[Tensor],
        answers: list[tuple[Tensor, Tensor]],
        deviations: list[Tensor],
    ) -> Tensor:
        features = []
        for level, filters in zip((1, 2), self.texture, strict=True):
            even, odd = answers[level]
            x, deviation = pyramid[level], deviations[level]
            maps = torch.cat(
                [
                    6 * (-even).clamp_min(0).sum(1, keepdim=True),
                    6 * even.clamp_min(0).sum(1, keepdim=True),
                    12 * torch.hypot(even, odd),
                    torch.exp(-((deviation / 0.016) ** 2)),
                    torch.hypot(x[:, 1:2], x[:, 2:3]) * 4,
                    x[:, :1],
                    x[:, 1:] * 4,
                ],
                1,
            )
            response = F.conv2d(F.avg_pool2d(maps, 2), filters, padding=2)
            features.append(pool(response.clamp_min(0), 2))
        return torch.cat(features, 1).sqrt()


class Offline:
    """The extractor `offline-v1`."""

    name = "offline-v1"
    comparable = False
    dim = 485

    def __call__(self, images: Images) -> np.ndarray:
        center, scale = _constants()["center"], _constants()["scale"]
        features = []
        for groups in raw_features(images):
            parts = []
            for values, middle, spread in zip(groups.values(), *(c.split([g.shape[1] for g in groups.values()]) for c in (center, scale)), strict=True):
                z = (values - middle) / spread
                z = z / (1 + (z / BOUND) ** 2).sqrt()
                parts.append(z * math.sqrt(self.dim / (len(groups) * z.shape[1])))
            features.append(torch.cat(parts, 1))
        return torch.cat(features).numpy() if features else np.empty((0, self.dim), np.float32)


def calibrate() -> dict[str, list[float]]:
    """Centre and scale of every feature over procedural pictures, as kept in the constants' file.

    No scale is below half the median of its group: a feature that hardly moves on those
    pictures must not outweigh the others on real ones.
    """
    chunks = list(raw_features(procedural_images(1000, seed=0)))
    center, scale = [], []
    for group in chunks[0]:
        values = torch.cat([chunk[group] for chunk in chunks]).double()
        spread = values.std(0)
        center += values.mean(0).tolist()
        scale += spread.clamp_min(spread.median() / 2).tolist()
    return {"center": [float(f"{v:.5g}") for v in center], "scale": [float(f"{v:.5g}") for v in scale]}


@cache
def _constants() -> dict[str, Tensor]:
    text = resources.files("eval.features").joinpath("offline_v1.json").read_text("utf-8")
    return {key: torch.tensor(values) for key, values in json.loads(text).items()}


def raw_features(images: Images) -> Iterator[dict[str, Tensor]]:
    """Features by group before centring and scaling, in chunks of images."""
    bank = _Bank()
    chunk: list[np.ndarray] = []

    def flush() -> dict[str, Tensor]:
        pixels = np.stack([resize_clean(image, (SIZE, SIZE)) for image in chunk])
        chunk.clear()
        with torch.inference_mode():
            return bank(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() / 255)

    for image in as_uint8(images):
        chunk.append(image)
        if len(chunk) == CHUNK:
            yield flush()
    if chunk:
        yield flush()
