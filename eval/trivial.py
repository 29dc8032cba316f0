"""Translators that learn next to nothing: rows against which a trained one must be read.

Each is fitted with `fit(train_a, train_b)` on uint8 arrays N H W 3 and then maps one uint8 image
H W 3 of domain A to one of B. Those with `paired` false see the two domains as mere sets. Those
with `paired` true are references only: image i of both arrays must show the same thing.
"""

import zlib
from collections.abc import Callable
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from zoo.images import resize

Images = NDArray[np.uint8]  # N H W 3
Picture = NDArray[np.uint8]  # H W 3


class Trivial(Protocol):
    """What every trivial translator offers."""

    paired: bool

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Learn from training images of both domains."""

    def __call__(self, image: Picture) -> Picture:
        """Translate one image from A to B."""


class Untranslated:
    """Returns the image as it is."""

    paired = False

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Learn nothing."""
        return self

    def __call__(self, image: Picture) -> Picture:
        """Return the image."""
        return image


def _cumulative(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    counts = np.bincount(values.ravel(), minlength=256)
    return np.cumsum(counts) / counts.sum()


class HistogramMatch:
    """Gives each channel the histogram of train B, by a curve fitted on train A or per image.

    Args:
        per_image: fit the curve to each image's own histogram instead of that of all of train A.
    """

    paired = False

    def __init__(self, per_image: bool = False):
        self.per_image = per_image

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Keep the pooled histograms of both domains."""
        self.source = [_cumulative(train_a[..., c]) for c in range(3)]
        self.target = [_cumulative(train_b[..., c]) for c in range(3)]
        return self

    def __call__(self, image: Picture) -> Picture:
        """Map each channel through its curve."""
        channels = []
        for c in range(3):
            source = _cumulative(image[..., c]) if self.per_image else self.source[c]
            curve = np.interp(source, self.target[c], np.arange(256.0))
            channels.append(np.rint(curve).astype(np.uint8)[image[..., c]])
        return np.stack(channels, 2)


# RGB to the decorrelated logarithmic space of Ruderman et al. (1998).
_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])


def _to_lab(image: Images | Picture) -> NDArray[np.float64]:
    return np.log10((image / 255 + 1 / 255) @ _LMS.T) @ _LAB.T


def _from_lab(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    rgb = 10 ** (lab @ np.linalg.inv(_LAB).T) @ np.linalg.inv(_LMS).T - 1 / 255
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


class Reinhard:
    """Colour transfer (Reinhard et al. 2001): the mean and deviation of train B in l-alpha-beta.

    The statistics of the source are the image's own, those of the target the means over train B of
    each image's.
    """

    paired = False

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Keep the mean and the deviation of train B."""
        lab = _to_lab(train_b[:1000])
        self.mean = lab.mean((1, 2)).mean(0)
        self.deviation = lab.std((1, 2)).mean(0)
        return self

    def __call__(self, image: Picture) -> Picture:
        """Shift and stretch the image's colours."""
        lab = _to_lab(image)
        deviation = np.maximum(lab.std((0, 1)), 1e-3)
        return _from_lab((lab - lab.mean((0, 1))) / deviation * self.deviation + self.mean)


class FourierTransfer:
    """Fourier domain adaptation (Yang and Soatto 2020): low frequencies of an image of train B.

    The amplitudes of the lowest frequencies become those of one target image, which is chosen by
    the source's pixels; phases and everything finer stay.

    Args:
        beta: half the side of the window of exchanged frequencies, as a share of the shorter side;
            at least one frequency beside the mean is exchanged.
    """

    paired = False

    def __init__(self, beta: float = 0.05):
        self.beta = beta

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Keep train B."""
        self.targets = train_b[:1000]
        return self

    def __call__(self, image: Picture) -> Picture:
        """Exchange the amplitudes."""
        height, width = image.shape[:2]
        target = self.targets[zlib.crc32(image.tobytes()) % len(self.targets)]
        spectrum = np.fft.fft2(image, axes=(0, 1))
        other = np.fft.fft2(resize(target, (height, width)), axes=(0, 1))
        half = max(int(self.beta * min(height, width)), 1)
        rows, columns = np.arange(-half, half + 1) % height, np.arange(-half, half + 1) % width
        window = np.ix_(rows, columns)
        amplitude = np.abs(spectrum)
        amplitude[window] = np.abs(other[window])
        mixed = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum)), axes=(0, 1)).real
        return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


class Grayscale:
    """Leaves the brightness (luma of Rec. 601) and no colour."""

    paired = False

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Learn nothing."""
        return self

    def __call__(self, image: Picture) -> Picture:
        """Return three equal channels."""
        return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


class BlurPosterise:
    """Median filter and blur, then a small palette made for the image: a "cartoon" filter.

    Args:
        colors: size of the palette.
        first: a translator applied before, if any.
    """

    paired = False

    def __init__(self, colors: int = 8, first: Trivial | None = None):
        self.colors = colors
        self.first = first

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Fit the translator applied before, if any."""
        if self.first is not None:
            self.first.fit(train_a, train_b)
        return self

    def __call__(self, image: Picture) -> Picture:
        """Blur and reduce the colours."""
        picture = Image.fromarray(self.first(image) if self.first is not None else image)
        blur = max(len(image) / 64, 0.5)
        smooth = picture.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.GaussianBlur(blur))
        palette = smooth.quantize(self.colors, method=Image.Quantize.MEDIANCUT, kmeans=2)
        return np.asarray(palette.convert("RGB"))


class ColorTable:
    """The best function of a pixel's colour alone: the mean colour in B of each colour in A.

    Needs pairs. Cells of the table with few pixels lean on the table of the next coarser level.
    """

    paired = True
    _bits = (1, 2, 3, 4)

    @staticmethod
    def _cells(image: NDArray[np.integer], bits: int) -> NDArray[np.int64]:
        top = image.astype(np.int64) >> (8 - bits)
        return (top[..., 0] << (2 * bits)) | (top[..., 1] << bits) | top[..., 2]

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Average train B over the pixels of every cell of colours of train A."""
        flat_b = train_b.reshape(-1, 3)
        coarse = flat_b.mean(0)[None]
        for bits in self._bits:
            cells = self._cells(train_a, bits).ravel()
            number = 8**bits
            grid = np.indices((2**bits,) * 3).reshape(3, -1).T.astype(np.uint8) << (8 - bits)
            parent = coarse[self._cells(grid, bits - 1)]
            count = np.bincount(cells, minlength=number)
            sums = np.stack(
                [np.bincount(cells, weights=flat_b[:, c], minlength=number) for c in range(3)], 1
            )
            coarse = (sums + 20 * parent) / (count + 20)[:, None]
        self.table = np.rint(coarse).astype(np.uint8)
        return self

    def __call__(self, image: Picture) -> Picture:
        """Look every pixel up."""
        return self.table[self._cells(image, self._bits[-1])]


class PairedRegression:
    """A small convolutional network trained on pairs with the L1 distance: pix2pix less its GAN.

    A reference for how much of the truth can be inferred from the image. Adam, additive skip
    connections, deterministic.

    Args:
        steps: number of training steps.
        batch: images a step.
        width: filters at the finest scale.
    """

    paired = True

    def __init__(self, steps: int = 300, batch: int = 8, width: int = 32):
        self.steps, self.batch, self.width = steps, batch, width

    def fit(self, train_a: Images, train_b: Images) -> Self:
        """Train the network; sides must be multiples of 8."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = _network(self.width)
            optimizer = torch.optim.Adam(self.network.parameters(), lr=3e-3)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, 3e-3, self.steps, pct_start=0.1
            )
            rng = np.random.default_rng(0)
            for _ in range(self.steps):
                chosen = rng.integers(len(train_a), size=self.batch)
                loss = (
                    (self.network(_tensor(train_a[chosen])) - _tensor(train_b[chosen])).abs().mean()
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self.network.eval()
        return self

    def __call__(self, image: Picture) -> Picture:
        """Run the network."""
        import torch

        with torch.no_grad():
            output = self.network(_tensor(image[None]))[0].clamp(-1, 1)
        return ((output + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def _tensor(images: Images):
    import torch

    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _network(width: int):
    """Return a network from N 3 H W to N 3 H W that works at 1/2, 1/4 and 1/8 of the resolution."""
    from torch import nn

    def block(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(4, channels), nn.SiLU()
        )

    class Added(nn.Sequential):
        """Adds what its layers give to their input."""

        def forward(self, x):
            return x + super().forward(x)

    def halved(outer: int, inner: int, *layers: nn.Module) -> nn.Module:
        """Layers that work at half the resolution, added to their input."""
        down = nn.Sequential(nn.Conv2d(outer, inner, 4, 2, 1), nn.SiLU())
        up = nn.Sequential(nn.Conv2d(inner, 4 * outer, 1), nn.PixelShuffle(2))
        return Added(down, *layers, up)

    eighth = halved(2 * width, 4 * width, Added(block(4 * width)))
    quarter = halved(
        width, 2 * width, Added(block(2 * width)), eighth, Added(block(2 * width), block(2 * width))
    )
    return Added(
        nn.PixelUnshuffle(2),
        nn.Conv2d(12, width, 3, padding=1),
        Added(block(width)),
        quarter,
        Added(block(width)),
        nn.Conv2d(width, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )


TRIVIAL: dict[str, Callable[[], Trivial]] = {
    "untranslated": Untranslated,
    "histogram match": HistogramMatch,
    "histogram match, per image": lambda: HistogramMatch(per_image=True),
    "reinhard": Reinhard,
    "blur + posterise": BlurPosterise,
    "reinhard, blur + posterise": lambda: BlurPosterise(first=Reinhard()),
    "best colour table": ColorTable,
    "paired regression": PairedRegression,
}
