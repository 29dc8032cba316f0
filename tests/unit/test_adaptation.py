"""Train on translated, test on real: a case with a known answer, its controls, and the guards.

Source images are dark on the side that is their class; in the target that side is bright. So a
network that knows the source is wrong about every target image, the inverted source is a perfect
translation, and a mirrored one swaps the classes.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from eval.adaptation import runner
from eval.adaptation.finding import list_adaptations
from eval.adaptation.guards import Leak
from eval.adaptation.hashes import Hashes
from eval.adaptation.outcome import Outcome
from eval.adaptation.recipe import (
    ARMS,
    AdaptationError,
    Translator,
    dump_adaptation,
    load_adaptation,
)
from eval.adaptation.show import markdown
from eval.adaptation.styles import CONTROLS
from eval.adaptation.translate import translated
from eval.tasks.data import from_arrays
from eval.tasks.scores import classification_scores, confusion, segmentation_scores
from tests.unit.run_folders import write_recipe
from zoo.images import read_image, write_image
from zoo.registry import UserError

SIZE = 12


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(120, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
    half = SIZE // 2
    for image, label in zip(images, labels, strict=True):
        image[:, half * label : half * (label + 1)] //= 4
    return images, labels


def write_folders(root, images, labels):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / ("left", "right")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:03d}.png")


RECIPE = """
description: squares that are dark on one side, or bright there
source: {name: class_folders, root: source}
target_train: {name: class_folders, root: target_train}
target_test: {name: class_folders, root: target_test}
translator: {folder: translated}
model: {name: small_cnn, width: 8}
training: {steps: 16, batch: 8, lr: 5e-3}
arms: [oracle, source, translated, source+translated, histogram_match, grayscale]
seeds: [0, 1]
validation: 0.25
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All folders, and a perfect and a swapping translation of the source."""
    root = tmp_path_factory.mktemp("adaptation")
    images, labels = pictures(32, 0)
    write_folders(root / "source", images, labels)
    write_folders(root / "translated", 255 - images, labels)
    write_folders(root / "swapped", 255 - images[:, :, ::-1], labels)
    for name, count, seed in (("target_train", 24, 1), ("target_test", 30, 2)):
        images, labels = pictures(count, seed)
        write_folders(root / name, 255 - images, labels)
    (root / "recipe.yaml").write_text(RECIPE)
    return root


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


@pytest.fixture(scope="module")
def finished(made):
    """The recipe carried out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        return run("finished")


def run(out, *overrides):
    return runner.adapt(load_adaptation("recipe.yaml", overrides), Path(out), cpu=True)


def accuracy(content, arm):
    return content["arms"][arm]["scores"]["accuracy"]["value"]


# What it finds


def test_a_perfect_translation_closes_the_gap_and_colours_do_not(finished):
    assert accuracy(finished, "oracle") > 0.9
    assert accuracy(finished, "source") < 0.3
    assert accuracy(finished, "translated") > 0.9
    assert accuracy(finished, "source+translated") > accuracy(finished, "source")
    closed = finished["arms"]["translated"]["gap_closed"]["accuracy"]
    wanted = (accuracy(finished, "translated") - accuracy(finished, "source")) / (
        accuracy(finished, "oracle") - accuracy(finished, "source")
    )
    assert closed == pytest.approx(wanted)
    assert closed > 0.85
    assert accuracy(finished, "histogram_match") < 0.5
    assert finished["gap"]["accuracy"]["flag"] is None
    assert not finished["arms"]["translated"]["less_source"]["accuracy"]["tie"]


def test_a_perfect_translation_keeps_labels_and_is_nearest_to_the_target(finished):
    read = finished["consistency"]["oracle"]
    assert read["translated"]["accuracy"] > 0.9
    assert read["source"]["accuracy"] < 0.3
    assert finished["consistency"]["source"]["source"]["accuracy"] > 0.9
    styles = finished["distances"]["styles"]
    assert min(styles, key=lambda name: styles[name]["fid"]) == "translated"
    assert finished["distances"]["comparable"] is False


