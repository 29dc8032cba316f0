"""Edges kept: 1 for the same, blind to colour, falling with a shift, chance for another image."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eval.checks import MetricError
from eval.features.procedural import procedural_images
from eval.metrics.edges import SCALES, edge_agreement, edge_vectors

PICTURES = procedural_images(24, seed=0, size=64)


def agreement(images) -> float:
    return edge_agreement(PICTURES, images)[0].mean()


def disc(size: int, radius: float, inside, outside) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where((np.hypot(x, y) < radius)[..., None], inside, outside).astype(np.uint8)


def test_identity_and_inversion_are_one():
    assert agreement(PICTURES) == pytest.approx(1, abs=1e-12)
    assert agreement(255 - PICTURES) == pytest.approx(1, abs=1e-6)
    assert agreement(PICTURES[..., [2, 0, 1]]) == pytest.approx(1, abs=1e-6)


def test_recolouring_stays_high():
    tone = (255 * (PICTURES / 255) ** 0.5).astype(np.uint8)
    flat = PICTURES // 2 + 60
    grey = np.repeat(PICTURES.mean(3, keepdims=True).astype(np.uint8), 3, 3)
    assert agreement(tone) > 0.9
    assert agreement(flat) > 0.95
    assert agreement(grey) > 0.8


def test_edges_of_colour_alone_count():
    """Red on green of the same grey: a luma gradient would see next to nothing."""
    red, green = (200, 50, 50), (50, 126, 50)
    a, b = disc(64, 20, red, green), disc(64, 20, (250,) * 3, (10,) * 3)
    assert abs(np.dot(red, (0.299, 0.587, 0.114)) - np.dot(green, (0.299, 0.587, 0.114))) < 1
    assert edge_agreement([a], [b])[0].item() > 0.98


def test_falls_with_a_shift():
    found = [agreement(np.roll(PICTURES, n, axis=2)) for n in (0, 1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[1] < 0.95
    assert found[-1] < 0.4


def test_falls_with_noise_and_blur():
    rng = np.random.default_rng(0)
    noise = [
        agreement((PICTURES + rng.normal(size=PICTURES.shape) * s).clip(0, 255).astype(np.uint8))
        for s in (0, 10, 30, 90)
    ]
    blur = [agreement(gaussian_filter(PICTURES, (0, s, s, 0))) for s in (0, 1, 2, 4)]
    assert noise == sorted(noise, reverse=True)
    assert blur == sorted(blur, reverse=True)


def test_another_image_scores_at_chance_and_chance_is_the_mean_of_other_pairs():
    kept, chance = edge_agreement(PICTURES, PICTURES)
    a, n = edge_vectors(list(PICTURES)), len(PICTURES)
    pairs = (a @ a.T).numpy()
    assert kept == pytest.approx(np.diag(pairs))
    assert chance == pytest.approx((pairs.sum() - np.trace(pairs)) / (n * (n - 1)))
    others = [edge_agreement(PICTURES, np.roll(PICTURES, k, axis=0))[0].mean() for k in (1, 5, 9)]
    assert np.mean(others) == pytest.approx(chance, abs=0.05)
    assert chance < 0.2


def test_one_output_for_all_scores_exactly_at_chance():
    kept, chance = edge_agreement(PICTURES, np.repeat(PICTURES[:1], len(PICTURES), 0))
    others = (kept.sum() - 1) / (len(PICTURES) - 1)  # but the one whose own it is
    assert others < chance + 0.05
    kept, chance = edge_agreement(PICTURES[1:], np.repeat(PICTURES[:1], len(PICTURES) - 1, 0))
    assert kept.mean() == pytest.approx(chance, abs=1e-12)


def test_directions_matter_and_polarity_does_not():
    """A grating against itself moved by half a wave, and against one across."""
    wave = (127 + 100 * np.sin(np.arange(64) * 2 * np.pi / 16)).astype(np.uint8)
    along = np.repeat(np.tile(wave, (64, 1))[..., None], 3, 2)
    assert edge_agreement([along], [np.roll(along, 8, 1)])[0].item() > 0.95
    assert edge_agreement([along], [along.transpose(1, 0, 2)])[0].item() < -0.9


def test_images_without_edges():
    flat, dark = np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64, 3), np.uint8)
    assert edge_agreement([flat], [dark])[0].item() == pytest.approx(1)
    assert edge_agreement([flat], [PICTURES[0]])[0].item() == 0
    assert edge_agreement([flat], [dark])[1] is None


def test_the_size_of_an_image_hardly_matters():
    pair = [[disc(n, n * r, (250,) * 3, (20,) * 3) for n in (64, 256)] for r in (0.3, 0.32)]
    small, large = (edge_agreement([x], [y])[0].item() for x, y in zip(*pair, strict=True))
    assert small == pytest.approx(large, abs=0.05)
    wide = np.repeat(PICTURES[0], 2, axis=1)
    assert edge_agreement([wide], [wide])[0].item() == pytest.approx(1)


def test_batches_and_order_change_nothing(monkeypatch):
    images = np.roll(PICTURES, 2, axis=2)
    kept, chance = edge_agreement(PICTURES, images)
    assert edge_agreement(PICTURES[::-1], images[::-1])[0] == pytest.approx(kept[::-1])
    monkeypatch.setattr("eval.metrics.edges.CHUNK", 5)
    again, other = edge_agreement(PICTURES, images)
    assert again == pytest.approx(kept, abs=1e-6)
    assert other == pytest.approx(chance, abs=1e-6)


def test_gradients_equal_scipys():
    """The vectors of one scale, from derivatives of a Gaussian as SciPy has them."""
    x = PICTURES[0] / 255
    unit = []
    for s in SCALES:
        g = {"sigma": s, "mode": "nearest", "truncate": 3.0}
        dx, dy = (
            np.stack([gaussian_filter(x[..., c], order=o, **g) for c in range(3)], -1)
            for o in ((0, 1), (1, 0))
        )
        cosine, sine = (gaussian_filter(v.sum(2), **g) for v in (dx * dx - dy * dy, 2 * dx * dy))
        v = np.stack([cosine, sine]) * np.hypot(cosine, sine) ** -0.75
        unit += [v.ravel() / np.linalg.norm(v), [0]]
    ours = edge_vectors([PICTURES[0]])[0]
    assert float(ours @ torch.from_numpy(np.concatenate(unit)) / np.sqrt(2)) == pytest.approx(
        1, abs=1e-4
    )


def test_refuses():
    with pytest.raises(MetricError, match="24 images cannot be paired with 3"):
        edge_agreement(PICTURES[:3], PICTURES)
    with pytest.raises(MetricError, match="no images"):
        edge_agreement([], [])
    mixed = [PICTURES[0], PICTURES[0][:32]]
    with pytest.raises(MetricError, match="one size"):
        edge_agreement(mixed, mixed)
