"""Distances to the truth: L1, SSIM, LPIPS."""

import hashlib

import numpy as np
import pytest
import torch
from torchvision.models import alexnet

from eval.checks import MetricError
from eval.features.procedural import procedural_images
from eval.metrics.perceptual import Perceptual
from eval.metrics.pixel import l1, ssim
from zoo.downloads import WEIGHTS, MissingWeights, UntrustedWeights
from zoo.registry import UserError

FILE = "alexnet-owt-7be5be79.pth"
IMAGES = procedural_images(5, seed=9, size=64)
NOISY = (
    (IMAGES + np.random.default_rng(0).normal(0, 20, IMAGES.shape)).clip(0, 255).astype(np.uint8)
)


def test_l1_in_closed_form():
    black, white = np.zeros((3, 8, 9, 3), np.uint8), np.full((3, 8, 9, 3), 255, np.uint8)
    assert l1(black, white).tolist() == [1, 1, 1]
    assert l1(white, white).tolist() == [0, 0, 0]
    half = white.copy()
    half[1, :4] = 0
    assert l1(half, white).tolist() == [0, 0.5, 0]
    assert l1([black[0], white[0][:4]], [white[0], white[1][:4]]).tolist() == [1, 0]


def test_l1_of_tensors_and_arrays_is_the_same():
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1 for x in (IMAGES, NOISY)]
    assert l1(*tensors) == pytest.approx(l1(IMAGES, NOISY), rel=1e-12)


def ssim_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Eq. 13 of Wang et al. 2004 with a loop over windows, borders mirrored."""
    axis = np.arange(11) - 5
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2, values = 0.01**2, 0.03**2, []
    x, y = (np.pad(z / 255, ((5, 5), (5, 5), (0, 0)), mode="reflect") for z in (x, y))
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            for c in range(3):
                p, q = x[i : i + 11, j : j + 11, c], y[i : i + 11, j : j + 11, c]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                covariance = (window * p * q).sum() - mp * mq
                values.append(
                    (2 * mp * mq + c1)
                    * (2 * covariance + c2)
                    / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
                )
    return float(np.mean(values))


def test_ssim_equals_torchmetrics():
    structural = pytest.importorskip("torchmetrics.functional.image")
    x, y = (
        torch.from_numpy(np.array(i)).permute(0, 3, 1, 2).double() / 255 for i in (IMAGES, NOISY)
    )
    expected = structural.structural_similarity_index_measure(
        x, y, data_range=1.0, reduction="none"
    )
    assert ssim(NOISY, IMAGES) == pytest.approx(expected.numpy(), rel=1e-9)


def test_ssim():
    assert ssim(IMAGES, IMAGES) == pytest.approx(np.ones(5))
    x, y = IMAGES[0][:20, :24], NOISY[0][:20, :24]
    assert ssim([x], [y]).item() == pytest.approx(ssim_by_hand(x, y), rel=1e-5)
    assert ssim([y], [x]) == pytest.approx(ssim([x], [y]), rel=1e-9)
    noisier = (NOISY + np.random.default_rng(1).normal(0, 40, NOISY.shape)).clip(0, 255)
    assert (ssim(noisier.astype(np.uint8), IMAGES) < ssim(NOISY, IMAGES)).all()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = alexnet().features.state_dict()
    return {f"features.{name}": value for name, value in features.items()}


def test_lpips_without_weights_names_the_file_and_the_folder(folder):
    with pytest.raises(MissingWeights, match=FILE) as error:
        Perceptual()
    assert str(folder) in str(error.value)


def test_lpips(folder, network):
    torch.save(network, folder / FILE)
    with pytest.raises(UntrustedWeights, match="wanted 7be5be79"):
        Perceptual()
    state = torch.get_rng_state()
    distance = Perceptual(trust=True)
    assert (torch.get_rng_state() == state).all()
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    assert distance.name == f"lpips-alex-v0.1+{digest[:12]}"
    assert distance.weights_sha256 == digest
    assert not distance.comparable

    assert distance(IMAGES, IMAGES) == pytest.approx(np.zeros(5), abs=1e-6)
    forth = distance(IMAGES, NOISY)
    assert (forth > 1e-4).all()
    assert distance(NOISY, IMAGES) == pytest.approx(forth, rel=1e-5)
    singly = [distance(IMAGES[i : i + 1], NOISY[i : i + 1]).item() for i in range(5)]
    assert singly == pytest.approx(forth, rel=1e-4)

    # the file's own weights are in use: the first layer answers as torchvision's does
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64)
        weight, bias = network["features.0.weight"], network["features.0.bias"]
        want = torch.conv2d(image, weight, bias, stride=4, padding=2).relu()
        assert torch.allclose(distance._net.net.slice1(image), want, atol=1e-5)


def test_lpips_with_its_published_hash_is_comparable(folder, network, monkeypatch):
    torch.save(network, folder / FILE)
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    known = WEIGHTS[FILE]
    monkeypatch.setitem(WEIGHTS, FILE, type(known)(**{**known.__dict__, "sha256": digest[:8]}))
    distance = Perceptual()
    assert distance.comparable
    assert distance.name == "lpips-alex-v0.1"


@pytest.mark.parametrize("content", ["garbage", "another network", "code"])
def test_lpips_with_a_file_of_something_else(folder, network, content):
    if content == "garbage":
        (folder / FILE).write_bytes(b"<html>")
    elif content == "code":
        torch.save({"features.0.weight": print}, folder / FILE)
    else:
        torch.save({"features.0.weight": torch.zeros(2)}, folder / FILE)
    with pytest.raises(UntrustedWeights, match="does not hold the network 'alex'"):
        Perceptual(trust=True)


def test_unknown_backbone():
    with pytest.raises(UserError, match=r"'alexnet'. Did you mean 'alex'\?"):
        Perceptual("alexnet")


@pytest.mark.parametrize(
    ("images", "truths", "reason"),
    [
        (IMAGES, NOISY[:3], "5 images cannot be paired with 3 truths"),
        (IMAGES[:0], NOISY[:0], "no images"),
        (IMAGES[:1], NOISY[:1, :32], r"image 0 is \(64, 64, 3\), its truth \(32, 64, 3\)"),
    ],
)
@pytest.mark.parametrize("metric", [l1, ssim])
def test_pairs_that_are_none(metric, images, truths, reason):
    with pytest.raises(MetricError, match=reason):
        metric(images, truths)


def test_images_smaller_than_the_window():
    with pytest.raises(MetricError, match="sides of 11 px"):
        ssim(IMAGES[:, :10], NOISY[:, :10])


def test_lpips_of_images_that_are_too_small_or_of_several_sizes(folder, network):
    torch.save(network, folder / FILE)
    distance = Perceptual(trust=True)
    with pytest.raises(MetricError, match="sides of 32 px"):
        distance(IMAGES[:, :16], NOISY[:, :16])
    mixed = [IMAGES[0], IMAGES[1][:40]]
    with pytest.raises(MetricError, match="one size"):
        distance(mixed, mixed)
