"""`zoo data`: a data set as folders that the folder data set reads back to the same bytes."""

import numpy as np
import pytest

from zoo.data.write import write_folders
from zoo.images import read_image
from zoo.recipe import load_recipe
from zoo.registry import UserError


@pytest.fixture
def drawn():
    return load_recipe("debug/cyclegan", ["data.num_train=3", "data.num_test=2"]).data.build()


def test_folders_hold_every_image_and_the_truth(drawn, tmp_path):
    counts = write_folders(drawn, 32, tmp_path / "out")
    assert counts == {
        "trainA": 3, "trainB": 3, "testA": 2, "testB": 2, "truthA": 2, "truthB": 2,
    }  # fmt: skip
    for folder, domain in (("testA", drawn.domain("test", "a")), ("truthA", drawn.truth("a"))):
        written = read_image(tmp_path / "out" / folder / "00001.png")
        assert np.array_equal(written, domain[1])


def test_what_was_written_can_be_trained_on(drawn, tmp_path):
    write_folders(drawn, 32, tmp_path / "out", num_images=2)
    recipe = load_recipe(
        "selfie2anime/cyclegan",
        [f"data.root={tmp_path / 'out'}", "data.size=32", "data.load_size=32"],
    )
    read = recipe.data.build()
    assert len(read.domain("train", "a")) == 2
    assert np.array_equal(read.domain("test", "b")[1], drawn.domain("test", "b")[1])


def test_an_existing_folder_is_left_alone(drawn, tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(UserError, match="exists"):
        write_folders(drawn, 32, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "kept"
