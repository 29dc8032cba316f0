"""Files of weights are looked up in one folder and their hash is compared before use."""

import hashlib
import re

import pytest

from zoo.downloads import (
    WEIGHTS,
    MissingWeights,
    UntrustedWeights,
    Weights,
    find_weights,
    named,
    weights_folder,
)
from zoo.registry import UserError

FILE = "vgg16-397923af.pth"


def test_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("ZOO_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_folder() == tmp_path / ".cache" / "zoo" / "weights"


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_table(weights):
    assert weights.url.startswith("https://")
    assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", weights.sha256)
    assert weights.hash_source
    if len(weights.sha256) == 8:  # torchvision publishes these digits in the name
        assert weights.file.endswith(f"-{weights.sha256}.pth")
    if "huggingface.co" in weights.url:  # all are called model.safetensors there
        assert weights.file == f"{weights.url.split('/')[4]}.safetensors"
    else:
        assert weights.url.endswith("/" + weights.file)


def test_names():
    assert len({weights.name for weights in WEIGHTS.values()} | set(WEIGHTS)) == 2 * len(WEIGHTS)
    for weights in WEIGHTS.values():
        assert named(weights.name) is named(weights.file) is weights
    dino = WEIGHTS["vit_base_patch8_224.dino.safetensors"]
    assert named("timm/vit_base_patch8_224.dino") is dino
    assert named("timm/resnet18.a1_in1k") == Weights(
        name="timm/resnet18.a1_in1k",
        file="resnet18.a1_in1k.safetensors",
        url="https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors",
        purpose="pretrained weights of timm's resnet18.a1_in1k",
        sha256=None,
    )
    for name in ("inceptoin", "timm/../x", "https://x/y"):
        with pytest.raises(UserError, match="no weights are called"):
            named(name)


@pytest.mark.parametrize("file", WEIGHTS)
def test_missing(tmp_path, file):
    with pytest.raises(MissingWeights) as error:
        find_weights(file, folder=tmp_path)
    assert isinstance(error.value, UserError)
    weights = WEIGHTS[file]
    command = f"zoo weights get {weights.name}\n"
    for part in (file, weights.sha256, weights.url, command, str(tmp_path), "ZOO_WEIGHTS"):
        assert part in str(error.value)
    assert not list(tmp_path.iterdir())


def test_folder_of_that_name_is_not_the_file(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(MissingWeights):
        find_weights(FILE, folder=tmp_path)


def test_another_hash_needs_trust(tmp_path, caplog):
    (tmp_path / FILE).write_bytes(b"other")
    digest = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(
        UntrustedWeights, match=f"5 bytes, SHA-256 {digest}, wanted .* begins with 397923af"
    ):
        find_weights(FILE, folder=tmp_path)
    found = find_weights(FILE, folder=tmp_path, trust=True)
    assert (found.path, found.sha256, found.published) == (tmp_path / FILE, digest, False)
    assert "trusted on request" in caplog.text


def test_published_beginning_of_a_hash_is_enough(tmp_path, monkeypatch, caplog):
    digest = hashlib.sha256(b"the real one").hexdigest()
    known = WEIGHTS[FILE]
    monkeypatch.setitem(WEIGHTS, FILE, type(known)(**{**known.__dict__, "sha256": digest[:8]}))
    (tmp_path / FILE).write_bytes(b"the real one")
    assert find_weights(FILE, folder=tmp_path).published
    assert find_weights(FILE, folder=tmp_path, trust=True).published
    assert not caplog.text
