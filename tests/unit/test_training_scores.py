"""Scores during training: what is computed, what the best is chosen by, what is refused."""

import random

import numpy as np
import pytest
import torch

from eval.runner import evaluate_run
from eval.scores import read_scores
from eval.training import make_evaluator
from tests.unit.run_folders import write_checkpoint, write_recipe
from zoo.recipe import load_recipe
from zoo.registry import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_recipe(folder, num_test=4)
    write_checkpoint(folder, images_seen=1234)
    return folder


def evaluator_of(run, *settings):
    return make_evaluator(load_recipe(run / "recipe.yaml", settings))


def same(x, direction):
    return x


def _random_state() -> list:
    numpy = np.random.get_state()  # noqa: NPY002
    return [random.getstate(), torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2]]


def _noisy(x, direction):
    return (x + 0.1 * torch.randn_like(x) + np.random.rand() + random.random()).clamp(-1, 1)  # noqa: NPY002


def test_an_evaluation_leaves_random_numbers_alone_and_repeats_its_own(run):
    evaluate = evaluator_of(run, "evaluate.num_images=2")
    before = _random_state()
    first = evaluate(_noisy, 0)
    assert _random_state() == before
    random.random(), torch.rand(1)
    assert evaluate(_noisy, 1000) == first


def test_an_evaluation_gives_every_metric_and_the_mean_by_which_the_best_is_chosen(run):
    evaluate = evaluator_of(run)
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
    evaluate = evaluator_of(run)
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
    assert evaluator_of(run, "evaluate.every_images=0") is None


def test_metrics_and_the_score_of_the_best_are_the_recipes(run):
    words = ["evaluate.metrics=[psnr, l1]", "evaluate.best=ssim"]
    evaluate = evaluator_of(run, *words)
    scores = evaluate(same, 0)
    names = {f"{m}/{d}" for m in ("psnr", "l1", "ssim") for d in ("a2b", "b2a")}
    assert set(scores) == names | {"ssim/mean"}
    assert evaluate.higher_is_better
    assert scores["ssim/mean"] == pytest.approx((scores["ssim/a2b"] + scores["ssim/b2a"]) / 2)
    one = evaluator_of(run, "evaluate.best=l1/b2a")
    assert (one.best_metric, one.higher_is_better) == ("l1/b2a", False)
    assert set(one(same, 0)) >= {"l1/b2a", "fid/a2b"}


def test_settings_of_metrics_are_the_recipes(run):
    settings = "evaluate.settings={kid: {subset_size: 3, num_subsets: 7}}"
    few = evaluator_of(run, settings)(same, 0)
    assert few["kid_target/a2b"] != evaluator_of(run)(same, 0)["kid_target/a2b"]
    evaluate_run(run, settings={"kid": {"subset_size": 3, "num_subsets": 7}})
    (record,) = {
        (s.subset_size, s.num_subsets)
        for s in read_scores(run / "scores.json")
        if s.metric == "kid_target"
    }
    assert record == (3, 7)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("metrics=[fidd]", r"no metric 'fidd'\. Did you mean 'fid'\?"),
        ("best=kid_targt", r"no score 'kid_targt'\. Did you mean 'kid_target'\?"),
        ("best=l1/a2c", r"translates a2b and b2a\. Did you mean"),
        ("best=lpips", r"'lpips' cannot be computed in this training: .*alexnet-owt-7be5be79\.pth"),
        ("metrics=[auto, lpips]", r"alexnet-owt-7be5be79\.pth"),
        ("settings={kid: {subsets: 3}}", r"subsets.*num_subsets"),
        ("settings={kidd: {}}", r"no metric 'kidd'"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_training(
    run, setting, message, tmp_path, monkeypatch
):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=message):
        evaluator_of(run, f"evaluate.{setting}")


def test_a_best_by_the_truth_is_refused_where_there_is_none(run, tmp_path):
    from zoo.data.toonfaces import ToonFaces
    from zoo.data.write import write_folders

    write_folders(ToonFaces(ToonFaces.Config(size=32, num_train=4, num_test=4)), 32, tmp_path / "f")
    folders = f"data={{name: unpaired, root: {tmp_path / 'f'}, size: 32}}"
    with pytest.raises(UserError, match="needs the true counterpart of each test image"):
        evaluator_of(run, folders, "evaluate.best=l1")
    scores = evaluator_of(run, folders)(same, 0)
    assert not [key for key in scores if key.startswith(("l1", "ssim"))]
    assert "kid_target/mean" in scores
