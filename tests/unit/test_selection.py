"""Which checkpoint is the best, and when training ends early, by real training."""

import json

import pytest

import zoo.checkpoint
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.selection import Best
from zoo.trainer import train


class Scores:
    """Gives one score after the other."""

    best_metric = "quality"

    def __init__(self, scores: dict[int, float], higher: bool = False):
        self.scores, self.seen, self.higher_is_better = scores, [], higher

    def __call__(self, translate, images_seen):
        self.seen.append(images_seen)
        return {"quality": self.scores[images_seen]}


SCORES = {4: 3.0, 8: 1.0, 12: 2.0, 16: 1.5, 20: 0.5, 24: 0.1}


def recipe_of(*settings):
    words = ["train.images=24", "evaluate.every_images=4", "samples.every_images=0"]
    return load_recipe("debug/cyclegan", [*words, "checkpoint.every_images=6", *settings])


def trained(out, evaluate, *settings, **options):
    return train(recipe_of(*settings), out, evaluate=evaluate, cpu=True, **options)


def names(run):
    found = (run / "checkpoints").glob("images_*")
    return {path.name.lstrip("images_0") for path in found}, [
        zoo.checkpoint.find(run, which).name.lstrip("images_0") for which in ("latest", "best")
    ]


def lines(run):
    return [json.loads(text)["images"] for text in (run / "metrics.jsonl").read_text().splitlines()]


def test_training_ends_after_so_many_images_without_a_better_score(tmp_path):
    evaluate = Scores(SCORES)
    run = trained(tmp_path / "run", evaluate, "evaluate.patience_images=8")
    assert evaluate.seen == [4, 8, 12, 16]
    assert names(run)[1] == ["16", "8"]
    assert max(lines(run)) == 16

    patient = Scores(SCORES)
    run = trained(tmp_path / "patient", patient, "evaluate.patience_images=12")
    assert patient.seen == list(SCORES)
    assert names(run)[1] == ["24", "24"]


def test_higher_scores_can_be_better(tmp_path):
    evaluate = Scores(SCORES, higher=True)
    run = trained(tmp_path / "run", evaluate, "evaluate.patience_images=12")
    assert evaluate.seen == [4, 8, 12, 16]
    assert names(run)[1] == ["16", "4"]


@pytest.mark.parametrize("cut", [6, 12, 14])
def test_a_resumed_run_ends_at_the_same_image(tmp_path, cut):
    """Cut between checkpoints and evaluations; the weights at the end are the same."""
    whole = trained(tmp_path / "whole", Scores(SCORES), "evaluate.patience_images=8")
    settings = ("evaluate.patience_images=8", f"train.images={cut}")
    run = trained(tmp_path / "run", Scores(SCORES), *settings)
    evaluate = Scores(SCORES)
    longer = load_recipe(run / "recipe.yaml", ["train.images=24"])
    train(longer, run, resume=True, evaluate=evaluate, cpu=True)
    assert evaluate.seen == [seen for seen in (4, 8, 12, 16) if seen > cut]
    assert names(run)[1] == names(whole)[1] == ["16", "8"]
    files = [zoo.checkpoint.find(folder) / "weights.safetensors" for folder in (run, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_that_has_ended_early_stays_ended(tmp_path, caplog):
    run = trained(tmp_path / "run", Scores(SCORES), "evaluate.patience_images=8")
    evaluate = Scores(SCORES)
    with caplog.at_level("INFO", logger="zoo.trainer"):
        train(load_recipe(run / "recipe.yaml"), run, resume=True, evaluate=evaluate, cpu=True)
    assert evaluate.seen == []
    assert names(run)[1][0] == "16"
    assert "ended early: at 16 images; the best score, 1, was taken at 8" in caplog.text


def test_states_of_before_there_was_patience_are_read():
    assert Best.of_state(0.5) == Best(0.5)
    assert Best.of_state(None) == Best()
    best = Best()
    assert not best.offer(float("nan"), 4, higher=False)
    assert not best.offer(None, 4, higher=False)
    best.wait(8, 8)
    assert best.over
    assert "none of them gave a score" in best.told(8)
    assert Best.of_state(best.state()) == best


def test_patience_without_evaluations_is_refused():
    with pytest.raises(UserError, match=r"patience_images is set, but .*every_images is 0"):
        load_recipe("debug/cyclegan", ["evaluate.patience_images=8", "evaluate.every_images=0"])
