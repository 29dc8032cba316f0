"""Packed weights translate like the run they come from, at half precision."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training import recipe_of
from zoo.packing import pack
from zoo.registry import UserError
from zoo.trainer import train
from zoo.translation import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    return train(recipe_of("ugatit", "train.images=4", "ema.halflife_images=2"), out, cpu=True)


def test_packed_weights_translate_like_the_averages_of_the_run(run, tmp_path):
    file = pack(run, tmp_path / "packed")
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32))).float()
    packed = load_run(tmp_path / "packed", device="cpu")
    for direction in ("a2b", "b2a"):
        expected = load_run(run, device="cpu").translate_batch(x, direction)
        raw = load_run(run, weights="raw", device="cpu").translate_batch(x, direction)
        got = packed.translate_batch(x, direction)
        assert (got - expected).abs().max() < 5e-3
        assert (got - expected).abs().mean() < (got - raw).abs().mean()
    tensors = load_file(file)
    assert {name.split(".")[0] for name in tensors} == {"ab", "ba"}
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert packed.recipe.provenance["packed"]["weights"] == "ema"


def test_packing_twice_is_refused(run, tmp_path):
    pack(run, tmp_path / "packed")
    with pytest.raises(UserError, match="exists; choose another"):
        pack(run, tmp_path / "packed")
