"""The benchmark of the input pipeline: its rows, and that the pipelines do the same work."""

import json

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.data import app, dataset, one_by_one, ours, published, write_set
from zoo.schema import Cache

KEYS = {"pipeline", "file", "size", "batch", "ratio_median", "ratio_min", "ratio_max"}


def test_rows_and_table(tmp_path):
    out = tmp_path / "rows.json"
    words = "--files png --side 48 --size 32 --batch 2 --count 2 --rounds 3 --steps 1 --threads 1"
    result = CliRunner().invoke(app, [*words.split(), "--out", str(out)])
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())
    assert [row["pipeline"] for row in rows] == [
        "published",
        "decoded each time",
        "cached, one by one",
        "cached",
    ]
    assert all(set(row) >= KEYS for row in rows)
    assert rows[0]["ratio_min"] == rows[0]["ratio_max"] == 1
    assert all(0 < row["ratio_min"] <= row["ratio_median"] <= row["ratio_max"] for row in rows)
    assert all(row["pipeline"] in result.output for row in rows)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_pipelines_give_the_same_images_but_for_chance(tmp_path, kind):
    """Without room for a crop, every image is the same up to its mirror image."""
    write_set(tmp_path / "set", kind, 1, 48)
    data = dataset(tmp_path / "set", 32, Cache(folder=str(tmp_path / "cache")))
    data.config.load_size = 32
    first = next(published(tmp_path / "set", 32, 32, 1, "cpu"))
    theirs = {side: (image, image.flip(-1)) for side, image in zip("ab", first, strict=True)}
    alone = next(one_by_one(data, 32, 1, "cpu"))
    batch = next(ours(data, 1, "cpu"))
    for found in (dict(zip("ab", alone, strict=True)), {"a": batch.a, "b": batch.b}):
        for side, images in found.items():
            # torchvision's filter is Pillow's; its division by 255 rounds otherwise.
            close = [torch.allclose(images, their, atol=1e-6) for their in theirs[side]]
            assert any(close)
