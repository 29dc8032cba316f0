"""The FCN-score: colours, chance, intervals, Cityscapes' layout, a segmenter and its controls."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from eval._report.fcn import fcn_tables
from eval._report.runs import RunData
from eval.fcn_score import scoring
from eval.fcn_score.colors import checked_palette, colored, looks_like_labels, nearest_class
from eval.fcn_score.running import FILE, Request, fcn_score
from eval.fcn_score.scenes import Scenes, load_scenes
from eval.fcn_score.scoring import (
    CHANCE,
    CONTROL,
    FREQUENT,
    REAL,
    RUN,
    SHUFFLED,
    UNTRANSLATED,
    Row,
)
from eval.fcn_score.segmenter import Segmenter, faults_of, load_segmenter, train_segmenter
from eval.report import write_report
from eval.tasks.cityscapes import Cityscapes
from eval.tasks.scores import segmentation_scores
from tests.training import train_here
from zoo.cli import app
from zoo.data._cityscapes import NAMES, PALETTE
from zoo.data._streets.picture import render_photo
from zoo.data._streets.scene import Scene
from zoo.data.streets import render_labels
from zoo.images import resize, write_image
from zoo.recipe import load_recipe
from zoo.registry import UserError

COLORS = np.array([[200, 30, 30], [20, 160, 40], [40, 60, 220]], np.uint8)
LOOKS = np.array([[200, 120, 60], [60, 110, 70], [120, 160, 220]])  # of the classes in photos
FAST = ["side=32", "model.width=16", "model.depth=1", "training.steps=80", "training.batch=4",
        "training.lr=0.01", "training.validate_every=0"]  # fmt: skip


def scene_pair(seed: int, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A photo and its mask: patches of three classes anywhere, the upper rim ignored."""
    rng = np.random.default_rng(seed)
    places, classes = rng.integers(0, side, (7, 2)), rng.integers(0, 3, 7)
    y, x = np.mgrid[:side, :side]
    distance = (y[..., None] - places[:, 0]) ** 2 + (x[..., None] - places[:, 1]) ** 2
    mask = classes[distance.argmin(2)].astype(np.uint8)
    photo = LOOKS[mask] + rng.normal(0, 12, (side, side, 3))
    mask[:1] = 255
    return np.clip(photo, 0, 255).astype(np.uint8), mask


