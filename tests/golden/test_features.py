"""Extractors and the structure distance compute what the published code computes."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eval.features import clip, dinov2
from eval.features.vit import Network, Vit
from eval.metrics import structure
from eval.metrics.cmmd import clip_mmd
from tests.unit.small_networks import module_of

FAMILIES = ("features",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    return tmp_path


def test_case(case, folder, monkeypatch):
    checks = {"dinov2": _dinov2, "clip": _clip, "structure": _structure}
    checks[case.name.partition("_")[0]](case, folder, monkeypatch)


def network(case, architecture: str, file: str) -> Network:
    options = dict(case.config)
    return Network(
        architecture=architecture,
        file=file,
        side=options.pop("side"),
        options={"num_classes": 0, **options},
    )


def _dinov2(case, folder, monkeypatch):
    file = "dinov2_vitl14_pretrain.pth"
    torch.save(case.under("net"), folder / file)
    small = network(case, "vit_large_patch14_dinov2", file)
    monkeypatch.setitem(dinov2.NETWORKS, "dinov2-vitl14", small)
    extractor = dinov2.Dinov2(trust=True)
    features = extractor(case.arrays["input/images_uint8"].numpy())
    np.testing.assert_allclose(
        features, case.arrays["out/features"], rtol=0, atol=case.facts["tolerance"]["absolute"]
    )


def _clip(case, folder, monkeypatch):
    file = "ViT-L-14-336px.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module_of(case.under("net"))).save(folder / file)
    small = network(case, "vit_large_patch14_clip_quickgelu_336", file)
    monkeypatch.setitem(clip.NETWORKS, clip.NAME, small)
    features = clip.Clip(trust=True)(case.arrays["input/images_uint8"].numpy())
    tolerance = case.facts["tolerance"]
    np.testing.assert_allclose(
        features, case.arrays["out/features"], rtol=0, atol=tolerance["absolute"]
    )
    distance = clip_mmd(features, case.arrays["input/others"].numpy())
    assert distance == pytest.approx(case.arrays["out/cmmd"].item(), abs=tolerance["cmmd_absolute"])


def _structure(case, folder, monkeypatch):
    save_file(case.under("net"), folder / structure.NETWORK.file)
    vit = Vit(
        network(case, structure.NETWORK.architecture, structure.NETWORK.file),
        lambda published, net: published,
        trust=True,
    )
    images, others = (case.arrays[f"input/{name}_uint8"].numpy() for name in ("images", "others"))
    distances = structure.structure_distances(vit, images, others)
    np.testing.assert_allclose(
        distances, case.arrays["out/distances"], rtol=0, atol=case.facts["tolerance"]["absolute"]
    )
    assert distances[-1] == 0  # that pair is of one image


def test_gradients_are_as_they_were(case, folder, monkeypatch):
    if case.name.startswith("structure"):
        _structure(case, folder, monkeypatch)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
