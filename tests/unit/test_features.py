"""Feature extractors: the frozen offline one, the real Inception loader with a stub, resizing."""

import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.features import EXTRACTORS, create_extractor
from eval.features.images import as_uint8, resize_clean
from eval.features.inception import Inception
from eval.features.ladders import DEGRADATIONS, ladders, ordered, table
from eval.features.offline import OfflineV1, calibrate
from eval.features.procedural import procedural_images
from zoo.data.toonfaces import ToonFaces
from zoo.downloads import MissingWeights, UntrustedWeights
from zoo.registry import UserError

FROZEN = Path(__file__).parent.parent / "data" / "offline_v1_features.json"


@pytest.fixture(scope="module")
def offline():
    return create_extractor("offline")


def drawn(kind: str, height: int, width: int) -> np.ndarray:
    """An image by formula, the same everywhere."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    if kind == "smooth":
        channels = [np.sin(3 * x + y), np.cos(2 * y - x), x * y]
    elif kind == "stripes":
        channels = [np.sign(np.sin(40 * x)), np.sign(np.sin(25 * y)), np.sign(np.sin(30 * (x + y)))]
    else:
        channels = [
            ((i * 7919 + np.arange(height * width) * 104729) % 251) / 125 - 1 for i in (1, 2, 3)
        ]
        channels = [channel.reshape(height, width) for channel in channels]
    return (127.5 + 120 * np.stack(channels, 2)).round().clip(0, 255).astype(np.uint8)


def test_offline_features_are_frozen(offline):
    # A change here makes old scores wrong: leave offline-v1 alone and add offline-v2.
    frozen = json.loads(FROZEN.read_text())
    for name, want in frozen.items():
        kind, height, width = name.split()
        got = offline([drawn(kind, int(height), int(width))])[0]
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-3, err_msg=name)


def test_offline_constants_are_those_of_the_procedural_pictures():
    stored = json.loads(
        (Path(calibrate.__code__.co_filename).parent / "offline_v1.json").read_text()
    )
    images = procedural_images(60, seed=0)
    measured = torch.cat([torch.cat(list(g.values()), 1) for g in OfflineV1().raw(images)])
    error = (measured.mean(0) - torch.tensor(stored["center"])) / torch.tensor(stored["scale"])
    assert error.abs().max() < 6 / np.sqrt(60)
    ratio = measured.std(0) / torch.tensor(stored["scale"])
    assert ratio.median() == pytest.approx(1, abs=0.15)
    assert len(stored["center"]) == len(stored["scale"]) == OfflineV1.dim


@pytest.mark.slow
def test_offline_constants_come_from_calibrate():
    stored = json.loads(
        (Path(calibrate.__code__.co_filename).parent / "offline_v1.json").read_text()
    )
    for key, values in calibrate().items():
        assert values == pytest.approx(stored[key], rel=1e-3, abs=1e-4)


def test_offline_says_what_it_is(offline):
    assert offline.record() == {
        "extractor": "offline-v1",
        "dim": 506,
        "comparable": False,
        "resizer": "Pillow bicubic, not rounded, to 128 px (256 px for the spectrum)",
        "weights_sha256": None,
    }


def test_offline_does_not_depend_on_batches_or_order(offline):
    images = procedural_images(19, seed=3, size=64)
    together = offline(images)
    assert together.shape == (19, 506)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.concatenate([offline([i]) for i in images]), together, atol=1e-4)
    np.testing.assert_allclose(offline(images[::-1])[::-1], together, atol=1e-4)
    assert (offline(images) == together).all()


def test_offline_leaves_random_numbers_and_gradients_alone(offline):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    ours, theirs = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    OfflineV1()(torch.zeros(1, 3, 32, 32, requires_grad=True))
    assert (torch.get_rng_state() == ours).all()
    assert (np.random.get_state()[1] == theirs).all()  # noqa: NPY002


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (37, 53), (301, 333)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_offline_takes_any_size_and_flat_images(offline, shape, value):
    features = offline([np.full((*shape, 3), value, np.uint8)])
    assert np.isfinite(features).all()
    assert np.abs(features).max() < 12
    flat = offline([np.full((64, 64, 3), value, np.uint8)])
    np.testing.assert_allclose(features, flat, atol=1e-3)


def test_offline_ladders_are_in_order(offline, monkeypatch):
    # every other step, as few faces leave much to chance; the command takes them all
    for name, (degrade, levels) in DEGRADATIONS.items():
        monkeypatch.setitem(DEGRADATIONS, name, (degrade, levels[1::2]))
    faces = ToonFaces(ToonFaces.Config(num_train=60))
    photos, webtoons = (list(faces.domain("train", side)) for side in "ab")
    rungs = ladders(photos, webtoons, offline)
    names = [*DEGRADATIONS, "mixed in, to A", "mixed in, to B"]
    wrong = [(n, m) for n in names for m in ("fid", "kid") if not ordered(rungs, n, m)]
    assert not wrong, table(rungs)
    assert table(rungs).count("| yes |") == 2 * len(names)


def test_ladders_name_what_is_out_of_order(offline):
    images = list(procedural_images(12, seed=1, size=32))
    blind = type("Blind", (OfflineV1,), {"__call__": lambda self, x: np.eye(len(x), 9)})()
    assert "**no**" in table(ladders(images, images, blind))


def test_images_in_all_three_forms_are_the_same(offline):
    array = procedural_images(3, seed=4, size=32)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1
    for form in (list(array), tensor, tensor.double(), tensor + 1e-3):
        assert all((a == b).all() for a, b in zip(as_uint8(form), array, strict=True))
    assert offline([]).shape == (0, 506)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([np.zeros((8, 8, 3))], "image 0: expected uint8, got float64"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)], r"image 1: .* got \(8, 8\)"),
        ([np.zeros((8, 0, 3), np.uint8)], r"got \(8, 0, 3\)"),
        (["a.png"], "got str"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "float in .* got torch.uint8"),
        (torch.full((1, 3, 8, 8), torch.nan), "NaN"),
        (torch.zeros(3, 8, 8), r"N C H W"),
    ],
)
def test_images_of_another_form_are_refused(offline, images, reason):
    with pytest.raises(ValueError, match=reason):
        offline(images)


def test_unknown_extractor():
    with pytest.raises(UserError, match=r"'offlin'. Did you mean 'offline'\? Known: offline-v1,"):
        create_extractor("offlin")
    assert [create_extractor(name).name for name in EXTRACTORS[:1]] == ["offline-v1"]


CLEAN_SHAPES = [  # of the fixtures, of trainings, thin ones, larger and smaller than 299 px
    *((301, 333), (37, 53), (64, 41), (299, 299), (48, 48), (64, 64), (128, 128), (256, 256)),
    *((512, 512), (1024, 768), (298, 300), (1, 1), (1, 7), (2, 600), (600, 2)),
]


@pytest.mark.parametrize("kind", ["noise", "stripes", "smooth"])  # stripes overshoot, and are cut
@pytest.mark.parametrize("shape", CLEAN_SHAPES, ids=str)
def test_resizing_is_that_of_clean_fid_byte_for_byte(shape, kind):
    resize = pytest.importorskip("cleanfid.resize")
    image = drawn(kind, *shape)
    ours = resize_clean(image, (299, 299))
    assert ours.tobytes() == resize.build_resizer("clean")(image).astype(np.float32).tobytes()
    aliased = resize.build_resizer("legacy_pytorch")(image)
    assert shape == (299, 299) or max(shape) < 8 or (ours != aliased).any()


@pytest.mark.parametrize("size", [(64, 64), (224, 336), (1, 5)], ids=str)
def test_resizing_to_other_sizes_is_that_of_clean_fid(size):
    resize = pytest.importorskip("cleanfid.resize")
    height, width = size
    theirs = resize.make_resizer("PIL", False, "bicubic", (width, height))
    for shape in ((301, 333), (64, 41)):
        image = drawn("stripes", *shape)
        clipped = theirs(image).clip(0, 255).astype(np.float32)
        assert resize_clean(image, size).tobytes() == clipped.tobytes()


# Inception: a small network behind the real loading path


class Layers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 2048 * 3).reshape(2048, 3))

    def forward(self, x):
        return x.mean(dim=(2, 3)) @ self.weight.T


class Stub(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = Layers()

    def forward(self, x: torch.Tensor, return_features: bool = True):
        return self.layers(x)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def stub(weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Stub()).save(str(weights / "inception-2015-12-05.pt"))
    return weights / "inception-2015-12-05.pt"


def test_inception_without_weights_says_what_to_put_where(weights):
    with pytest.raises(MissingWeights) as error:
        create_extractor("inception-v3-tf")
    for part in (
        "inception-2015-12-05.pt",
        "95607719 bytes",
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
        "https://nvlabs-fi-cdn.nvidia.com/",
        str(weights),
        "ZOO_WEIGHTS",
    ):
        assert part in str(error.value)


def test_inception_refuses_another_file_before_it_is_loaded(stub, monkeypatch):
    def loaded(*_, **__):
        raise AssertionError("the file was loaded")

    monkeypatch.setattr("torch.jit.load", loaded)
    with pytest.raises(UntrustedWeights, match=r"not the published file.*--trust"):
        create_extractor("inception")


def test_inception_with_trusted_weights(stub):
    extractor = create_extractor("inception", trust=True)
    assert extractor.name.startswith("inception-v3-tf+")
    assert extractor.name.removeprefix("inception-v3-tf+") == extractor.weights_sha256[:12]
    assert not extractor.comparable

    images = [drawn("noise", 40, 60), drawn("smooth", 300, 20), drawn("stripes", 299, 299)]
    features = extractor(images)
    assert features.shape == (3, 2048)
    assert features.dtype == np.float32
    resized = np.stack([resize_clean(image, (299, 299)) for image in images])
    want = ((resized - 128) / 128).mean((1, 2)) @ Layers().weight.detach().numpy().T
    np.testing.assert_allclose(features, want, atol=1e-4)
    np.testing.assert_allclose(extractor(images[:1]), features[:1], atol=1e-5)
    assert extractor([]).shape == (0, 2048)


def test_inception_with_its_published_hash_is_comparable(stub, monkeypatch):
    import hashlib

    from zoo import downloads

    digest = hashlib.sha256(stub.read_bytes()).hexdigest()
    known = downloads.WEIGHTS[stub.name]
    changed = type(known)(**{**known.__dict__, "sha256": digest})
    monkeypatch.setitem(downloads.WEIGHTS, stub.name, changed)
    extractor = Inception()
    assert extractor.comparable
    assert extractor.name == "inception-v3-tf"
    assert extractor.record()["weights_sha256"] == digest


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut short"])
def test_inception_that_is_no_network(weights, content):
    (weights / "inception-2015-12-05.pt").write_bytes(content)
    with pytest.raises(UntrustedWeights, match="is no TorchScript Inception"):
        Inception(trust=True)


def test_drawn_images_differ():
    images = [drawn(kind, 16, 16) for kind in ("smooth", "stripes", "noise")]
    assert all((a != b).mean() > 0.5 for a, b in pairwise(images))