def scenes_of(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Scenes:
    return Scenes(
        "test", ("ground", "one", "two"), COLORS, tuple(str(i) for i in range(len(pairs))),
        lambda i: pairs[i][0], lambda i: pairs[i][1],
        lambda i, side: resize(colored(pairs[i][1], COLORS), side),
    )  # fmt: skip


# Colours -----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_nearest_colour_is_that_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (5, 3), dtype=np.uint8)
    picture = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    found = nearest_class(picture, palette)
    for y in range(4):
        for x in range(6):
            distances = [
                sum((int(p) - int(c)) ** 2 for p, c in zip(picture[y, x], color, strict=True))
                for color in palette
            ]
            assert found[y, x] == distances.index(min(distances))  # the first of equally near ones


def test_colours_of_a_mask_lead_back_to_it_also_when_they_are_a_little_off():
    mask = np.arange(19, dtype=np.uint8).repeat(8).reshape(19, 8)
    picture = colored(mask, PALETTE)
    assert np.array_equal(nearest_class(picture, PALETTE), mask)
    noise = np.random.default_rng(0).integers(-4, 5, picture.shape)
    near = np.clip(picture.astype(int) + noise, 0, 255).astype(np.uint8)
    assert np.array_equal(nearest_class(near, PALETTE), mask)
    assert (colored(np.array([[255]], np.uint8), PALETTE) == 0).all()


def test_label_maps_are_told_from_photos():
    scene = Scene.draw(0, 3)
    assert looks_like_labels(render_labels(scene, 64), PALETTE)
    assert not looks_like_labels(render_photo(scene, 64), PALETTE)


def test_a_palette_has_one_colour_for_each_class():
    assert checked_palette(COLORS, 3).shape == (3, 3)
    for wrong in (COLORS[:2], COLORS[[0, 1, 1]]):
        with pytest.raises(UserError, match="one of its own"):
            checked_palette(wrong, 3)


# Rows --------------------------------------------------------------------------------------------


def test_the_truth_scores_one_and_what_is_ignored_does_not_count():
    scenes = scenes_of([scene_pair(i) for i in range(3)])
    right = [scenes.mask_of(i).copy() for i in range(3)]
    for mask in right:
        mask[mask == 255] = 2  # anything
    (row, shuffled) = scoring.found_in_photos(scenes, right, REAL)
    assert row.scores == {"pixel_accuracy": 1, "class_accuracy": 1, "mean_iou": 1}
    assert shuffled.name == SHUFFLED
    assert shuffled.scores["mean_iou"] < 0.8
    # By hand: what was found in the scene before, and in the last one for the first.
    matrix = np.zeros((3, 3), int)
    for i in range(3):
        for true, found in zip(scenes.mask_of(i).ravel(), right[i - 1].ravel(), strict=True):
            if true != 255:
                matrix[true, found] += 1
    assert np.array_equal(shuffled.confusions.sum(0), matrix)


def test_predictions_are_brought_to_the_labels_size_by_the_nearest_pixel():
    pairs = [scene_pair(i) for i in range(2)]
    scenes = scenes_of(pairs)
    small = [mask[::2, ::2] % 255 for _, mask in pairs]
    large = [found.repeat(2, 0).repeat(2, 1) for found in small]
    rows = [scoring.found_in_photos(scenes, found, RUN)[0] for found in (small, large)]
    assert np.array_equal(rows[0].confusions, rows[1].confusions)


def test_the_most_frequent_class_has_a_closed_form():
    scenes = scenes_of([scene_pair(i) for i in range(4)])
    row = scoring.most_frequent_class(scenes)
    masks = np.stack([scenes.mask_of(i) for i in range(4)])
    shares = [(masks == c).sum() / (masks != 255).sum() for c in range(3)]
    assert row.name == FREQUENT
    assert row.scores["pixel_accuracy"] == pytest.approx(max(shares))
    assert row.scores["class_accuracy"] == pytest.approx(1 / 3)
    assert row.scores["mean_iou"] == pytest.approx(max(shares) / 3)


def test_the_most_frequent_class_at_each_place_is_that_of_the_other_scenes():
    pairs = [scene_pair(i) for i in range(5)]
    row = scoring.most_frequent_at_each_place(scenes_of(pairs))
    assert row.name == scoring.LAYOUT
    for left_out in range(5):
        matrix = np.zeros((3, 3), int)
        for y in range(40):
            for x in range(40):
                votes = [0, 0, 0]
                for i, (_, mask) in enumerate(pairs):
                    if i != left_out and mask[y, x] != 255:
                        votes[mask[y, x]] += 1
                if (true := pairs[left_out][1][y, x]) != 255:
                    matrix[true, votes.index(max(votes))] += 1
        assert np.array_equal(row.confusions[left_out], matrix)


def test_resampled_scores_are_those_of_the_drawn_images():
    rng = np.random.default_rng(0)
    row = Row(RUN, rng.integers(0, 50, (6, 3, 3)))
    counts = scoring.resamples(6, seed=1)
    assert counts.shape == (scoring.RESAMPLES, 6)
    assert (counts.sum(1) == 6).all()
    resampled = scoring.resampled_scores(row, counts)
    for k in (0, 17, 999):
        drawn = [i for i in range(6) for _ in range(counts[k, i])]
        for name, value in segmentation_scores(row.confusions[drawn].sum(0)).items():
            assert resampled[name][k] == pytest.approx(value)
    assert np.array_equal(counts, scoring.resamples(6, seed=1))


def test_intervals_cover_the_score_of_all_images_as_often_as_they_say():
    """Of 200 samples of 30 scenes out of many, about 95 % of the intervals hold the whole score."""
    rng = np.random.default_rng(0)
    share = rng.beta(4, 2, 4000)
    pixels = rng.binomial(100, share)
    everything = np.zeros((4000, 2, 2), int)
    everything[:, 0, 0], everything[:, 0, 1] = pixels, 100 - pixels
    truth = pixels.mean() / 100
    held = 0
    for trial in range(200):
        row = Row(RUN, everything[rng.integers(4000, size=30)])
        found = scoring.resampled_scores(row, scoring.resamples(30, seed=trial)[:300])
        low, high = scoring.interval(found["pixel_accuracy"])
        held += low <= truth <= high
    assert 0.88 <= held / 200 <= 0.99


def test_shares_of_the_real_score_are_paired_over_images():
    """Where the run equals the real photos on every image, the interval of the share is 1."""
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 50, (8, 3, 3))
    scenes = scenes_of([scene_pair(i) for i in range(8)])
    real, run = scoring.records([Row(REAL, matrices), Row(RUN, matrices * 2)], scenes, seed=0)
    assert run["mean_iou"]["low"] < run["mean_iou"]["high"]
    assert run["mean_iou"]["of_real_low"] == run["mean_iou"]["of_real_high"] == 1
    assert real["mean_iou"]["of_real"] == 1
    assert set(run["class_ious"]) == {"ground", "one", "two"}


