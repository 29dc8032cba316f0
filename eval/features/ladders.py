"""Does an extractor order what gets worse? Ladders of degradations on real pictures.

    python -m eval.features.ladders FOLDER_A FOLDER_B

Half of folder A is degraded step by step and compared with the other half, so that no picture is
compared with itself. The last two ladders replace a growing part of it by pictures of folder B:
the distance to A has to grow, the distance to B has to fall. With few pictures the smallest steps
vanish in the chance of the two halves; take some hundreds.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from eval.features import create_extractor
from eval.features.base import FeatureExtractor
from eval.metrics.fid import frechet_distance
from eval.metrics.kid import kernel_distance
from zoo.images import list_images, read_image


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, sigma in px."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def noise(image: np.ndarray, std: float) -> np.ndarray:
    """White noise of this standard deviation, in grey levels of 255."""
    grain = np.random.default_rng(int(image.sum())).normal(0, std, image.shape)
    return (image + grain).round().clip(0, 255).astype(np.uint8)


def hue(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turn the hue."""
    angle, rest, value = Image.fromarray(image).convert("HSV").split()
    turned = Image.fromarray(np.asarray(angle) + np.uint8(round(degrees / 360 * 256)))
    return np.asarray(Image.merge("HSV", (turned, rest, value)).convert("RGB"))


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Move colours away from their grey by a factor; 0 is a grey picture."""
    grey = image.mean(2, keepdims=True)
    return (grey + factor * (image - grey)).round().clip(0, 255).astype(np.uint8)


def gain(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply red by the factor and divide blue by it: a colour cast."""
    return (image * np.array([factor, 1, 1 / factor])).round().clip(0, 255).astype(np.uint8)


DEGRADATIONS: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], tuple[float, ...]]] = {
    "blur, sigma px": (blur, (0.5, 1, 2, 4)),
    "noise, std of 255": (noise, (5, 10, 20, 40)),
    "hue, degrees": (hue, (10, 20, 40, 80)),
    "saturation, factor": (saturation, (0.75, 0.5, 0.25, 0)),
    "red / blue gain": (gain, (1.1, 1.2, 1.4, 1.8)),
}
MIXED = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Rung:
    """One step of a ladder."""

    ladder: str
    level: float
    fid: float
    kid: float


def ladders(
    images_a: list[np.ndarray], images_b: list[np.ndarray], extract: FeatureExtractor, seed: int = 0
) -> list[Rung]:
    """All rungs, each ladder from the undegraded half on.

    Args:
        images_a: uint8 H W 3; the even ones are the reference, the odd ones are degraded.
        images_b: uint8 H W 3 of another domain; likewise halved.
        extract: a feature extractor.
        seed: of KID's subsets.
    """
    clean = images_a[1::2]
    reference, base = extract(images_a[0::2]), extract(clean)
    other_reference, other = extract(images_b[0::2]), extract(images_b[1::2])

    def rung(ladder: str, level: float, features: np.ndarray, to: np.ndarray) -> Rung:
        kid = kernel_distance(features, to, seed=seed).mean
        return Rung(ladder, level, frechet_distance(features, to), kid)

    rungs = []
    for name, (degrade, levels) in DEGRADATIONS.items():
        rungs.append(rung(name, float("nan"), base, reference))
        for level in levels:
            features = extract([degrade(image, level) for image in clean])
            rungs.append(rung(name, level, features, reference))
    size = min(len(base), len(other))
    for name, to in (("mixed in, to A", reference), ("mixed in, to B", other_reference)):
        for part in (0.0, *MIXED):
            count = round(part * size)
            rungs.append(rung(name, part, np.concatenate([other[:count], base[count:size]]), to))
    return rungs


def ordered(rungs: list[Rung], ladder: str, metric: str) -> bool:
    """Whether a ladder's distances grow at every step (fall, for the one that ends at B)."""
    values = [getattr(r, metric) for r in rungs if r.ladder == ladder]
    steps = np.diff(values)
    return bool((steps < 0).all() if ladder == "mixed in, to B" else (steps > 0).all())


def table(rungs: list[Rung]) -> str:
    """A Markdown table: one row a ladder and metric, levels from left to right."""
    lines = ["| ladder | metric | values | in order |", "| --- | --- | --- | --- |"]
    for ladder in dict.fromkeys(r.ladder for r in rungs):
        for metric in ("fid", "kid"):
            cells = [
                f"{getattr(r, metric):.4g}" + ("" if np.isnan(r.level) else f" ({r.level:g})")
                for r in rungs
                if r.ladder == ladder
            ]
            verdict = "yes" if ordered(rungs, ladder, metric) else "**no**"
            lines.append(f"| {ladder} | {metric.upper()} | {', '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table for two folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder_a", type=Path)
    parser.add_argument("folder_b", type=Path)
    parser.add_argument("--extractor", default="offline", help="as for zoo eval")
    parser.add_argument("--limit", type=int, default=1000, help="pictures of each folder")
    arguments = parser.parse_args()
    extractor = create_extractor(arguments.extractor)
    a, b = (
        [read_image(path) for path in list_images(folder)[: arguments.limit]]
        for folder in (arguments.folder_a, arguments.folder_b)
    )
    if min(len(a), len(b)) < 8:
        parser.error(f"found {len(a)} and {len(b)} pictures; ladders need at least 8 of each")
    note = "" if extractor.comparable else " (not comparable with published numbers)"
    print(f"{extractor.name}{note}, {len(a)} and {len(b)} pictures\n")
    print(table(ladders(a, b, extractor)))


if __name__ == "__main__":
    main()
