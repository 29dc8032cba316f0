"""The drawn streets: reproducibility, masks that belong to their photos, and the data set."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from zoo.data._cityscapes import CLASSES, IGNORE, NAMES, PALETTE, TRAIN_ID_OF_LABEL_ID, colored
from zoo.data._streets.picture import render_ids, render_mask, render_photo
from zoo.data._streets.scene import THINGS, Scene
from zoo.data.streets import Streets, render_labels
from zoo.registry import DATASETS, UserError

# Of 24 scenes at 64 px. The data set is frozen: scores refer to these bytes.
FROZEN = "accf2ff5f7135aa4187b636b7ed6f4afb6c82e948b1e8b85a2c8ae985a7f4265"


def make(**config) -> Streets:
    return Streets(
        Streets.Config(
            **{"size": 32, "full_size": 64, "num_train": 5, "num_test": 4, "cache": "memory"}
            | config
        )
    )


def test_streets_are_frozen():
    digest = hashlib.sha256()
    for index in range(24):
        scene = Scene.draw(0, index)
        for render in (render_photo, render_labels, render_mask):
            digest.update(render(scene, 64).tobytes())
    assert digest.hexdigest() == FROZEN


def test_another_process_draws_the_same_bytes():
    code = (
        "import numpy as np; np.random.seed(7)\n"
        "from zoo.data._streets.picture import render_mask, render_photo\n"
        "from zoo.data._streets.scene import Scene\n"
        "scene = Scene.draw(3, 11)\n"
        "print(render_photo(scene, 48).tobytes().hex() + render_mask(scene, 48).tobytes().hex())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    scene = Scene.draw(3, 11)
    here = render_photo(scene, 48).tobytes() + render_mask(scene, 48).tobytes()
    assert out.stdout.strip() == here.hex()


@pytest.mark.parametrize("size", [16, 32, 50, 128, 256])
def test_every_size_shows_the_same_street(size):
    scene = Scene.draw(0, 1)
    for render, most in ((render_photo, 9), (render_labels, 20)):
        small = []
        for side in (size, 64):
            image = render(scene, side)
            assert image.shape == (side, side, 3)
            assert image.dtype == np.uint8
            small.append(np.asarray(Image.fromarray(image).resize((16, 16), 4), float))
        assert np.abs(small[0] - small[1]).mean() < most


def test_masks_are_the_label_maps_without_the_pixels_that_classes_share():
    for index in range(4):
        scene = Scene.draw(1, index)
        mask, ids, labels = render_mask(scene, 96), render_ids(scene, 96), render_labels(scene, 96)
        kept = mask != IGNORE
        assert 0.75 < kept.mean() < 0.99
        assert np.array_equal(mask[kept], ids[kept])
        assert np.array_equal(colored(ids), labels)
        assert (labels[-1, 40:56] == 0).all()  # the bonnet is unlabelled, as in Cityscapes
        inner = kept[1:-1, 1:-1]
        alike = np.ones_like(inner)
        for down in (0, 1, 2):
            for right in (0, 1, 2):
                alike &= ids[down : 94 + down, right : 94 + right] == ids[1:-1, 1:-1]
        assert (inner | ~alike | (ids[1:-1, 1:-1] == IGNORE)).mean() > 0.98  # only borders are lost


def test_photos_show_what_masks_say():
    """A mask explains its own photo's colours better than that of any other street does."""
    scenes = [Scene.draw(2, index) for index in range(8)]
    photos = [render_photo(scene, 64).astype(float) for scene in scenes]
    ids = [render_ids(scene, 64) for scene in scenes]

    def unexplained(photo: np.ndarray, classes: np.ndarray) -> float:
        left = photo.copy()
        for train_id in np.unique(classes):
            left[classes == train_id] -= photo[classes == train_id].mean(0)
        return float((left**2).mean())

    for i, photo in enumerate(photos):
        rest = [unexplained(photo, classes) for classes in ids]
        assert min(rest) == rest[i]
        assert rest[i] < 0.8 * np.median(rest)


