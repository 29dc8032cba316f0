"""Metrics on networks of their own: formulas by hand, what they need, what their records say."""

import importlib.util
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models import alexnet

from eval.checks import MetricError
from eval.distances import frechet_distance
from eval.features import create_extractor
from eval.features.own import OwnFeatures
from eval.features.procedural import procedural_images
from eval.features.vit import Vit, resize_bicubic, resize_bilinear
from eval.metric import Evaluated
from eval.metrics import structure
from eval.metrics.cmmd import SCALE, SIGMA, clip_mmd, resampled_clip_mmd
from eval.metrics.identity import likenesses
from eval.metrics.lpips_diversity import draw_pairs, resampled_pair_means
from eval.metrics.structure import last_keys, structure_distances
from eval.perceptual import perceptual
from eval.resampling import draw, times_drawn
from eval.scorer import Scorer
from tests.unit.small_networks import save_networks, small_networks
from zoo.create import create_metric
from zoo.data.toonfaces import ToonFaces
from zoo.downloads import MissingWeights

NAMES = ("fd_dinov2", "cmmd", "lpips_source", "lpips_diversity", "structure")
SOURCES, IMAGES, REALS = (procedural_images(n, seed=n, size=40) for n in (6, 7, 9))
IMAGES = IMAGES[:6]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    small_networks(monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def backbone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {f"features.{k}": v for k, v in alexnet().features.state_dict().items()}


@pytest.fixture
def folder(empty, backbone):
    save_networks(empty)
    torch.save(backbone, empty / "alexnet-owt-7be5be79.pth")
    return empty


@pytest.fixture
def data():
    return Evaluated(
        direction="a2b",
        sources=list(SOURCES),
        images=list(IMAGES),
        reals=list(REALS),
        reference="test",
        resamples=draw(0, 6, 50),
        resamples_of_reals=draw(0, 9, 50, 1),
        trust=True,
    )


# CMMD.


def mmd_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    def mean(a, b):
        total = 0.0
        for p in a:
            for q in b:
                total += np.exp(-sum((p - q) ** 2) / (2 * SIGMA**2))
        return total / (len(a) * len(b))

    return SCALE * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


def directions(n: int, d: int, seed: int, towards: float = 0.0) -> np.ndarray:
    """Vectors of length 1, around the first axis the more the greater `towards`."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    x[:, 0] += towards
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_cmmd_is_the_double_loop():
    x, y = directions(5, 3, 0), 4 * directions(7, 3, 1, towards=1)
    assert clip_mmd(x, y) == pytest.approx(mmd_by_hand(x, y), rel=1e-9)
    assert clip_mmd(y, x) == pytest.approx(clip_mmd(x, y), rel=1e-9)


def test_cmmd_in_closed_form():
    """Two points that are |x - y| apart, each twice."""
    x, y = np.zeros((2, 3)), np.full((2, 3), 4.0)
    assert clip_mmd(x, y) == pytest.approx(2 * SCALE * (1 - np.exp(-48 / (2 * SIGMA**2))))
    assert clip_mmd(x, x) == clip_mmd(y, y) == 0


def test_cmmd_in_blocks(monkeypatch):
    x, y = directions(40, 4, 2), directions(30, 4, 3, towards=1)
    whole = clip_mmd(x, y)
    monkeypatch.setattr("eval.metrics.cmmd.BLOCK_ROWS", 7)
    assert clip_mmd(x, y) == pytest.approx(whole, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 100))
def test_cmmd_does_not_depend_on_rotation_or_order(n, m, seed):
    x, y = 20 * directions(n, 4, seed), 20 * directions(m, 4, seed + 1, towards=2)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))
    value = clip_mmd(x, y)
    assert value >= 0
    assert clip_mmd(x[::-1] @ turn, y @ turn) == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_cmmd_of_two_samples_of_one_distribution():
    """On average 1000 (1/n + 1/m) mean(1 - k); of two distributions far more."""
    n, m, draws = 12, 20, 300
    same = [clip_mmd(directions(n, 6, 2 * k), directions(m, 6, 2 * k + 1)) for k in range(draws)]
    two = directions(2000, 6, 9999)
    apart = ((two[:1000] - two[1000:]) ** 2).sum(1)
    expected = SCALE * (1 / n + 1 / m) * (1 - np.exp(-apart / (2 * SIGMA**2))).mean()
    error = np.std(same) / np.sqrt(draws) + expected / np.sqrt(1000)
    assert np.mean(same) == pytest.approx(expected, abs=4 * error)
    assert clip_mmd(directions(n, 6, 1), directions(m, 6, 2, towards=3)) > 1.3 * max(same)


def test_cmmd_on_resamples_is_that_of_the_rows():
    x, y = directions(6, 4, 5), directions(9, 4, 6, towards=1)
    rows_x, rows_y = draw(3, 6, 20), draw(3, 9, 20, 1)
    found = resampled_clip_mmd(x, y, times_drawn(rows_x), times_drawn(rows_y))
    wanted = [mmd_by_hand(x[i], y[j]) for i, j in zip(rows_x, rows_y, strict=True)]
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "1 image"),
        (np.full((3, 3), np.nan), np.zeros((4, 3)), "NaN or infinity in 3 of 3 rows"),
        (np.zeros((3, 2)), np.zeros((4, 3)), "2 dimensions"),
    ],
)
def test_features_that_have_no_cmmd(x, y, reason):
    with pytest.raises(MetricError, match=reason):
        clip_mmd(x, y)


def test_cmmd_takes_the_embeddings_of_clip(folder, data):
    value = create_metric("cmmd")(data)["cmmd"]
    clip = create_extractor("clip", trust=True)
    by_hand = mmd_by_hand(clip(IMAGES).astype(float), clip(REALS).astype(float))
    assert value.value == pytest.approx(by_hand, rel=1e-4)
    assert value.resampled.shape == (50,)
    assert value.resampled.mean() == pytest.approx(value.value)
    equal = replace(data, images=list(REALS), resamples=None)
    assert create_metric("cmmd")(equal)["cmmd"].value == pytest.approx(0, abs=1e-6)


# FD on DINOv2.


def test_fd_takes_the_features_of_dinov2(folder, data):
    value = create_metric("fd_dinov2")(data)["fd_dinov2"]
    dinov2 = create_extractor("dinov2", trust=True)
    expected = frechet_distance(dinov2(IMAGES), dinov2(REALS))
    assert value.value == pytest.approx(expected, rel=1e-9)
    assert value.resampled.mean() == pytest.approx(value.value)
    assert value.resampled.std() > 0
    equal = replace(data, images=list(REALS), resamples=None)
    assert create_metric("fd_dinov2")(equal)["fd_dinov2"].value == pytest.approx(0, abs=1e-6)


def test_features_of_real_images_are_computed_once(folder, data, monkeypatch):
    computed = []
    own = OwnFeatures("dinov2")
    dinov2 = create_extractor("dinov2", trust=True)

    class Counting:
        name = dinov2.name

        def __call__(self, images):
            computed.append(len(images))
            return dinov2(images)

    monkeypatch.setattr("eval.features.own.extractor_of", lambda name, trust: Counting())
    for images in (IMAGES, SOURCES):
        fake, real = own.pair(replace(data, images=list(images)))
        np.testing.assert_array_equal(real, dinov2(REALS))
        np.testing.assert_array_equal(fake, dinov2(images))
    assert computed == [6, 9, 6]


# Structure.


@pytest.fixture
def vit(folder):
    return Vit(structure.NETWORK, lambda published, net: published, trust=True)


def keys_by_hand(vit: Vit, image: np.ndarray) -> np.ndarray:
    """The keys of the second and last block, from timm's layers one by one."""
    net = vit.net
    pixels = torch.from_numpy(resize_bilinear(image, 32)).permute(2, 0, 1).double() / 255
    mean, spread = (
        torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    x = net.patch_embed(((pixels - mean) / spread)[None].float())
    x = torch.cat([net.cls_token, x], dim=1) + net.pos_embed
    first, last = net.blocks
    x = last.norm1(first(x))
    weight, bias = last.attn.qkv.weight[8:16], last.attn.qkv.bias[8:16]
    return (x @ weight.T + bias)[0].numpy()


def test_structure_is_the_double_loop_over_tokens(vit):
    found = structure_distances(vit, IMAGES[:2], SOURCES[:2])
    for image, source, value in zip(IMAGES, SOURCES, found, strict=False):
        similarities = []
        for keys in (keys_by_hand(vit, image), keys_by_hand(vit, source)):
            assert keys.shape == (17, 8)
            lengths = [np.sqrt(sum(k**2)) for k in keys]
            similarities.append(
                [
                    [sum(p * q) / (a * b) for q, b in zip(keys, lengths, strict=True)]
                    for p, a in zip(keys, lengths, strict=True)
                ]
            )
        s, t = np.array(similarities, np.float64)
        assert value == pytest.approx(((s - t) ** 2).mean(), rel=1e-3)


def test_structure(vit):
    assert structure_distances(vit, IMAGES, IMAGES).tolist() == [0] * 6
    forth = structure_distances(vit, IMAGES, SOURCES)
    assert ((forth > 1e-5) & (forth < 4)).all()
    np.testing.assert_allclose(structure_distances(vit, SOURCES, IMAGES), forth, rtol=1e-4)
    np.testing.assert_allclose(
        [structure_distances(vit, IMAGES[i : i + 1], SOURCES[i : i + 1])[0] for i in range(6)],
        forth,
        rtol=1e-3,
    )
    assert (structure_distances(vit, 255 - IMAGES, IMAGES) > 1e-5).all()  # colours are not left out
    with pytest.raises(MetricError, match="6 images cannot be paired with 5"):
        structure_distances(vit, IMAGES, SOURCES[:5])


def test_keys_are_those_of_the_last_block_and_nothing_stays_hooked(vit):
    (batch,) = vit.batches(IMAGES[:1], resize_bilinear, 4)
    with torch.no_grad():
        keys = last_keys(vit.net, batch)[0].numpy()
    np.testing.assert_allclose(keys, keys_by_hand(vit, IMAGES[0]), atol=1e-5)
    assert not vit.net.blocks[-1].attn.qkv._forward_hooks


# LPIPS between sources, translations and each other.


def test_lpips_to_the_source(folder, data):
    value = create_metric("lpips_source")(data)["lpips_source"]
    distance = perceptual("alex", trust=True)
    np.testing.assert_allclose(value.per_image, distance(IMAGES, SOURCES), rtol=1e-6)
    assert value.value == pytest.approx(value.per_image.mean())
    kept = create_metric("lpips_source")(replace(data, images=list(SOURCES)))["lpips_source"]
    assert kept.value == pytest.approx(0, abs=1e-6)


def test_diversity_is_the_mean_over_pairs(folder, data):
    value = create_metric("lpips_diversity")(data)["lpips_diversity"]
    distance = perceptual("alex", trust=True)
    every = [
        distance(IMAGES[i : i + 1], IMAGES[j : j + 1]).item() for i, j in combinations(range(6), 2)
    ]
    assert value.value == pytest.approx(np.mean(every), rel=1e-4)
    assert value.resampled.mean() == pytest.approx(value.value)
    few = create_metric("lpips_diversity", num_pairs=5)(data)["lpips_diversity"]
    assert min(every) <= few.value <= max(every)


def test_diversity_of_a_collapse_is_0(folder, data):
    collapsed = replace(data, images=[IMAGES[0]] * 6)
    metric = create_metric("lpips_diversity")
    assert metric(collapsed)["lpips_diversity"].value == pytest.approx(0, abs=1e-6)
    half = replace(data, images=[IMAGES[0]] * 3 + [IMAGES[1]] * 3)
    between = perceptual("alex", trust=True)(IMAGES[:1], IMAGES[1:2]).item()
    # 9 of the 15 pairs are of different images
    assert metric(half)["lpips_diversity"].value == pytest.approx(between * 9 / 15, rel=1e-4)
    with pytest.raises(MetricError, match="make no pair"):
        metric(replace(data, images=[IMAGES[0]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(1, 60), st.integers(0, 5))
def test_pairs_are_of_different_images_and_none_is_drawn_twice(n, wanted, seed):
    first, second = draw_pairs(n, wanted, seed)
    assert len(first) == len(second) == min(wanted, n * (n - 1) // 2)
    assert ((first >= 0) & (first < second) & (second < n)).all()
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == len(first)
    again = draw_pairs(n, wanted, seed)
    assert (again[0] == first).all()
    assert (again[1] == second).all()


def test_another_seed_draws_other_pairs():
    assert draw_pairs(30, 20, 0)[0].tolist() != draw_pairs(30, 20, 1)[0].tolist()


def test_diversity_on_resamples_is_the_mean_over_pairs_of_different_images():
    n, rng = 5, np.random.default_rng(0)
    distances = rng.random((n, n))
    distances = distances + distances.T
    first, second = draw_pairs(n, 100, 0)
    rows = draw(1, n, 10)
    found = resampled_pair_means(distances[first, second], first, second, times_drawn(rows))
    for resample, value in zip(rows, found, strict=True):
        pairs = [(i, j) for i, j in combinations(resample, 2) if i != j]
        assert value == pytest.approx(np.mean([distances[i, j] for i, j in pairs]))
    alone = times_drawn(np.zeros((1, n), int))  # one image five times: no pair at all
    mean = distances[first, second].mean()
    assert resampled_pair_means(distances[first, second], first, second, alone) == mean


# Identity.


def test_likeness_is_the_cosine_of_vectors_of_length_1():
    x, y = directions(8, 5, 0), directions(8, 5, 1)
    assert likenesses(x, y) == pytest.approx((x * y).sum(1))
    assert likenesses(x, x) == pytest.approx(np.ones(8))
    assert likenesses(x, -x) == pytest.approx(-np.ones(8))


@pytest.mark.skipif(
    importlib.util.find_spec("facenet_pytorch") is not None, reason="facenet-pytorch is installed"
)
def test_identity_says_which_package_is_missing(empty):
    with pytest.raises(MissingWeights, match="pip install --no-deps facenet-pytorch"):
        create_metric("identity")


@pytest.mark.skipif(importlib.util.find_spec("dlib") is not None, reason="dlib is installed")
def test_identity_by_dlib_says_which_package_is_missing(empty):
    with pytest.raises(MissingWeights, match="pip install dlib-bin face_recognition_models"):
        create_metric("identity", network="dlib")


def test_identity_by_facenet(empty, data):
    facenet = pytest.importorskip("facenet_pytorch")
    with pytest.raises(MissingWeights, match="zoo weights get facenet"):
        create_metric("identity")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = facenet.InceptionResnetV1(pretrained=None).eval()
    state = {
        **net.state_dict(),
        "logits.weight": torch.zeros(3, 512),
        "logits.bias": torch.zeros(3),
    }
    torch.save(state, empty / "20180402-114759-vggface2.pt")
    value = create_metric("identity")(data)["identity"]
    assert value.fields["extractor"].startswith("facenet-vggface2+")

    def embedded(images):
        pixels = np.stack([resize_bicubic(image, 160) for image in images])
        with torch.no_grad():
            return net((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127.5) / 128)

    cosines = (embedded(IMAGES) * embedded(SOURCES)).sum(1).numpy()
    np.testing.assert_allclose(value.per_image, cosines, atol=1e-5)
    kept = create_metric("identity")(replace(data, images=list(SOURCES)))["identity"]
    assert kept.value == pytest.approx(1, abs=1e-6)


def test_identity_by_dlib(empty, data):
    pytest.importorskip("dlib")
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("face_recognition_models is not installed")
    metric = create_metric("identity", network="dlib")
    value = metric(data)["identity"]
    assert value.fields["extractor"].startswith("dlib-resnet-v1+")
    assert (value.per_image < 1).all()
    assert metric(replace(data, images=list(SOURCES)))["identity"].value == 1


# What the records say.


@pytest.fixture(scope="module")
def faces():
    return ToonFaces(ToonFaces.Config(size=40, num_train=8, num_test=6))


def test_records_name_the_network_and_what_was_compared(folder, faces):
    scorer = Scorer(
        faces, create_extractor("offline"), size=40, metrics=NAMES, trust=True, resamples=20
    )
    images = [255 - image for image in scorer.sources("a2b")]
    records = {score.metric: score for score in scorer.score("a2b", images, "run")}
    assert set(records) == set(NAMES)
    expected = {
        "fd_dinov2": ("dinov2-vitl14+", "train", 8),
        "cmmd": ("clip-vitl14-336+", "train", 8),
        "lpips_source": ("lpips-alex-v0.1+", "source", 6),
        "lpips_diversity": ("lpips-alex-v0.1+", None, 0),
        "structure": ("dino-vitb8-keys11+", "source", 6),
    }
    for name, (extractor, reference, num_real) in expected.items():
        score = records[name]
        assert score.value is not None, score.unavailable
        assert score.low < score.high
        assert score.extractor.startswith(extractor)
        assert len(score.extractor_sha256) == 64
        assert score.comparable is False
        assert (score.reference, score.num_real, score.num_fake) == (reference, num_real, 6)
        assert score.resizer.startswith("Pillow bicubic to 40 px")
    untranslated = {s.metric: s for s in scorer.score_untranslated("a2b")}
    assert untranslated["lpips_diversity"].value > 0
    for name in ("lpips_source", "structure"):
        assert untranslated[name].unavailable == "the untranslated images cannot be scored by it"


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_the_record_says_what_to_put_where(empty, faces, name):
    scorer = Scorer(faces, create_extractor("offline"), size=40, metrics=[name], resamples=0)
    (score,) = scorer.score("a2b", list(scorer.sources("a2b")), "run")
    assert score.value is None
    for part in ("zoo weights get ", "https://", str(empty), "ZOO_WEIGHTS"):
        assert part in score.unavailable


@pytest.mark.parametrize("name", NAMES)
def test_other_weights_than_the_published_ones_are_refused(folder, faces, name):
    scorer = Scorer(faces, create_extractor("offline"), size=40, metrics=[name], resamples=0)
    (score,) = scorer.score("a2b", list(scorer.sources("a2b")), "run")
    assert score.value is None
    assert "not the published file" in score.unavailable
