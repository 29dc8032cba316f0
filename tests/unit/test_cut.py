"""What is particular to CUT: its loss, its sampler, its draws, and the flip."""

import math
from dataclasses import replace

import pytest
import torch

from tests.contract.variants import SHAPE, small
from zoo.layers.patch_sampler import PatchSampler
from zoo.protocols import Batch
from zoo.registry import LOSSES, METHODS, UserError
from zoo.schema import Optim, PerDomain
from zoo.update import Updater


def loss(temperature=0.5):
    return LOSSES["patch_nce"](LOSSES["patch_nce"].Config(temperature=temperature))


def build(**options):
    torch.manual_seed(0)
    cls = METHODS["cut"]
    return cls(replace(small(cls.Config()), **options), SHAPE, SHAPE)


def test_patch_nce_of_orthonormal_patches():
    """Similar to itself with 1, to the five others with 0, and the excluded place with -10."""
    patches = torch.eye(6)[None]
    rest = 5 + math.exp(-10 / 0.5)
    expected = math.log(math.exp(1 / 0.5) + rest) - 1 / 0.5
    assert loss()(patches, patches).item() == pytest.approx(expected, rel=1e-6)


def test_patch_nce_compares_with_patches_of_the_same_image_only():
    q, k = torch.randn(2, 3, 7, 4).unbind()
    together = loss().per_patch(q, k)
    for i in range(3):
        assert torch.allclose(together[i : i + 1], loss().per_patch(q[i : i + 1], k[i : i + 1]))


def test_patch_nce_gives_keys_no_gradient():
    q, k = (torch.randn(1, 5, 4).requires_grad_() for _ in range(2))
    loss()(q, k).backward()
    assert k.grad is None
    assert q.grad.abs().max() > 0


def test_sampler_takes_the_vectors_at_the_positions():
    sampler = PatchSampler([3, 5], width=8, init="stock")
    features = [torch.randn(2, 3, 4, 6), torch.randn(2, 5, 2, 2)]
    positions = [torch.tensor([23, 0, 7]), torch.tensor([1])]
    first, second = sampler(features, positions)
    assert first.shape == (2, 3, 8)
    assert second.shape == (2, 1, 8)
    assert torch.allclose(first.norm(dim=2), torch.ones(2, 3), atol=1e-5)
    alone = sampler.heads[0](features[0][1, :, 7 // 6, 7 % 6])
    assert torch.allclose(first[1, 2], alone / alone.norm(), atol=1e-5)


def test_positions_are_different_and_inside():
    method = build(num_patches=20)
    features = [torch.zeros(1, 1, 5, 6), torch.zeros(1, 1, 2, 3)]
    for rows, size, count in zip(method.draw_positions(features), (30, 6), (20, 6), strict=True):
        assert len(set(rows.tolist())) == len(rows) == count
        assert set(rows.tolist()) <= set(range(size))


def test_half_of_the_inputs_are_flipped():
    method = build()
    torch.manual_seed(0)
    assert 160 < sum(method.draw_flip() for _ in range(400)) < 240


class Decided(METHODS["cut"]):
    """With flips that a test decides, and all positions in order."""

    def draw_flip(self):
        return self.flips

    def draw_positions(self, features):
        return [torch.arange(f.shape[2] * f.shape[3]) for f in features]


@pytest.mark.parametrize("flips", [True, False])
def test_a_flip_turns_the_input_and_turns_the_features_back(flips):
    torch.manual_seed(0)
    config = small(Decided.Config())
    weights = replace(config.weights, nce=PerDomain(10, 0))
    method = Decided(replace(config, flip_equivariance=True, weights=weights), SHAPE, SHAPE)
    method.flips = flips
    made, sampled = [], []
    method.ab.register_forward_hook(lambda _, inputs, output: made.append((inputs[0], output)))
    method.sampler.register_forward_pre_hook(lambda _, inputs: sampled.append(inputs[0]))
    a, b = torch.rand(2, 1, *SHAPE) * 2 - 1
    updater = Updater(method, Optim())
    batch = Batch(a, b, 0, 0)
    updater.start(batch)
    method.step(batch, updater)
    seen, output = made[0]
    assert torch.equal(seen, a.flip(3) if flips else a)
    pad = method.ab.layers[0]  # the first tap
    keys, queries = (features[0] for features in sampled)
    assert torch.equal(keys, pad(a))
    assert torch.equal(queries, pad(output.image.flip(3) if flips else output.image))


def test_taps_outside_the_encoder_are_refused():
    with pytest.raises(UserError, match=r"taps \[0, 99\]: .* 0 to 10 with num_blocks 1"):
        build(taps=(0, 99))


def test_what_translates_is_the_generator_alone():
    method = build()
    assert method.translators() == [method.ab]
    assert set(method.sampler.parameters()) <= {
        p for net in method.players()["generators"] for p in net.parameters()
    }