# Cityscapes' layout ------------------------------------------------------------------------------


def write_cityscapes(root: Path, kind: str = "labelIds") -> None:
    for split, city, numbers in (("train", "aachen", (0, 1)), ("val", "ulm", (7, 19))):
        for number in numbers:
            stem = f"{city}_{number:06d}_000019"
            photo = np.full((24, 48, 3), number * 10, np.uint8)
            write_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", photo)
            mask = np.full((24, 48), 7 if kind == "labelIds" else 0, np.uint8)
            mask[:5], mask[5:8] = (23, 3) if kind == "labelIds" else (10, 255)
            write_image(root / "gtFine" / split / city / f"{stem}_gtFine_{kind}.png", mask)
            other = np.zeros((24, 48, 3), np.uint8)  # lies there too and is no mask
            write_image(root / "gtFine" / split / city / f"{stem}_gtFine_color.png", other)


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes_as_it_is_published(tmp_path, kind):
    write_cityscapes(tmp_path, kind)
    train, test = load_scenes(tmp_path, "train"), load_scenes(tmp_path, "test")
    assert train.ids == ("aachen/aachen_000000_000019", "aachen/aachen_000001_000019")
    assert test.ids[1] == "ulm/ulm_000019_000019"
    assert test.classes == NAMES
    mask = test.mask_of(1)
    assert mask.shape == (24, 48)  # the original size
    assert (mask[:5] == 10).all()
    assert (mask[5:8] == 255).all()
    assert (mask[8:] == 0).all()
    assert (test.photo_of(1) == 190).all()
    picture = test.picture_of(0, 24)
    assert picture.shape == (24, 24, 3)
    assert picture[-1, 3].tolist() == [128, 64, 128]


def test_a_photo_without_labels_and_a_folder_that_is_not_cityscapes_are_told(tmp_path):
    write_cityscapes(tmp_path)
    next((tmp_path / "gtFine" / "val" / "ulm").glob("*19_000019_gtFine_labelIds.png")).unlink()
    with pytest.raises(UserError, match=r"1 of 2 images .* have no mask .*ulm_000019_000019"):
        load_scenes(tmp_path, "test")
    with pytest.raises(UserError, match=r"looked for leftImg8bit/val; there is: nothing"):
        Cityscapes(Cityscapes.Config(root=str(tmp_path / "other"), split="val")).load()


# A segmenter -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def easy(tmp_path_factory) -> Path:
    """Images and masks of easy scenes, as folders and as the two domains of a data set."""
    root = tmp_path_factory.mktemp("easy")
    for split, first, count in (("train", 0, 24), ("test", 100, 8)):
        for i in range(count):
            photo, mask = scene_pair(first + i)
            write_image(root / split / "images" / f"{i:03d}.png", photo)
            write_image(root / split / "masks" / f"{i:03d}.png", mask)
            write_image(root / "set" / f"{split}A" / f"{i:03d}.png", colored(mask, COLORS))
            write_image(root / "set" / f"{split}B" / f"{i:03d}.png", photo)
    content = {
        split: {
            "name": "masks",
            "images": str(root / split / "images"),
            "masks": str(root / split / "masks"),
            "classes": ["ground", "one", "two"],
        }
        for split in ("train", "test")
    }
    content["colors"] = COLORS.tolist()
    (root / "easy.yaml").write_text(yaml.dump(content))
    return root


@pytest.fixture(scope="module")
def trained(easy) -> Path:
    train_segmenter(easy / "easy.yaml", easy / "segmenter", FAST, cpu=True)
    return easy / "segmenter"


