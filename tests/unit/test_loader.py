"""The order of training samples: a function of the seed and of the images seen, nothing else."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data import loader
from zoo.data.loader import TrainingSamples, auto_workers, training_batches
from zoo.registry import UserError
from zoo.schema import DataConfig

CPU = torch.device("cpu")
SIZE = 16


class Numbered:
    """Image i of A has the value i in channel 0, of B 100 + i; channels 1 and 2 are coordinates."""

    def __init__(self, len_a, len_b, paired=False, load_size=18):
        self.paired, self.load_size = paired, load_size
        self.lengths = {"a": len_a, "b": len_b}

    def domain(self, split, side):
        assert split == "train"
        return _Side(self.lengths[side], {"a": 0, "b": 100}[side], side, self.load_size)


class _Side:
    def __init__(self, length, first, side, load_size):
        self.length, self.first, self.load_size = length, first, load_size
        self.names = [f"{side}{i}.png" for i in range(length)]

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        image = np.empty((self.load_size, self.load_size, 3), np.uint8)
        image[..., 0] = self.first + index
        image[..., 1:] = np.moveaxis(np.indices(image.shape[:2]), 0, -1)
        image.flags.writeable = False
        return image


def config(**changes):
    return DataConfig(size=SIZE, **changes)


def batches(dataset, steps, *, batch=2, seed=0, **options):
    options = {"config": config(), "device": CPU, **options}
    return list(
        training_batches(
            dataset, options.pop("config"), seed=seed, batch=batch, steps=steps, **options
        )
    )


def drawn(dataset, count, seed=0):
    """The (a, b) numbers of the first samples, as their pixels tell."""
    samples = TrainingSamples(dataset, config(), seed)
    return [
        (int(a[0, 0, 0]), int(b[0, 0, 0])) for a, b, *_ in map(samples.__getitem__, range(count))
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_every_epoch_is_a_permutation_of_the_longer_domain(len_a, len_b, seed):
    longer = max(len_a, len_b)
    pairs = drawn(Numbered(len_a, len_b), 3 * longer, seed)
    for side, (length, first) in enumerate(((len_a, 0), (len_b, 100))):
        every = set(range(first, first + length))
        for epoch in range(3):
            seen = Counter(pair[side] for pair in pairs[epoch * longer : (epoch + 1) * longer])
            assert set(seen) <= every
            if length == longer:
                assert seen == Counter(every)


def test_the_shorter_domain_is_drawn_anew():
    """Independently of the longer one: all pairs occur, and no image is due at its turn."""
    pairs = drawn(Numbered(4, 3), 400)
    counts = Counter(pairs)
    assert len(counts) == 12
    assert min(counts.values()) > 15  # 400 / 12 = 33 expected
    turns = Counter(tuple(b for _, b in pairs[i : i + 3]) for i in range(0, 399, 3))
    assert len(turns) > 20  # of 27; a cycle through the three images would have at most 6


def test_domains_of_one_size_are_shuffled_apart():
    pairs = drawn(Numbered(30, 30), 30)
    assert sum(a + 100 == b for a, b in pairs) < 8


def test_epochs_and_seeds_differ():
    first = drawn(Numbered(30, 30), 60)
    assert first[:30] != first[30:]
    assert drawn(Numbered(30, 30), 30, seed=1) != first[:30]
    assert drawn(Numbered(30, 30), 60) == first


def test_pairs_stay_together_and_are_cut_alike():
    samples = TrainingSamples(Numbered(7, 7, paired=True), config(), 0)
    flipped = set()
    for n in range(40):
        a, b, (flip_a, flip_b), (name_a, name_b) = samples[n]
        assert a[0, 0, 0] + 100 == b[0, 0, 0]
        assert name_a[1:] == name_b[1:]
        assert np.array_equal(a[..., 1:], b[..., 1:])  # the coordinates of the crop
        assert flip_a == flip_b
        flipped.add(flip_a)
    assert flipped == {True, False}


def test_unpaired_images_are_cut_apart():
    samples = TrainingSamples(Numbered(7, 7), config(), 0)
    pairs = [samples[n][:2] for n in range(20)]
    assert sum(np.array_equal(a[..., 1:], b[..., 1:]) for a, b in pairs) < 8


def test_images_are_floats_between_minus_one_and_one():
    (batch,) = batches(Numbered(4, 3), range(1))
    assert batch.a.shape == batch.b.shape == (2, 3, SIZE, SIZE)
    assert batch.a.dtype == torch.float32
    assert batch.a.is_contiguous()
    levels = (batch.a + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    names = [
        (f"a{int(a)}.png", f"b{int(b) - 100}.png")
        for a, b in zip(
            levels[:, 0, 0, 0].round(), ((batch.b + 1) * 127.5)[:, 0, 0, 0].round(), strict=True
        )
    ]
    assert list(batch.files) == names


def same(one, other):
    return (
        torch.equal(one.a, other.a)
        and torch.equal(one.b, other.b)
        and (one.step, one.images_seen, one.files) == (other.step, other.images_seen, other.files)
    )


@pytest.mark.parametrize("start", [1, 4, 7])
def test_a_run_that_goes_on_sees_what_it_would_have_seen(start):
    dataset = Numbered(5, 3)
    whole, rest = batches(dataset, range(9)), batches(dataset, range(start, 9))
    assert all(same(*pair) for pair in zip(whole[start:], rest, strict=True))
    assert [batch.images_seen for batch in whole] == [2 * step for step in range(9)]


def test_samples_do_not_depend_on_the_batch():
    dataset = Numbered(5, 3)
    by_two, by_four = batches(dataset, range(4)), batches(dataset, range(2), batch=4)
    assert torch.equal(torch.cat([b.a for b in by_two]), torch.cat([b.a for b in by_four]))
    assert torch.equal(torch.cat([b.b for b in by_two]), torch.cat([b.b for b in by_four]))


def test_worker_processes_change_nothing():
    dataset = Numbered(5, 3)
    alone = batches(dataset, range(6))
    with_workers = batches(dataset, range(6), config=config(workers=2))
    assert all(same(*pair) for pair in zip(alone, with_workers, strict=True))


def test_processes_share_the_batch_of_one():
    dataset = Numbered(5, 3)
    whole = batches(dataset, range(3), batch=6)
    shares = [batches(dataset, range(3), batch=6, rank=r, num_processes=3) for r in range(3)]
    for step, together in enumerate(whole):
        parts = [share[step] for share in shares]
        assert torch.equal(torch.cat([p.a for p in parts]), together.a)
        assert torch.equal(torch.cat([p.b for p in parts]), together.b)
        assert sum((p.files for p in parts), ()) == together.files
        assert {(p.step, p.images_seen) for p in parts} == {(step, 6 * step)}


@pytest.mark.parametrize(("batch", "processes", "proposed"), [(3, 2, 2), (1, 2, 2), (8, 3, 6)])
def test_what_cannot_be_shared_is_refused_at_once(batch, processes, proposed):
    message = rf"train.batch is {batch}, .* {processes} processes .*train.batch={proposed}$"
    with pytest.raises(UserError, match=message):
        training_batches(
            Numbered(5, 3),
            config(),
            seed=0,
            batch=batch,
            steps=range(1),
            num_processes=processes,
            device=CPU,
        )


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state(), random.getstate()
    _ = TrainingSamples(Numbered(5, 3), config(), 0)[3]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.parametrize(
    ("processors", "processes", "device", "kept", "decoding"),
    [
        (1, 1, "cpu", 0, 0),
        (2, 1, "cpu", 0, 1),
        (16, 1, "cpu", 0, 2),
        (16, 8, "cpu", 0, 1),
        (16, 1, "cuda", 1, 8),
        (16, 4, "cuda", 1, 3),
        (4, 4, "cuda", 0, 0),
    ],
)
def test_workers_take_what_training_leaves(
    processors, processes, device, kept, decoding, monkeypatch
):
    monkeypatch.setattr(loader, "_processors", lambda: processors)
    found = [auto_workers(known, processes, torch.device(device)) for known in (True, False)]
    assert found == [kept, decoding]