def test_the_street_has_many_classes_and_photos_differ_in_light():
    masks = np.stack([render_mask(Scene.draw(0, index), 64) for index in range(40)])
    shares = {name: (masks == train_id).mean() for train_id, name in enumerate(NAMES)}
    assert sum(share > 0 for share in shares.values()) >= 15
    assert all(shares[name] > 0.005 for name in ("road", "sidewalk", "building", "sky", "car"))
    assert max(shares.values()) < 0.45
    light = [render_photo(Scene.draw(0, index), 32).mean() for index in range(40)]
    assert max(light) - min(light) > 25


def test_classes_are_those_of_cityscapes():
    """Facts of the published data set: 19 trained classes, their raw ids, the void colour."""
    assert len(CLASSES) == len(NAMES) == len(np.unique(PALETTE, axis=0)) == 19
    assert [TRAIN_ID_OF_LABEL_ID[i] for i in (7, 8, 11, 23, 24, 26, 33)] == [
        0,
        1,
        2,
        10,
        11,
        13,
        18,
    ]
    unscored = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 34, 255]
    assert {TRAIN_ID_OF_LABEL_ID[i] for i in unscored} == {IGNORE}
    assert colored(np.array([[0, 10, IGNORE]], np.uint8)).tolist() == [
        [[128, 64, 128], [70, 130, 180], [0, 0, 0]]
    ]


def test_registered_with_what_a_trainer_needs():
    data = DATASETS["streets"](make().config)
    assert not data.paired
    for side, other in ("ab", "ba"):
        train, test, truth = data.domain("train", side), data.domain("test", side), data.truth(side)
        assert (len(train), len(test), len(truth)) == (5, 4, 4)
        assert train[0].shape == (36, 36, 3)  # the load size
        assert test[0].shape == truth[0].shape == (32, 32, 3)
        assert list(truth.names) == list(test.names)
        assert data.masks("test", side)[0].shape == (64, 64)
        assert not np.array_equal(truth[0], data.domain("test", other)[0])
        known = data.attributes(side)
        assert len(known) == 4
        assert all(f"num_{kind}" in known[0] for kind in THINGS)
    with pytest.raises(IndexError):
        data.domain("test", "a")[4]


def test_truth_masks_photos_and_label_maps_show_the_same_scene():
    data = make()
    for side in "ab":
        test, truth = data.domain("test", side), data.truth(side)
        labels, photos = (test, truth) if side == "a" else (truth, test)
        for index in range(4):
            scene = test.subject(index)
            assert np.array_equal(labels[index], render_labels(scene, 32))
            assert np.array_equal(photos[index], render_photo(scene, 32))
            assert np.array_equal(data.photos("test", side)[index], photos[index])
            assert np.array_equal(data.label_maps("test", side)[index], labels[index])
            assert np.array_equal(data.masks("test", side)[index], render_mask(scene, 64))


def test_domains_can_be_exchanged():
    one, two = make(), make(labels="b")
    assert (one.label_side, two.label_side) == ("a", "b")
    scene = two.domain("test", "b").subject(0)
    assert np.array_equal(two.domain("test", "b")[0], render_labels(scene, 32))
    assert np.array_equal(two.domain("test", "a")[1], one.truth("a")[1])


@pytest.mark.parametrize("paired", [False, True])
def test_no_street_is_seen_twice_unless_pairs_are_asked_for(paired):
    data = make(paired=paired)
    scenes = {
        (split, side): {data.domain(split, side).subject(i).index for i in range(4)}
        for split in ("train", "test")
        for side in "ab"
    }
    assert data.paired is paired
    assert len(scenes["train", "a"] & scenes["train", "b"]) == (4 if paired else 0)
    assert not (scenes["train", "a"] | scenes["train", "b"]) & (
        scenes["test", "a"] | scenes["test", "b"]
    )
    assert not scenes["test", "a"] & scenes["test", "b"]


def test_seed_changes_every_street():
    one, two = make(seed=1).domain("train", "b"), make(seed=2).domain("train", "b")
    assert all(not np.array_equal(one[i], two[i]) for i in range(5))


@pytest.mark.parametrize("field", ["num_train", "num_test", "seed"])
def test_impossible_numbers_are_refused(field):
    with pytest.raises(UserError, match=f"data.{field} is -1"):
        make(**{field: -1})
