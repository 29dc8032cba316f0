"""Our distances on features are those of torch-fidelity, itself checked against the originals."""

import numpy as np
import pytest
import torch

from eval.metrics.fid import frechet_distance
from eval.metrics.kid import kernel_distance, kernel_distances_of_subsets
from eval.metrics.precision_recall import NEIGHBOURS, precision_recall

pytest.importorskip("torch_fidelity")

from torch_fidelity import metric_fid, metric_kid, metric_prc

SIZES = [(300, 200, 16), (90, 70, 64), (40, 50, 64)]  # the last: fewer images than dimensions


def features(n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((d, d)) / np.sqrt(d)
    return rng.standard_normal((n, d)) @ mixing, rng.standard_normal((m, d)) * 1.1 + 0.2


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_fid(n, m, d):
    a, b = features(n, m, d)
    stats = [metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    theirs = metric_fid.fid_statistics_to_metric(*stats, verbose=False)
    tolerance = 1e-4 if min(n, m) <= d else 1e-9  # its root of a singular product is noisy
    assert frechet_distance(a, b) == pytest.approx(
        theirs["frechet_inception_distance"], rel=tolerance
    )


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_kid_on_its_own_subsets(n, m, d):
    """Mean and spread over the very rows that it draws; ours draws others."""
    a, b = features(n, m, d)
    size, subsets, seed = 30, 20, 7
    theirs = metric_kid.kid_features_to_metric(
        torch.from_numpy(a),
        torch.from_numpy(b),
        kid_subsets=subsets,
        kid_subset_size=size,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1.0,
        rng_seed=seed,
        verbose=False,
    )
    rng = np.random.RandomState(seed)
    rows = [[rng.choice(k, size, replace=False) for k in (n, m)] for _ in range(subsets)]
    ours = kernel_distances_of_subsets(a, b, *(np.stack(side) for side in zip(*rows, strict=True)))
    assert ours.mean() == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert ours.std() == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)
    own = kernel_distance(a, b, subset_size=size, num_subsets=400)
    assert own.mean == pytest.approx(ours.mean(), abs=4 * ours.std() / np.sqrt(subsets))


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_precision_and_recall(n, m, d, by_parts):
    a, b = features(n, m, d)
    theirs = metric_prc.prc_features_to_metric(
        torch.from_numpy(a),
        torch.from_numpy(b),
        prc_neighborhood=NEIGHBOURS,
        prc_batch_size=64,
        save_cpu_ram=by_parts,
        verbose=False,
    )
    ours = precision_recall(a, b)
    assert 0 < ours["precision"].value < 1
    for name in ("precision", "recall"):
        assert ours[name].value == pytest.approx(theirs[name], abs=1e-6)
