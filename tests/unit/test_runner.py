"""Scores of runs: what they are made of, and translators whose scores are known."""

import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eval import runner
from eval.features.base import FeatureExtractor
from eval.features.images import as_uint8
from eval.metric import Column, Value
from eval.resamples import read_resamples
from eval.runner import checkpoints_to_score, evaluate_run, output_names, trivial_rows
from eval.scorer import Scorer
from eval.scores import Score, read_scores
from tests.unit.run_folders import write_checkpoint, write_recipe
from zoo.images import list_images, read_image, to_tensor, to_uint8
from zoo.protocols import DataSet
from zoo.registry import METRICS, UserError
from zoo.translation import load_run


class Flatness(FeatureExtractor):
    """How many neighbouring pixels are alike: fast, and enough to tell photos from drawings."""

    name, dim, comparable, resizer = "flatness-v1", 10, False, "none"

    def __call__(self, images):
        return np.array([self._features(i.astype(float)) for i in as_uint8(images)], np.float32)

    def _features(self, image):
        steps = np.abs(np.diff(image.mean(2), axis=1))
        alike = [np.mean(steps < limit) for limit in (1, 2, 4, 8, 16, 32, 64)]
        return [*alike, *image.mean((0, 1)) / 255]


@pytest.fixture(scope="module")
def faces() -> DataSet:
    return _recipe_data(num_test=24)


def _recipe_data(**config) -> DataSet:
    from zoo.registry import DATASETS

    owner = DATASETS["toonfaces"]
    return owner(owner.Config(size=32, num_train=30, **config))


@pytest.fixture(scope="module")
def scorer(faces) -> Scorer:
    return Scorer(faces, Flatness(), size=32, reference="test")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_recipe(folder, num_test=4)
    write_checkpoint(folder, images_seen=1234)
    return folder


def _values(scores: list[Score]) -> dict[str, float | None]:
    return {score.metric: score.value for score in scores}


# Translators whose scores are known --------------------------------------------------------------


def test_the_perfect_translator_has_no_error_and_hardly_any_distance(scorer):
    for direction in ("a2b", "b2a"):
        perfect = _values(scorer.score(direction, list(scorer.truths(direction)), "perfect"))
        photo = _values(scorer.score_untranslated(direction))
        assert perfect["l1"] == 0
        assert perfect["ssim"] == pytest.approx(1)
        assert abs(perfect["kid_target"]) < 0.15 * photo["kid_target"]
        assert perfect["fid"] < 0.5 * photo["fid"]
        assert photo["l1"] > 0.05


def test_truths_in_another_order_are_as_near_to_the_domain_but_not_to_the_truth(scorer):
    truths = list(scorer.truths("a2b"))
    shuffled = _values(scorer.score("a2b", truths[1:] + truths[:1], "shuffled"))
    perfect = _values(scorer.score("a2b", truths, "perfect"))
    assert shuffled["l1"] > 0.1
    assert shuffled["fid"] == pytest.approx(perfect["fid"], rel=1e-6)


def test_the_identity_scores_like_the_untranslated_images(scorer):
    identity = _values(scorer.score("a2b", list(scorer.sources("a2b")), "identity"))
    untranslated = _values(scorer.score_untranslated("a2b"))
    assert untranslated.pop("kid_source_target_mean") is None
    del identity["kid_source_target_mean"]
    assert identity == untranslated


def test_a_translation_too_many_is_an_error(scorer):
    with pytest.raises(ValueError, match="25 translations of 24"):
        scorer.score("a2b", [*scorer.sources("a2b"), scorer.sources("a2b")[0]], "run")


# Protocol ----------------------------------------------------------------------------------------


def test_few_test_images_are_compared_with_the_training_images(faces):
    auto = Scorer(faces, Flatness(), size=32)
    assert auto.reference_split("a2b") == "train"
    score = auto.score_untranslated("a2b")[0]
    assert (score.reference, score.num_fake, score.num_real) == ("train", 24, 30)
    many = SimpleNamespace(domain=lambda split, side: range(100))
    assert Scorer(many, Flatness(), size=32).reference_split("a2b") == "test"
    with pytest.raises(UserError, match="val"):
        Scorer(faces, Flatness(), size=32, reference="val")