def test_intervals_are_over_images_and_seeds(finished):
    score = finished["arms"]["source+translated"]["scores"]["accuracy"]
    assert score["over"] == "images and seeds"
    assert len(score["values"]) == 2
    assert score["low"] <= score["value"] <= score["high"]


def test_files_and_tables(finished, folder):
    kept = json.loads((folder / "finished/adaptation.json").read_text())
    assert kept == json.loads(json.dumps(finished))
    text = (folder / "finished/adaptation.md").read_text()
    assert text == markdown(finished)
    assert "| source only |" in text
    assert "[95 % over images and seeds]" in text
    assert load_adaptation(folder / "finished/recipe.yaml") == load_adaptation("recipe.yaml")
    with Image.open(folder / "finished/samples.png") as grid:
        assert grid.width > 5 * 64


def test_no_arm_is_chosen_on_or_trained_with_test_images(finished):
    for found in finished["arms"].values():
        for one in found["runs"]:
            assert one["train_images"] + one["validation_images"] in (24, 32, 64)


# Controls that fail


def test_with_shuffled_source_labels_every_arm_but_the_oracle_is_at_chance(tmp_path):
    """On digits: of ten classes, so that chance is one tenth and not one way or the other."""
    parts = {
        "source": "side: a, split: train, limit: 160, shuffle_labels: true",
        "target_train": "side: b, split: train, limit: 160",
        "target_test": "side: b, split: test",
    }
    common = "name: dataset, data: {name: digits, size: 16}, attribute: digit"
    lines = [f"{role}: {{{common}, {part}}}" for role, part in parts.items()]
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(
        "\n".join(
            [
                *lines,
                "model: {name: small_cnn, width: 8}",
                "training: {steps: 40, batch: 16, lr: 2e-3}",
                "arms: [oracle, source, translated, fda]",
                f"translator: {{folder: {tmp_path / 'painted'}}}",
                "seeds: [0]",
            ]
        )
    )
    adaptation = load_adaptation(recipe)
    source = adaptation.source.build().load()
    for image, _, name in source:
        write_image(tmp_path / "painted" / f"{name}.png", 255 - image)
    content = runner.adapt(adaptation, tmp_path / "out", cpu=True)
    found = {arm: accuracy(content, arm) for arm in content["arms"]}
    assert found["oracle"] > 0.4
    assert max(found["source"], found["translated"], found["fda"]) < 0.25


def test_a_translator_that_swaps_classes_shows(finished, folder):
    content = run(
        "swapped_out", "translator={folder: swapped}", "arms=[oracle, source, translated]"
    )
    assert content["consistency"]["oracle"]["translated"]["accuracy"] < 0.1
    assert finished["consistency"]["oracle"]["translated"]["accuracy"] > 0.9
    assert accuracy(content, "translated") < 0.1
    fids = [c["distances"]["styles"]["translated"]["fid"] for c in (content, finished)]
    assert fids[0] < 2 * fids[1] + 1  # by the distance alone nobody would have seen it


def test_where_there_is_no_gap_the_table_says_so(folder):
    """The target is the source's style: nothing is to be gained, and the share means nothing."""
    for name, count, seed in (("same_train", 24, 5), ("same_test", 30, 6)):
        write_folders(folder / name, *pictures(count, seed))
    content = run(
        "no_gap",
        "target_train.root=same_train",
        "target_test.root=same_test",
        "arms=[oracle, source, grayscale]",
    )
    assert "no gap to close" in content["gap"]["accuracy"]["flag"]
    assert "(?)" in markdown(content)