@pytest.fixture(scope="module")
def run(easy) -> Path:
    data = f"data={{name: unpaired, root: {easy / 'set'}, size: 32, load_size: 32, workers: 0}}"
    recipe = load_recipe("debug/cyclegan", [data, "train.images=4"])
    return train_here(recipe, easy / "run")


def test_a_segmenter_reads_real_photos_and_its_control_does_not(trained):
    manifest = json.loads((trained / "segmenter.json").read_text())
    iou = {row["row"]: row["mean_iou"]["value"] for row in manifest["rows"]}
    assert iou[REAL] > 0.85
    assert iou[REAL] > 2 * max(iou[name] for name in CHANCE)
    assert iou[CONTROL] <= 1.25 * max(iou[name] for name in CHANCE)
    assert manifest["faults"] == []
    assert manifest["data"]["train_photos"] == 24
    assert len(manifest["sha256"]) == 64


def test_a_stored_segmenter_says_the_same_again(trained, easy):
    scenes = load_scenes(easy / "easy.yaml", "test")
    segmenter = load_segmenter(trained)
    row = segmenter.rows(scenes, scenes.photo_of, REAL)[0]
    stored = next(r for r in segmenter.manifest["rows"] if r["row"] == REAL)
    assert row.scores["mean_iou"] == pytest.approx(stored["mean_iou"]["value"])


def test_every_picture_goes_through_the_same_path():
    """Detail finer than the first size is lost, whatever the size it comes in."""
    segmenter = Segmenter(network=None, classes=(), side=16, resolution=None)  # type: ignore
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    seen = segmenter.seen(stripes, (32, 48))
    assert seen.shape == (32, 48, 3)
    assert seen[:, 8:-8].std() < 2  # but for the rim
    assert segmenter.seen(stripes[::4, ::4], (32, 48)).shape == (32, 48, 3)


def test_a_segmenter_that_does_not_read_may_not_score(trained, easy, run, tmp_path):
    manifest = json.loads((trained / "segmenter.json").read_text())
    for row, value in ((REAL, 0.2), (CONTROL, 0.9)):
        broken = json.loads(json.dumps(manifest))
        next(r for r in broken["rows"] if r["row"] == row)["mean_iou"]["value"] = value
        assert len(faults_of(broken["rows"])) == 1
        folder = tmp_path / row.split()[0]
        folder.mkdir()
        (folder / "segmenter.json").write_text(json.dumps(broken))
        with pytest.raises(UserError, match=r"may not score: .*chance"):
            load_segmenter(folder)


def test_a_segmenter_of_other_photos_is_refused_on_the_data_it_would_score(trained, easy, run):
    """The photos' colours are exchanged: it was good, and is not on these."""
    content = yaml.safe_load((easy / "easy.yaml").read_text())
    for name in ("images", "masks"):
        content["test"][name] = str(easy / "test" / f"{name}_exchanged")
    for file in (easy / "test" / "images").glob("*.png"):
        photo = np.asarray(Image.open(file))
        write_image(easy / "test" / "images_exchanged" / file.name, 255 - photo[:, :, ::-1])
        mask = np.asarray(Image.open(easy / "test" / "masks" / file.name))
        write_image(easy / "test" / "masks_exchanged" / file.name, mask)
    (easy / "exchanged.yaml").write_text(yaml.dump(content))
    request = Request(run=run, segmenter=trained, data=easy / "exchanged.yaml", labels="a")
    with pytest.raises(UserError, match="not over 2 times chance"):
        fcn_score(request)
    assert not (run / FILE).exists()


