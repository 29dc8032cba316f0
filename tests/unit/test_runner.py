"""Scores of runs: what they are made of, and translators whose scores are known."""

import json
import random
import shutil
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eval import runner
from eval.features.base import FeatureExtractor
from eval.features.images import as_uint8
from eval.runner import evaluate_run, output_names, trivial_rows
from eval.scorer import Scorer
from eval.scores import Score, read_scores
from eval.training import make_evaluator
from tests.unit.run_folders import write_checkpoint, write_recipe
from zoo.images import list_images, read_image, to_tensor
from zoo.protocols import DataSet
from zoo.recipe import load_recipe
from zoo.registry import UserError
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
    assert {s.metric for s in scores} == {"fid", "kid_target", "kid_source_target_mean"}
    assert scores[0].value > 0


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
    content = evaluate_run(run, extractor="offline", seed=3)

    stored = json.loads((run / "scores.json").read_text(), parse_constant=pytest.fail)
    assert stored == content
    records = stored["records"]
    metrics = ("fid", "kid_target", "kid_source_target_mean", "l1", "lpips", "ssim")
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


# During training ---------------------------------------------------------------------------------


def _random_state() -> list:
    numpy = np.random.get_state()  # noqa: NPY002
    return [random.getstate(), torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2]]


def _noisy(x, direction):
    return (x + 0.1 * torch.randn_like(x) + np.random.rand() + random.random()).clamp(-1, 1)  # noqa: NPY002


def test_an_evaluation_leaves_random_numbers_alone_and_repeats_its_own(run):
    evaluate = make_evaluator(load_recipe(run / "recipe.yaml", ["evaluate.num_images=2"]))
    before = _random_state()
    first = evaluate(_noisy, 0)
    assert _random_state() == before
    random.random(), torch.rand(1)
    assert evaluate(_noisy, 1000) == first


def test_an_evaluation_gives_every_metric_and_the_mean_by_which_the_best_is_chosen(run):
    evaluate = make_evaluator(load_recipe(run / "recipe.yaml"))
    scores = evaluate(lambda x, direction: x, 0)
    metrics = ("fid", "kid_target", "kid_source_target_mean", "l1", "ssim")
    names = {f"{metric}/{direction}" for metric in metrics for direction in ("a2b", "b2a")}
    assert set(scores) == names | {"kid_target/mean"}
    mean = (scores["kid_target/a2b"] + scores["kid_target/b2a"]) / 2
    assert scores[evaluate.best_metric] == pytest.approx(mean)
    evaluate_run(run)
    stored = {
        s.key: s.value for s in read_scores(run / "scores.json") if s.translator == "untranslated"
    }
    assert scores["kid_target/a2b"] == pytest.approx(stored["kid_target/a2b"])
    assert scores["l1/b2a"] == pytest.approx(stored["l1/b2a"])


def test_a_translation_that_is_not_a_number_is_left_out(run):
    evaluate = make_evaluator(load_recipe(run / "recipe.yaml"))
    scores = evaluate(lambda x, d: x * float("nan") if d == "a2b" else x, 0)
    assert {name.split("/")[1] for name in scores} == {"b2a"}


def test_real_images_are_read_once(run):
    recipe = load_recipe(run / "recipe.yaml")
    evaluate = make_evaluator(recipe)
    evaluate(lambda x, direction: x, 0)
    calls = []
    evaluate.extractor = evaluate._scorer.extractor = _Counting(evaluate.extractor, calls)
    evaluate(lambda x, direction: x, 0)
    assert calls == [4, 4]  # the translations of both directions, nothing else


class _Counting:
    def __init__(self, extractor, calls):
        self.extractor, self.calls = extractor, calls

    def __getattr__(self, name):
        return getattr(self.extractor, name)

    def __call__(self, images):
        self.calls.append(len(images))
        return self.extractor(images)


def test_no_evaluation_where_the_recipe_asks_for_none(run):
    assert make_evaluator(load_recipe(run / "recipe.yaml", ["evaluate.every_images=0"])) is None


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