def test_masks_go_through_the_same_arms(tmp_path):
    """Squares on a ground: bright ones in the source, dark ones in the target, and void edges."""
    rng = np.random.default_rng(0)
    for role, count in (("source", 16), ("train", 12), ("test", 10)):
        for i in range(count):
            mask = np.zeros((16, 16), np.uint8)
            top, left = rng.integers(1, 9, 2)
            mask[top : top + 6, left : left + 6] = 1
            image = np.where(mask[..., None] == 1, 210, 60) + rng.integers(0, 40, (16, 16, 3))
            image = image.astype(np.uint8)
            mask[:, 0] = 255
            write_image(
                tmp_path / role / f"images/{i}.png", image if role == "source" else 255 - image
            )
            write_image(tmp_path / role / f"masks/{i}.png", mask)
            if role == "source":
                write_image(tmp_path / f"translated/{i}.png", 255 - image)
    lines = [
        f"{name}: {{name: masks, images: {tmp_path}/{role}/images, masks: {tmp_path}/{role}/masks, "
        f"classes: [ground, square]}}"
        for name, role in (("source", "source"), ("target_train", "train"), ("target_test", "test"))
    ]
    lines += [
        f"translator: {{folder: {tmp_path}/translated}}",
        "model: {name: unet, width: 8, depth: 1}",
        "training: {steps: 40, batch: 4, lr: 1e-2, flip: 0.5}",
        "arms: [oracle, source, translated]",
        "seeds: [0]",
    ]
    (tmp_path / "squares.yaml").write_text("\n".join(lines))
    content = runner.adapt(load_adaptation(tmp_path / "squares.yaml"), tmp_path / "out", cpu=True)
    iou = {arm: found["scores"]["mean_iou"]["value"] for arm, found in content["arms"].items()}
    assert min(iou["oracle"], iou["translated"]) > 0.8
    assert iou["source"] < 0.5
    assert content["consistency"]["oracle"]["translated"]["mean_iou"] > 0.8
    assert content["arms"]["oracle"]["scores"]["mean_iou"]["over"] == "images"
    kept = Outcome.read(tmp_path / "out/arms/oracle/seed_0/outcome.npz")
    assert kept.said.sum((1, 2)).tolist() == [16 * 15] * 10  # without the edge
    assert "| square |" in markdown(content)


# Going on


def test_a_second_call_repeats_nothing_and_a_lost_arm_comes_back_equal(finished, folder):
    shutil.copytree(folder / "finished", folder / "again")
    lost = folder / "again/arms/translated/seed_1"
    before = json.loads((lost / "result.json").read_text())["scores"]
    shutil.rmtree(lost)
    (lost.parent / ".seed_1.unfinished").mkdir()  # as an interrupted call leaves it
    results = sorted((folder / "again/arms").rglob("result.json"))
    times = {path: path.stat().st_mtime_ns for path in results}
    assert len(times) == 11
    content = run("again")
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert json.loads((lost / "result.json").read_text())["scores"] == before
    assert content["arms"].keys() == finished["arms"].keys()
    for arm in ARMS[:3]:
        assert accuracy(content, arm) == accuracy(finished, arm)


def test_results_of_other_settings_are_repeated(finished, folder, caplog):
    shutil.copytree(folder / "finished", folder / "changed")
    run("changed", "training.steps=2", "arms=[source, grayscale]", "seeds=[0]")
    assert "arms/source/seed_0 is of other data or settings" in caplog.text


# Guards


def test_a_test_image_among_the_training_images_is_refused(folder):
    shutil.copytree(folder / "target_train", folder / "leaky")
    stolen = next((folder / "target_test/left").iterdir())
    shutil.copy(stolen, folder / "leaky/right/renamed.png")
    with pytest.raises(Leak) as caught:
        run("leak", "target_train.root=leaky")
    assert "1 test images of the target were trained on" in str(caught.value)
    assert f"{stolen.relative_to(folder)} of target_test is leaky/right/renamed.png" in str(
        caught.value
    )
    assert not (folder / "leak/arms").exists()


