"""`offline-v1`: image features without trained weights.

For machines that cannot fetch Inception, and for scores during short trainings. Distances on these
features order degradations and domains (`python -m eval.features.ladders`); they are **not
comparable with published numbers**.

An image is brought to 128 px; a pyramid of 128, 64, 32 and 16 px follows. Five groups of features:

- `colour`: layout on a 4 x 4 grid, soft histograms of luma and of chroma;
- `edges`: oriented quadrature filters at all scales, dark lines and bright lines apart, as dark
  lines are what makes an outline;
- `flatness`: how much of the picture has a local deviation below each of several thresholds;
- `spectrum`: amplitude in rings of spatial frequency of the luma at 256 px, and its shape;
- `texture`: fixed random filters over maps of edges, lines, flat areas and colours, rectified and
  pooled, in the way of a scattering transform (Bruna and Mallat 2013): what lies beside what.

Random filters come from the raw output of PCG64, which numpy keeps stable between versions. Each
feature is centred and scaled by constants measured once on procedural pictures (`calibrate`),
softly bounded, and its group weighed by `SHARES`. Any change to a number here needs a new version.
"""

import json
import math
from collections.abc import Iterator
from importlib import resources
from itertools import islice, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.features.base import FeatureExtractor
from eval.features.images import Images, as_uint8, resize_clean
from eval.features.procedural import procedural_images

SIZE = 128
FINE = 256  # of the spectrum alone: a slight blur of a 256 px photo shows above 64 cycles only
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
ORIENTATIONS = 4
FLAT_THRESHOLDS = (0.006, 0.012, 0.024, 0.048, 0.096)  # each twice the last; of the range [0, 1]
RINGS = 14
TEXTURE_FILTERS = 24
# Shares of the variance over the procedural pictures. Flatness and spectrum move as one for the
# slightest blur or grain; with equal shares a faint blur would outweigh the change of domain.
SHARES = {"colour": 1.5, "edges": 1.0, "flatness": 0.5, "spectrum": 0.5, "texture": 1.5}
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
    """Ring masks over a real FFT of a FINE x FINE image, (RINGS, FINE * (FINE // 2 + 1)).

    Rings are spaced in logarithm from 2 cycles an image to the Nyquist frequency; each sums to 1.
    """
    fy = np.fft.fftfreq(FINE)[:, None] * FINE
    fx = np.fft.rfftfreq(FINE)[None, :] * FINE
    radius = np.hypot(fy, fx).ravel()
    borders = np.geomspace(1.5, FINE / 2, RINGS + 1)
    rings = np.stack([(radius >= low) & (radius < high) for low, high in pairwise(borders)])
    return torch.from_numpy(rings / rings.sum(1, keepdims=True)).float()