def test_a_number_of_images_takes_them_evenly_spaced(faces):
    scorer = Scorer(faces, Flatness(), size=32, num_images=4, reference="test")
    assert scorer.names("a2b") == ["00000.png", "00006.png", "00012.png", "00018.png"]
    assert {s.num_fake for s in scorer.score_untranslated("a2b")} == {4}


def test_what_cannot_be_computed_is_recorded_with_its_reason():
    scorer = Scorer(_recipe_data(num_test=1), Flatness(), size=32, reference="test")
    scores = {score.metric: score for score in scorer.score_untranslated("a2b")}
    assert scores["fid"].value is None
    assert "2" in scores["fid"].unavailable
    assert scores["l1"].value > 0


def test_grey_images_are_scored(faces):
    grey = SimpleNamespace(
        domain=lambda split, side: _Grey(faces.domain(split, side)), truth=lambda side: None
    )
    scores = Scorer(grey, Flatness(), size=32, reference="test").score_untranslated("a2b")
    assert {s.metric for s in scores} >= {"fid", "kid_target", "kid_source_target_mean"}
    assert scores[0].value > 0
    assert "l1" not in {s.metric for s in scores}


class _Grey:
    def __init__(self, domain):
        self.domain, self.names = domain, domain.names

    def __len__(self):
        return len(self.domain)

    def __getitem__(self, index):
        return self.domain[index][:, :, :1]


def test_the_hash_of_the_test_images_changes_with_them(scorer, faces):
    again = Scorer(_recipe_data(num_test=24), Flatness(), size=32, reference="test")
    assert again.test_images == scorer.test_images
    for other in (
        Scorer(_recipe_data(num_test=24, seed=1), Flatness(), size=32),
        Scorer(faces, Flatness(), size=32, num_images=23),
        Scorer(faces, Flatness(), size=24),
    ):
        assert other.test_images != scorer.test_images


def test_names_of_translations_do_not_collide():
    names = ["a.jpg", "a.png", "b.JPG", "c/d.png", "e/d.png"]
    assert output_names(names) == ["a.jpg.png", "a.png.png", "b.png", "c_d.png.png", "e_d.png.png"]


# A whole run -------------------------------------------------------------------------------------


def test_a_run_is_translated_and_scored(run):
    content = evaluate_run(
        run, extractor="offline", seed=3, metrics=["fid", "kid", "l1", "ssim", "lpips"]
    )

    stored = json.loads((run / "scores.json").read_text(), parse_constant=pytest.fail)
    assert stored == content
    records = stored["records"]
    metrics = ("fid", "kid_target", "kid_source_target_mean", "l1", "ssim", "lpips")
    assert [(r["metric"], r["direction"], r["translator"]) for r in records] == [
        (metric, direction, translator)
        for direction in ("a2b", "b2a")
        for translator in ("run", "untranslated")
        for metric in metrics
    ]
    for record in records:
        assert set(record) == {field.name for field in fields(Score)}
        assert record["num_fake"] == 4
        assert record["image_size"] == 32
        assert {"zoo", "torch", "numpy", "scipy", "pillow"} <= set(record["versions"])
        assert record["resizer"]
        assert len(record["test_images"]) == 16
        if record["metric"] in metrics[:3]:
            assert record["extractor"] == "offline-v1"
            assert record["comparable"] is False
            assert record["reference"] == "train"
        if record["metric"].startswith("kid") and record["value"] is not None:
            assert (record["subset_size"], record["num_subsets"], record["seed"]) == (2, 100, 3)
            assert record["std"] > 0
        if record["translator"] == "run":
            assert record["weights"] == "raw"
            assert record["images_seen"] == 1234
            assert record["checkpoint"] == "latest"
        assert (record["value"] is None) == (record["unavailable"] is not None)
    assert [Score(**r) for r in records] == read_scores(run / "scores.json")


def test_what_is_scored_is_what_the_files_hold(run):
    content = evaluate_run(run)
    files = list_images(run / "translated" / "a2b")
    assert [file.name for file in files] == [f"{i:05d}.png" for i in range(4)]
    loaded = load_run(run)
    data = loaded.dataset()
    source = data.domain("test", "a")[2]
    expected = loaded.translate_batch(to_tensor(source), "a2b")[0].permute(1, 2, 0).numpy()
    assert np.abs(read_image(files[2]) - (expected + 1) * 127.5).max() <= 0.51
    errors = [
        np.abs(read_image(file).astype(float) - data.truth("a")[i]).mean() / 255
        for i, file in enumerate(files)
    ]
    stored = next(r for r in content["records"] if r["metric"] == "l1" and r["direction"] == "a2b")
    assert stored["value"] == pytest.approx(np.mean(errors))
    assert stored["std"] == pytest.approx(np.std(errors))


