"""DINOv2 and CLIP: their files are read whole or refused, and images are treated one by one."""

import warnings

import numpy as np
import pytest
import torch

from eval.features import ALIASES, EXTRACTORS, clip, create_extractor, dinov2, require_extractor
from eval.features.dinov2 import resized_positions
from eval.features.procedural import procedural_images
from eval.features.vit import Network, _untrained, read_state
from eval.metrics import structure
from tests.unit.small_networks import (
    CLIP_FILE,
    DINO_FILE,
    TINY,
    clip_state,
    dino_state,
    module_of,
    publish,
    save_clip,
    small_networks,
)
from zoo.downloads import WEIGHTS, MissingWeights, UntrustedWeights
from zoo.registry import UserError

IMAGES = procedural_images(5, seed=2, size=48)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of weights, and small networks in the place of the published ones."""
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    small_networks(monkeypatch)
    return tmp_path


@pytest.fixture
def extractors(folder, monkeypatch):
    """Both, from files whose hashes are published."""
    torch.save(dino_state(), folder / DINO_FILE)
    save_clip(folder, clip_state())
    digests = [publish(monkeypatch, folder, file) for file in (DINO_FILE, CLIP_FILE)]
    made = [create_extractor(name) for name in ("dinov2", "clip")]
    assert [extractor.weights_sha256 for extractor in made] == digests
    return made


def test_they_say_what_they_are(extractors):
    found = [(e.name, e.dim, e.comparable, e.resizer) for e in extractors]
    assert found == [
        ("dinov2-vitl14", 8, True, "Pillow bicubic, rounded, to 224 px"),
        ("clip-vitl14-336", 6, True, "central square, Pillow bicubic, rounded, to 32 px"),
    ]


def test_features_do_not_depend_on_batches_or_order(extractors):
    for extractor in extractors:
        together = extractor(IMAGES)
        assert together.shape == (5, extractor.dim)
        assert together.dtype == np.float32
        assert np.isfinite(together).all()
        singly = np.concatenate([extractor([image]) for image in IMAGES])
        np.testing.assert_allclose(singly, together, atol=1e-5)
        np.testing.assert_allclose(extractor(IMAGES[::-1])[::-1], together, atol=1e-5)
        assert np.abs(together - together[:1])[1:].max(1).min() > 1e-3  # images differ
        assert extractor([]).shape == (0, extractor.dim)


def test_clip_gives_vectors_of_length_1_of_the_central_square(extractors):
    features = extractors[1](IMAGES)
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    wide = np.pad(IMAGES, ((0, 0), (0, 0), (30, 30), (0, 0)))
    np.testing.assert_allclose(extractors[1](wide), features, atol=1e-6)
    assert np.abs(extractors[0](wide) - extractors[0](IMAGES)).max() > 1e-2  # squashed instead


def test_every_weight_of_the_file_is_used(folder, monkeypatch):
    """A change of any tensor, but for the one that is for training, changes the features."""
    state = dino_state()
    unused = []
    for name in [None, *state]:
        changed = {k: v + 0.1 * (k == name) * torch.sign(v) for k, v in state.items()}
        torch.save(changed, folder / DINO_FILE)
        features = dinov2.Dinov2(trust=True)(IMAGES[:1])
        if name is None:
            first = features
        elif np.abs(features - first).max() < 1e-6:
            unused.append(name)
    assert unused == ["mask_token"]


def test_another_hash_needs_trust_and_shows_in_the_name(folder):
    torch.save(dino_state(), folder / DINO_FILE)
    save_clip(folder, clip_state())
    for short in ("dinov2", "clip"):
        with pytest.raises(UntrustedWeights, match="not the published file"):
            create_extractor(short)
        extractor = create_extractor(short, trust=True)
        assert extractor.name == f"{ALIASES[short]}+{extractor.weights_sha256[:12]}"
        assert not extractor.comparable


def test_only_the_large_network_is_that_of_papers(folder, monkeypatch):
    file = "dinov2_vits14_pretrain.pth"
    torch.save(dino_state(), folder / file)
    publish(monkeypatch, folder, file)
    small = Network(
        architecture="vit_small_patch14_dinov2",
        file=file,
        side=224,
        options={"num_classes": 0, **TINY},
    )
    monkeypatch.setitem(dinov2.NETWORKS, "dinov2-vits14", small)
    extractor = create_extractor("dinov2-vits14")
    assert (extractor.name, extractor.comparable) == ("dinov2-vits14", False)


@pytest.mark.parametrize("name", [name for name in EXTRACTORS if name != "offline-v1"])
def test_missing_weights_name_the_command(tmp_path, monkeypatch, name):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    for act in (create_extractor, require_extractor):
        with pytest.raises(MissingWeights, match="zoo weights get ") as error:
            act(name)
        assert str(tmp_path) in str(error.value)
    assert require_extractor("offline") is None
    with pytest.raises(UserError, match="Did you mean 'dinov2'"):
        require_extractor("dinov3")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("norm.bias"),
        lambda state: state.update(extra=torch.zeros(1)),
        lambda state: state.update({"norm.bias": torch.zeros(9)}),
        lambda state: state.update({"norm.bias": print}),
    ],
    ids=["a tensor missing", "one too many", "another shape", "code"],
)
def test_a_file_of_another_network_is_refused(folder, spoil):
    state = dino_state()
    spoil(state)
    torch.save(state, folder / DINO_FILE)
    with pytest.raises(UntrustedWeights, match="does not hold vit_large_patch14_dinov2"):
        create_extractor("dinov2", trust=True)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut short"])
@pytest.mark.parametrize("file", [DINO_FILE, CLIP_FILE])
def test_a_file_of_something_else_is_refused(folder, file, content):
    (folder / file).write_bytes(content)
    with pytest.raises(UntrustedWeights, match="does not hold vit_large"):
        create_extractor("clip" if file == CLIP_FILE else "dinov2", trust=True)


def test_torchscript_is_not_run_before_its_hash_is_known(folder, monkeypatch):
    save_clip(folder, clip_state())

    def loaded(*_, **__):
        raise AssertionError("the file was loaded")

    monkeypatch.setattr("torch.jit.load", loaded)
    with pytest.raises(UntrustedWeights, match="not the published file"):
        create_extractor("clip")


def test_the_three_formats_hold_the_same(tmp_path):
    from safetensors.torch import save_file

    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    torch.save(state, tmp_path / "x.pth")
    torch.save(state, tmp_path / "x.pt")
    save_file(state, tmp_path / "x.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module_of(state)).save(tmp_path / "script.pt")
    for path in tmp_path.iterdir():
        found = read_state(path)
        assert set(found) == set(state)
        assert all(torch.equal(found[name], state[name]) for name in state)


def test_random_numbers_are_left_alone(extractors):
    state = torch.get_rng_state()
    create_extractor("dinov2")(IMAGES[:1])
    assert (torch.get_rng_state() == state).all()


# The published networks, without their numbers.


@pytest.mark.parametrize(
    ("network", "dim"),
    [
        (dinov2.NETWORKS["dinov2-vitl14"], 1024),
        (dinov2.NETWORKS["dinov2-vitb14"], 768),
        (dinov2.NETWORKS["dinov2-vits14"], 384),
        (clip.NETWORKS[clip.NAME], 768),
        (structure.NETWORK, 768),
    ],
    ids=["dinov2 l", "dinov2 b", "dinov2 s", "clip", "dino b"],
)
def test_published_networks_have_the_size_of_their_files(network, dim):
    net = _untrained(network)
    assert (net.num_classes or net.num_features) == dim
    count = sum(parameter.numel() for parameter in net.parameters())
    if network in dinov2.NETWORKS.values():  # its file: more patches, one token more, names
        more = (37**2 - 16**2) * dim + dim
        assert WEIGHTS[network.file].size == pytest.approx(4 * (count + more), abs=2e5)


def test_positions_of_as_many_patches_are_left_alone():
    embedding = torch.randn(1, 1 + 5**2, 3)
    assert resized_positions(embedding, 5) is embedding


def test_positions_are_sampled_as_if_for_a_tenth_of_a_patch_more():
    """Patch i of 16 lies where 37/16.1 (i + 1/2) - 1/2 was; the filter bends a plane a little."""
    rows, columns = torch.meshgrid(torch.arange(37.0), torch.arange(37.0), indexing="ij")
    plane = torch.stack([rows, columns], dim=2).reshape(1, -1, 2)
    token = torch.tensor([[[7.0, -7.0]]])
    found = resized_positions(torch.cat([token, plane], dim=1), 16)
    assert found.shape == (1, 257, 2)
    assert found[0, 0].tolist() == [7, -7]
    inner = found[0, 1:].reshape(16, 16, 2)[1:15, 1:15]
    middle = torch.arange(1, 15) + 0.5
    for along in (inner[:, 3, 0], inner[3, :, 1]):
        assert torch.allclose(along, middle * 37 / 16.1 - 0.5, atol=0.06)
        assert not torch.allclose(along, middle * 37 / 16 - 0.5, atol=0.15)