def halve(x: Tensor) -> Tensor:
    """Half the size with the binomial filter 1 3 3 1, N C H W."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    channels = x.shape[1]
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = F.conv2d(x, taps.view(1, 1, 1, 4).expand(channels, 1, 1, 4), stride=(1, 2), groups=channels)
    return F.conv2d(
        x, taps.view(1, 1, 4, 1).expand(channels, 1, 4, 1), stride=(2, 1), groups=channels
    )


def opponent(rgb: Tensor) -> Tensor:
    """Luma and two colour differences from RGB in [0, 1], N 3 H W (ITU-R BT.601)."""
    matrix = rgb.new_tensor(
        [LUMA.tolist(), [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    return torch.einsum("oc,nchw->nohw", matrix, rgb)


def soft_histogram(values: Tensor, low: float, high: float, bins: int) -> Tensor:
    """Membership of each value in triangular bins from low to high, (*values.shape, bins)."""
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
        self.window = torch.outer(torch.hann_window(FINE), torch.hann_window(FINE))
        self.texture = []
        maps = 2 + ORIENTATIONS + 1 + 1 + 3
        for seed in (1, 2):
            filters = random_filters(seed, TEXTURE_FILTERS, maps, 5, 5)
            filters = filters - filters.mean((2, 3), keepdim=True)
            self.texture.append(filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1))

    def __call__(self, rgb: Tensor, fine: Tensor) -> dict[str, Tensor]:
        """Features by group, each (N, d).

        Args:
            rgb: N 3 SIZE SIZE in [0, 1].
            fine: luma of the same images, N FINE FINE in [0, 1].
        """
        pyramid = [opponent(rgb)]
        for _ in range(3):
            pyramid.append(halve(pyramid[-1]))
        answers = [self.oriented(level[:, :1]) for level in pyramid]
        deviations = [local_deviation(level[:, :1]) for level in pyramid[:3]]
        return {
            "colour": self.colour(pyramid[2]),
            "edges": self.edges(pyramid, answers),
            "flatness": self.flatness(deviations),
            "spectrum": self.spectrum(fine),
            "texture": self.textures(pyramid, answers, deviations),
        }

    def oriented(self, channel: Tensor) -> tuple[Tensor, Tensor]:
        """Even and odd answers of one channel, each N ORIENTATIONS H W."""
        padded = F.pad(channel, (3, 3, 3, 3), mode="reflect")
        even, odd = F.conv2d(padded, self.gabors).chunk(2, dim=1)
        return even, odd

    def colour(self, x: Tensor) -> Tensor:
        """Layout and histograms of the 32 px level."""
        luma, blue, red = x.flatten(2).unbind(1)
        luma_bins = soft_histogram(luma, 0, 1, 10).mean(1)
        chroma_bins = (
            torch.einsum(
                "npi,npj->nij",
                soft_histogram(blue, -0.3, 0.3, 5),
                soft_histogram(red, -0.3, 0.3, 5),
            ).flatten(1)
            / x[0, 0].numel()
        )
        saturation = torch.hypot(blue, red)
        moments = torch.stack([luma.std(1), blue.std(1), red.std(1), saturation.mean(1)], 1)
        return torch.cat([pool(x, 4), luma_bins.sqrt(), chroma_bins.sqrt(), moments], 1)

    def edges(self, pyramid: list[Tensor], answers: list[tuple[Tensor, Tensor]]) -> Tensor:
        features = []
        for even, odd in answers:
            modulus = torch.hypot(even, odd)
            dark, bright = (-even).clamp_min(0), even.clamp_min(0)
            features += [pool(modulus, 2), pool(dark, 1), pool(bright, 1)]
            features.append((modulus**2).mean((2, 3)).sqrt())
        even, odd = answers[1]
        features.append(pool(torch.hypot(even, odd).sum(1, keepdim=True), 4))
        features.append(pool((-even).clamp_min(0).sum(1, keepdim=True), 4))
        for level in pyramid[1:3]:
            for channel in (level[:, 1:2], level[:, 2:3]):
                even, odd = self.oriented(channel)
                features.append(pool(torch.hypot(even, odd), 1))
        return torch.cat(features, 1).sqrt()

    def flatness(self, deviations: list[Tensor]) -> Tensor:
        features = []
        for deviation in deviations:
            levels = [torch.exp(-((deviation / FLAT_THRESHOLDS[-1]) ** 2))]
            for _ in FLAT_THRESHOLDS[1:]:  # half the threshold is the fourth power
                levels.append(levels[-1] ** 4)
            flat = torch.cat(levels, 1)
            features += [pool(flat, 1), pool(flat[:, 1::2], 2)]
        return torch.cat(features, 1)

    def spectrum(self, luma: Tensor) -> Tensor:
        centred = (luma - luma.mean((1, 2), keepdim=True)) * self.window
        energy = torch.fft.rfft2(centred).abs().square().flatten(1)
        rings = (energy @ self.rings.T) ** 0.25
        return torch.cat([rings, rings / (rings.sum(1, keepdim=True) + 1e-3)], 1)

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


class OfflineV1(FeatureExtractor):
    """The extractor `offline-v1`: deterministic, on the CPU, about 200 images a second a core."""

    name = "offline-v1"
    dim = 506
    comparable = False
    resizer = f"Pillow bicubic, not rounded, to {SIZE} px ({FINE} px for the spectrum)"

    def __init__(self) -> None:
        self._bank = _Bank()
        constants = json.loads(
            resources.files("eval.features").joinpath("offline_v1.json").read_text("utf-8")
        )
        self._center = torch.tensor(constants["center"])
        self._scale = torch.tensor(constants["scale"])

    def __call__(self, images: Images) -> np.ndarray:
        """Features (n, 506), float32; each about 0 on average, with a spread of about 1."""
        chunks = [self._normalised(groups) for groups in self.raw(images)]
        return torch.cat(chunks).numpy() if chunks else np.empty((0, self.dim), np.float32)

    def raw(self, images: Images) -> Iterator[dict[str, Tensor]]:
        """Features by group before centring and scaling, a chunk of images at a time."""
        for chunk in _chunks(as_uint8(images)):
            pixels = np.stack([resize_clean(image, (SIZE, SIZE)) for image in chunk])
            fine = [resize_clean((image @ LUMA)[..., None], (FINE, FINE)) for image in chunk]
            with torch.inference_mode():
                rgb = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() / 255
                yield self._bank(rgb, torch.from_numpy(np.stack(fine))[..., 0] / 255)

    def _normalised(self, groups: dict[str, Tensor]) -> Tensor:
        sizes = [values.shape[1] for values in groups.values()]
        weight = [SHARES[k] / n * self.dim / len(sizes) for k, n in zip(groups, sizes, strict=True)]
        z = (torch.cat(list(groups.values()), 1) - self._center) / self._scale
        z = z / (1 + (z / BOUND) ** 2).sqrt()
        return z * torch.tensor(weight).sqrt().repeat_interleave(torch.tensor(sizes))


def _chunks(images: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    while chunk := list(islice(images, CHUNK)):
        yield chunk


def calibrate() -> dict[str, list[float]]:
    """Centre and scale of every feature over procedural pictures, the content of offline_v1.json.

    No scale is below half the median of its group: a feature that hardly moves on those
    pictures must not outweigh the others on real ones.
    """
    chunks = list(OfflineV1().raw(procedural_images(1000, seed=0)))
    center: list[float] = []
    scale: list[float] = []
    for group in chunks[0]:
        values = torch.cat([chunk[group] for chunk in chunks]).double()
        spread = values.std(0)
        center += values.mean(0).tolist()
        scale += spread.clamp_min(spread.median().item() / 2).tolist()
    return {
        "center": [float(f"{value:.5g}") for value in center],
        "scale": [float(f"{value:.5g}") for value in scale],
    }