@pytest.mark.parametrize("leaks", [True, False])
def test_what_the_translating_run_was_trained_on_is_looked_at(folder, tmp_path, leaks):
    data = tmp_path / "data"
    for name in ("trainA", "trainB", "testA", "testB"):
        source = folder / ("source" if name.endswith("A") else "target_train") / "left"
        shutil.copytree(source, data / name)
    if leaks:
        shutil.copy(next((folder / "target_test/left").iterdir()), data / "trainB/other.png")
    write_recipe(tmp_path / "run", method="cyclegan", size=16)
    text = (tmp_path / "run/recipe.yaml").read_text()
    start, rest = text.index("data:"), text[text.index("method:") :]
    text = f"{text[:start]}data: {{name: unpaired, root: {data}, size: 16, cache: 'off'}}\n{rest}"
    (tmp_path / "run/recipe.yaml").write_text(text)
    wanted = (Leak, r"of target_test is .*trainB/other\.png of the run's train images \(b\)")
    # Without a leak it goes on to the run's weights, which this one lacks.
    error, match = wanted if leaks else (UserError, "checkpoint")
    with pytest.raises(error, match=match) as caught:
        run(tmp_path / "out", f"translator={{run: {tmp_path / 'run'}, folder: ''}}")
    assert isinstance(caught.value, Leak) == leaks


def test_what_cannot_be_checked_is_said(finished):
    assert (
        "the translator of translated was trained on is not known"
        in (finished["guards"]["unchecked"][0])
    )
    assert "Not checked for leaks" in markdown(finished)


# Translations


def test_a_run_translates_once_and_goes_on_where_it_was_cut(folder, tmp_path):
    images = list(pictures(3, 0)[0])
    source = from_arrays(images, [0, 1, 0], ["left", "right"])
    translator = Translator(run="toonfaces-ugatit", direction="a2b")

    def translate(out):
        out.mkdir(exist_ok=True)
        return translated(translator, source, out, Hashes(out / "hashes.json"))

    first = translate(tmp_path / "whole")
    manifest = json.loads((tmp_path / "whole/translated/manifest.json").read_text())
    assert manifest["generator"]["direction"] == "a2b"
    assert len(manifest["generator"]["sha256"]) == 64
    assert manifest["images"]["000001"]["size"] == [SIZE, SIZE]

    # Cut after one image.
    cut = tmp_path / "cut/.translated.unfinished"
    cut.mkdir(parents=True)
    (cut / "generator.json").write_text(json.dumps(manifest["generator"]))
    shutil.copy(tmp_path / "whole/translated/000000.png", cut)
    kept = (cut / "000000.png").stat().st_mtime_ns
    second = translate(tmp_path / "cut")
    assert (tmp_path / "cut/translated/000000.png").stat().st_mtime_ns == kept
    for i in range(3):
        assert (first.image_of(i) == second.image_of(i)).all()
        assert first.image_of(i).shape == (SIZE, SIZE, 3)
        assert (read_image(tmp_path / f"cut/translated/{source.ids[i]}.png")).any()

    images[1] = images[1] + 1  # the source has changed since
    with pytest.raises(UserError, match="no translation of the source image 000001 as it is now"):
        translate(tmp_path / "cut")
    with pytest.raises(UserError, match=r"made by another generator \(direction differ\)"):
        translated(
            Translator(run="toonfaces-ugatit", direction="b2a"),
            source,
            tmp_path / "cut",
            Hashes(tmp_path / "hashes.json"),
        )


def test_missing_and_cut_translations_are_refused(folder):
    shutil.copytree(folder / "translated", folder / "few")
    (folder / "few/left/000.png").unlink()
    with pytest.raises(UserError, match="few lacks 1 of the 32 source images, first left/000"):
        run("few_out", "translator={folder: few}")
    Image.fromarray(np.zeros((SIZE, 2 * SIZE, 3), np.uint8)).save(folder / "few/left/000.png")
    with pytest.raises(UserError, match="labels would not fit a cut image"):
        run("few_out", "translator={folder: few}")


# Recipes


