"""Streets as of a video game: the same scenes as the photos, flat, and unlike them in colour."""

import numpy as np
import pytest

from zoo.data._cityscapes import TRAIN_ID
from zoo.data.streets import Streets


@pytest.fixture(scope="module")
def streets():
    sizes = {"size": 64, "full_size": 64, "num_train": 4, "num_test": 6, "cache": "off"}
    return Streets(Streets.Config(pictures="game", **sizes))


def test_game_and_photo_of_a_scene_share_its_mask(streets):
    """Where the class changes, both pictures change more than elsewhere."""
    for i in range(4):
        mask = streets.masks("test", "a")[i].astype(int)
        border = (mask[:, 1:] != mask[:, :-1])[20:40]
        for picture in (streets.domain("test", "a")[i], streets.truth("a")[i]):
            steps = np.abs(np.diff(picture.astype(float), axis=1)).mean(2)[20:40]
            assert steps[border].mean() > 1.3 * steps[~border].mean()


def test_a_road_is_one_colour_in_the_game_and_many_in_the_photo(streets):
    for i in range(4):
        mask = streets.masks("test", "a")[i]
        road = np.zeros_like(mask, bool)
        road[45:58] = mask[45:58] == TRAIN_ID["road"]
        game, photo = streets.domain("test", "a")[i][road], streets.truth("a")[i][road]
        assert len(np.unique(game, axis=0)) < len(np.unique(photo, axis=0)) / 3
        assert np.abs(game.mean(0) - photo.mean(0)).max() > 40


def test_the_domain_of_photos_is_that_of_the_label_maps_data_set(streets):
    plain = Streets(Streets.Config(size=64, full_size=64, num_train=4, num_test=6, cache="off"))
    assert (plain.domain("test", "b")[2] == streets.domain("test", "b")[2]).all()
    assert (plain.label_side, streets.label_side) == ("a", None)
    first, second = (streets.domain(split, "a")[0] for split in ("train", "test"))
    assert first.shape != second.shape or (first != second).any()