def test_scoring_again_leaves_nothing_of_the_last_time(run):
    evaluate_run(run)
    evaluate_run(run, num_images=3)
    assert len(list_images(run / "translated" / "b2a")) == 3
    assert {score.num_fake for score in read_scores(run / "scores.json")} == {3}
    assert sorted(p.name for p in (run / "translated").iterdir()) == ["a2b", "b2a"]


def test_scores_repeat(run):
    first, second = evaluate_run(run, num_images=2), evaluate_run(run, num_images=2)
    assert first == second


def test_missing_weights_are_found_out_before_anything_is_done(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    shutil.rmtree(run / "translated", ignore_errors=True)
    with pytest.raises(UserError, match=r"inception-2015-12-05\.pt"):
        evaluate_run(run, extractor="inception")
    assert not (run / "translated").exists()


def test_a_shipped_run_is_not_written_into(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "SHIPPED", run.parent)
    before = sorted(run.rglob("*"))
    with pytest.raises(UserError, match="shipped"):
        evaluate_run(run)
    content = evaluate_run(run, num_images=2, out=tmp_path / "scores")
    assert sorted(run.rglob("*")) == before
    assert (tmp_path / "scores" / "scores.json").is_file()
    assert content["records"][0]["checkpoint"] == "shipped"


# The best and the latest -------------------------------------------------------------------------


@pytest.fixture
def chosen_run(run, tmp_path):
    """A run that kept the first of its two checkpoints as the best of three."""
    folder = Path(shutil.copytree(run, tmp_path / "chosen"))
    shutil.rmtree(folder / "translated", ignore_errors=True)
    write_checkpoint(folder, images_seen=2000, seed=1)
    (folder / "checkpoints" / "best").write_text("images_000001234\n")
    lines = [{"images": 100 * i, "scores": {"kid_target/mean": 1.0}} for i in (1, 2, 3)]
    lines.insert(1, {"images": 150, "terms": {}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_best_stands_beside_the_latest_with_the_number_of_looks(chosen_run):
    records = [Score(**r) for r in evaluate_run(chosen_run)["records"]]
    own = [r for r in records if r.translator == "run"]
    seen = {(r.checkpoint, r.images_seen, r.looks) for r in own}
    assert seen == {("latest", 2000, None), ("best", 1234, 3)}
    values = {(r.checkpoint, r.key): r.value for r in own}
    assert len(values) == len(own)
    assert values["best", "fid/a2b"] != values["latest", "fid/a2b"]
    assert len([r for r in records if r.key == "l1/a2b" and r.translator == "untranslated"]) == 1

    alone = evaluate_run(chosen_run, checkpoint="best", out=chosen_run / "alone")["records"]
    assert {r["checkpoint"] for r in alone} == {"best", None}
    best = {f"{r['metric']}/{r['direction']}": r["value"] for r in alone if r["checkpoint"]}
    assert best == {key: value for (which, key), value in values.items() if which == "best"}

    resamples = read_resamples(chosen_run / "resamples.npz")
    assert (resamples["best/run/fid/a2b"] != resamples["run/fid/a2b"]).all()
    for name in ("translated", "translated_best"):
        assert len(list_images(chosen_run / name / "a2b")) == 4
    evaluate_run(chosen_run, checkpoint="latest")
    assert not (chosen_run / "translated_best").exists()


def test_a_best_that_is_the_latest_is_one_row(chosen_run):
    (chosen_run / "checkpoints" / "best").write_text("images_000002000\n")
    assert checkpoints_to_score(chosen_run, "auto") == ["latest"]
    assert checkpoints_to_score(chosen_run, "both") == ["latest", "best"]
    (chosen_run / "checkpoints" / "best").unlink()
    assert checkpoints_to_score(chosen_run, "auto") == ["latest"]
    with pytest.raises(UserError, match="newest"):
        checkpoints_to_score(chosen_run, "newest")
    with pytest.raises(UserError, match="best"):
        evaluate_run(chosen_run, checkpoint="both")


# Metrics -----------------------------------------------------------------------------------------


def test_metrics_are_chosen_by_name(run, tmp_path):
    records = evaluate_run(run, metrics=["psnr", "kid_target"], out=tmp_path)["records"]
    kid = ["kid_target", "kid_source_target_mean"]
    assert [r["metric"] for r in records[:3]] == [*kid, "psnr"]
    assert {r["metric"] for r in records} == {*kid, "psnr"}
    with pytest.raises(UserError, match=r"no metric 'psrn'\. Did you mean 'psnr'\?"):
        evaluate_run(run, metrics=["psrn"])


def test_a_named_metric_says_what_it_lacks_and_one_that_was_not_is_left_out(faces):
    bare = SimpleNamespace(domain=faces.domain, truth=lambda side: None)
    named = Scorer(bare, Flatness(), size=32, reference="test", metrics=["l1"])
    (record,) = named.score_untranslated("a2b")
    assert record.unavailable == "it needs the true counterpart of each test image"
    auto = Scorer(bare, Flatness(), size=32, reference="test").score_untranslated("a2b")
    assert "l1" not in {r.metric for r in auto}


@pytest.fixture
def plugged_in(monkeypatch):
    """A metric that somebody else has registered, which tells what it was given."""
    seen = []
    monkeypatch.setattr(METRICS, "_classes", {**METRICS._classes})

    @METRICS.register("brightness")
    class Brightness:
        needs = frozenset({"labels", "back"})
        columns = {"brightness": Column("Brightness", "higher", 100, 1)}
        on_untranslated = False

        @dataclass(kw_only=True)
        class Config:
            pass

        def __init__(self, config):
            pass

        def __call__(self, data):
            seen.append(data)
            return {"brightness": Value.of_images(np.array([x.mean() for x in data.images]))}

    return seen


def test_a_metric_of_somebody_else_is_given_what_it_needs(run, tmp_path, plugged_in):
    METRICS.names()
    records = evaluate_run(run, metrics=["brightness"], out=tmp_path)["records"]
    assert [(r["translator"], r["value"] is None) for r in records] == [
        ("run", False), ("untranslated", True), ("run", False), ("untranslated", True),
    ]  # fmt: skip
    data = plugged_in[0]
    assert len(data.source_labels) == 4
    assert {"glasses"} <= set(data.source_labels[0])
    labelled = data.target_labelled
    assert len(labelled.images) == len(labelled.labels) == 8  # of training
    assert labelled.images[0].shape == (32, 32, 3)
    test = _recipe_data(num_test=4).domain("test", "b")
    assert not any((labelled.images[i] == test[j]).all() for i in range(8) for j in range(4))
    assert (data.direction, len(data.back), data.back[0].shape) == ("a2b", 4, (32, 32, 3))
    loaded = load_run(run)
    again = loaded.translate_batch(to_tensor(np.stack([data.images[1]])), "b2a")
    assert (data.back[1] == to_uint8(again)[0]).all()


# Trivial translators -----------------------------------------------------------------------------


@pytest.fixture
def few_translators(monkeypatch):
    names = ("untranslated", "histogram match", "best colour table")
    monkeypatch.setattr(runner, "TRIVIAL", {name: runner.TRIVIAL[name] for name in names})


@pytest.mark.usefixtures("few_translators")
def test_trivial_translators_are_scored_like_a_run_and_kept(run, tmp_path):
    recipe = run / "recipe.yaml"
    rows = trivial_rows(recipe, cache=tmp_path)
    l1 = {r.translator: r.value for r in rows if r.key == "l1/a2b"}
    assert list(l1) == ["untranslated", "histogram match", "best colour table"]
    assert {r.translator for r in rows if r.saw_pairs} == {"best colour table"}
    assert l1["best colour table"] < l1["untranslated"]
    evaluate_run(run)
    assert {r.test_images for r in rows} == {
        s.test_images for s in read_scores(run / "scores.json")
    }

    (kept,) = tmp_path.iterdir()
    content = json.loads(kept.read_text())
    content["records"][0]["value"] = 77.0
    kept.write_text(json.dumps(content))
    assert trivial_rows(recipe, num_images=4, cache=tmp_path)[0].value == 77.0
    anew = trivial_rows(recipe, cache=tmp_path, test_images=rows[0].test_images[::-1])
    assert anew == rows
    kept.write_text(kept.read_text()[:100])
    assert trivial_rows(recipe, cache=tmp_path) == rows
