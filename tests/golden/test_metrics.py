"""Distances and resizing are those of clean-fid, learning rates the published schedules."""

import numpy as np
import pytest

from eval.features.images import resize_clean
from eval.metrics.fid import frechet_distance
from eval.metrics.kid import kernel_distances_of_subsets
from zoo.optim import learning_rate_factor
from zoo.schema import Schedule

FAMILIES = ("metrics",)


def test_case(case):
    kind = case.name.partition("_")[0]
    {"features": _distances, "resize": _resizing, "learning": _rates}[kind](case)


def _distances(case):
    a, b = (case.arrays[key].numpy() for key in ("feats1", "feats2"))
    expected, tolerance = case.facts["expected"], case.facts["tolerance"]

    assert frechet_distance(a, b) == pytest.approx(
        expected["frechet_distance_symmetric_form"], rel=1e-8
    )
    assert frechet_distance(a, b) == pytest.approx(
        expected["frechet_distance"],
        rel=tolerance["frechet_distance_relative"],
        abs=tolerance["frechet_distance_absolute"],
    )
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)

    rows = [case.arrays[f"kid_index_{key}"].numpy() for key in ("feats1", "feats2")]
    relative = tolerance["kernel_distance_relative"]
    of_subsets = kernel_distances_of_subsets(a, b, *rows)
    assert of_subsets.mean() == pytest.approx(expected["kernel_distance"], rel=relative)
    once = kernel_distances_of_subsets(a, b, np.arange(len(a))[None], np.arange(len(b))[None])
    assert once.item() == pytest.approx(expected["kernel_distance_all_rows_once"], rel=relative)


def _resizing(case):
    image = case.arrays["input/image_uint8"].numpy()
    resized = resize_clean(image, tuple(case.config["output_height_width"]))
    clean = resize_clean(image, (299, 299))
    ours = {"resized": resized, "clean299_rows_0_150_298": clean[[0, 150, 298]]}
    if "out/row_index" in case.arrays:
        ours = {"resized_some_rows": resized[case.arrays["out/row_index"].numpy()]}
    wanted = case.under("out")
    wanted.pop("row_index", None)
    assert set(wanted) == set(ours)
    for key, want in wanted.items():
        np.testing.assert_allclose(ours[key], want.numpy(), rtol=0, atol=1e-4, err_msg=key)
    if "clean299_mean_std" in case.facts["expected"]:
        expected = case.facts["expected"]["clean299_mean_std"]
        assert clean.mean(dtype=float) == pytest.approx(expected["mean"], abs=1e-4)
        assert clean.std(dtype=float) == pytest.approx(expected["std"], abs=1e-4)


def _rates(case):
    tolerance = {"rel": case.facts["tolerance"]["relative"], "abs": 1e-15}
    for name, published in case.facts["expected"].items():
        if name.startswith("cyclegan"):
            epoch = 7  # images of it; the schedule may not depend on this
            schedule = Schedule(
                name="linear",
                constant_images=published["n_epochs"] * epoch,
                decay_images=published["n_epochs_decay"] * epoch,
                every_images=epoch,
                last="nonzero",
            )
            first = (published["epoch_count"] - 1) * epoch
        elif name == "ugatit_resumed":
            continue  # the published code loses a step when resumed; ours repeats the whole run
        else:
            epoch, half = 1, published["iteration"] // 2
            schedule = Schedule(
                name="linear", constant_images=half, decay_images=half, every_images=1, last="zero"
            )
            first = 0
        ours = [
            published["lr"] * learning_rate_factor(schedule, first + i * epoch)
            for i in range(len(published["values"]))
        ]
        assert ours == pytest.approx(published["values"], **tolerance), name