def test_changed_weights_are_refused(trained, tmp_path):
    (tmp_path / "segmenter.json").write_bytes((trained / "segmenter.json").read_bytes())
    content = bytearray((trained / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is not the file"):
        load_segmenter(tmp_path)


def test_test_photos_among_the_training_photos_are_found(easy, tmp_path):
    content = yaml.safe_load((easy / "easy.yaml").read_text())
    content["train"] |= {"images": content["test"]["images"], "masks": content["test"]["masks"]}
    (tmp_path / "leak.yaml").write_text(yaml.dump(content))
    with pytest.raises(UserError, match="8 of the 8 test photos are among the training photos"):
        train_segmenter(tmp_path / "leak.yaml", tmp_path / "segmenter", FAST)
    assert not (tmp_path / "segmenter").exists()


# A run -------------------------------------------------------------------------------------------


def test_a_run_is_scored_in_both_directions(trained, easy, run, tmp_path):
    words = ["fcn", "score", str(run), "--segmenter", str(trained), "--labels", "a", "--classes"]
    result = CliRunner().invoke(
        app, [*words, "--data", str(easy / "easy.yaml"), "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / FILE).read_text())
    assert [content["directions"][d]["task"] for d in ("a2b", "b2a")] == [
        "labels to photo", "photo to labels"
    ]  # fmt: skip
    for found in content["directions"].values():
        rows = {row["row"]: row["mean_iou"] for row in found["rows"]}
        assert list(rows) == [REAL, RUN, UNTRANSLATED, *CHANCE]
        assert max(rows, key=lambda name: rows[name]["value"]) == REAL
        assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())
        assert found["label_size"] == [40, 40]
        assert found["images"] == 8
    assert content["directions"]["a2b"]["segmenter"]["side"] == 32
    assert content["directions"]["a2b"]["segmenter"]["real"]["mean_iou"]["value"] > 0.85
    assert "no published table" in " ".join(result.output.split())
    real = content["directions"]["b2a"]["rows"][0]
    assert real["pixel_accuracy"]["value"] > 0.9  # label maps lose borders only


def test_the_report_has_a_table_for_each_segmenter_and_direction(trained, easy, run, tmp_path):
    words = ["fcn", "score", str(run), "--segmenter", str(trained), "--labels", "a"]
    words += ["--data", str(easy / "easy.yaml"), "--num-images", "4", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    content = json.loads((tmp_path / FILE).read_text())
    other = json.loads(json.dumps(content))
    other["directions"]["a2b"]["segmenter"]["sha256"] = "0" * 64
    contents = [
        json.dumps(content),
        json.dumps(content),
        json.dumps(other),
        "{",
        '{"directions": 3}',
    ]
    runs = []
    for i, text in enumerate(contents):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / FILE).write_text(text)
        runs.append(RunData(tmp_path / str(i), f"run {i}"))
    tables = fcn_tables(runs)
    assert [[row.label for row in table.rows] for table in tables] == [
        [REAL, "run 0", "run 1", UNTRANSLATED, *CHANCE],
        [REAL, "run 0", "run 1", "run 2", UNTRANSLATED, *CHANCE],
        [REAL, "run 2", UNTRANSLATED, *CHANCE],
    ]
    value = content["directions"]["a2b"]["rows"][1]["mean_iou"]["value"]
    assert tables[0].rows[1].cells[2][0] == f"{value:.3f}"
    assert "real test photos" in tables[0].segmenter
    assert tables[1].segmenter is None
    assert [len(run.warnings) for run in runs] == [0, 0, 0, 1, 1]


def test_the_report_shows_the_score(trained, easy, run, tmp_path):
    scored = tmp_path / "scored"
    shutil.copytree(run, scored)
    fcn_score(Request(run=scored, segmenter=trained, data=easy / "easy.yaml", labels="a"))
    page = write_report([scored], tmp_path / "report.html", trivial=False).read_text()
    assert page.count('<table class="scores fcn">') == 2
    assert "with no published table" in page
    assert "of real</small>" in page


def test_what_is_missing_is_said(run, easy, trained, tmp_path):
    with pytest.raises(UserError, match="--labels a or --labels b"):
        fcn_score(Request(run=run, segmenter=trained, data=easy / "easy.yaml"))
    with pytest.raises(UserError, match="has no masks"):
        fcn_score(Request(run=run, segmenter=trained, labels="a"))
    with pytest.raises(UserError, match="--segmenter FOLDER"):
        fcn_score(Request(run=run, segmenter=None, labels="a"))
    with pytest.raises(UserError, match="is no segmenter"):
        fcn_score(Request(run=run, segmenter=tmp_path, labels="a"))
    assert not (run / FILE).exists()
    with pytest.raises(UserError, match=r"no field 'steps'.*training"):
        train_segmenter(easy / "easy.yaml", tmp_path / "new", ["steps=3"])
    with pytest.raises(UserError, match="exists; choose another"):
        train_segmenter(easy / "easy.yaml", trained)