@pytest.mark.parametrize("name", list_adaptations())
def test_shipped_recipes_load_and_survive_a_round_trip(name, tmp_path):
    recipe = load_adaptation(name)
    assert recipe.description
    (tmp_path / "again.yaml").write_text(dump_adaptation(recipe))
    assert load_adaptation(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("arms: [oracel]", r"bad\.yaml:12: arms\[0\]: 'oracel' .* Did you mean 'oracle'"),
        ("modle: small_cnn", r"bad\.yaml:12: modle: .* Did you mean 'model'"),
        ("model: smal_cnn", r"bad\.yaml:12: model: there is no task model 'smal_cnn'. Did you"),
        ("source: {root: x, sizes: 4}", r"bad\.yaml:12: source\.sizes: .* Did you mean 'size'"),
        ("seeds: [1, 1]", r"bad\.yaml:12: seeds: 1 is given twice"),
        ("translator: null", "need a translator"),
        ("translator: {run: a, folder: b}", "needs either run or folder"),
        ("validation: 2", r"bad\.yaml:12: validation: 2 is too large"),
        (
            "published: [{source: x, convention: y, values: {oracle: {mean_iuo: 1}}}]",
            r"mean_iuo: is no score. Did you mean 'mean_iou'",
        ),
    ],
)
def test_mistakes_in_a_recipe_are_told_with_their_place(line, message, tmp_path):
    key = line.partition(":")[0]
    kept = [row for row in RECIPE.strip().splitlines() if not row.startswith(f"{key}:")]
    kept += [f"# {i}" for i in range(11 - len(kept))]
    (tmp_path / "bad.yaml").write_text("\n".join([*kept, line, ""]))
    with pytest.raises(AdaptationError, match=message):
        load_adaptation(tmp_path / "bad.yaml")


def test_missing_parts_and_names_are_told(tmp_path):
    (tmp_path / "bad.yaml").write_text("model: small_cnn\n")
    with pytest.raises(AdaptationError, match="needs source, target_train, target_test"):
        load_adaptation(tmp_path / "bad.yaml")
    with pytest.raises(
        AdaptationError, match=r"no adaptation recipe 'digit'\. Did you mean 'digits'"
    ):
        load_adaptation("digit")


def test_data_that_do_not_fit_are_refused(folder):
    with pytest.raises(UserError, match="target_train, which has none"):
        run("x", "target_train={name: images, root: target_train}")
    with pytest.raises(UserError, match="'unet' is for segmentation"):
        run("x", "model=unet")
    with pytest.raises(UserError, match=r"target_test: root .* does not exist"):
        run("x", "target_test.root=target_tset")


# Arithmetic


def test_resampled_scores_are_those_of_the_images_drawn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 12)
    said = rng.dirichlet(np.ones(3), 12)
    masks, found = rng.integers(0, 3, (2, 12, 4, 4))
    matrices = np.stack([confusion(a, b, 3) for a, b in zip(masks, found, strict=True)])
    rows = np.random.default_rng([0, 12]).integers(12, size=(5, 12))
    classified = Outcome(labels, said).resampled(5)
    segmented = Outcome(np.empty(0), matrices).resampled(5)
    for k, row in enumerate(rows):
        for name, value in classification_scores(labels[row], said[row]).items():
            assert classified[name][k] == pytest.approx(value), name
        for name, value in segmentation_scores(matrices[row].sum(0)).items():
            assert segmented[name][k] == pytest.approx(value), name


def test_fourier_transfer_takes_low_frequencies_only():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (32, 32, 3), dtype=np.uint8)
    control = CONTROLS["fda"]()
    same = control.fit(image[None], image[None])(image)
    assert np.abs(same.astype(int) - image).max() <= 1
    other = (image // 2 + 60).astype(np.uint8)[::-1]
    mixed = control.fit(image[None], other[None])(image)
    assert mixed.mean((0, 1)) == pytest.approx(other.mean((0, 1)), abs=1)  # of frequency 0
    high = [np.abs(np.fft.fft2(x, axes=(0, 1)))[8:24, 8:24] for x in (image, mixed)]
    assert stats.pearsonr(high[0].ravel(), high[1].ravel()).statistic > 0.99


def test_grayscale_has_no_colour_and_changes_test_images_too():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    grey = CONTROLS["grayscale"]()(image)
    assert (grey == grey[:, :, :1]).all()
    assert grey[0, 0, 0] == pytest.approx(image[0, 0] @ [0.299, 0.587, 0.114], abs=1)
