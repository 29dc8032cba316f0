"""Attributes kept: truths near the ceiling, shuffled labels at chance, the untellable refused."""

import numpy as np
import pytest
import torch

from eval.attribute_classifier import (
    Attribute,
    Classifier,
    attributes_of,
    balanced_accuracy,
    convincing,
)
from eval.checks import MetricError
from eval.metric import Evaluated
from eval.metrics.attributes import Attributes, attributes_kept, learn
from eval.scorer import LabelledImages
from eval.scores import Score
from zoo.data.toonfaces import ToonFaces
from zoo.registry import METRICS

COLOURS = {"red": (200, 60, 50), "green": (60, 170, 70), "blue": (50, 80, 200)}


def card(rng: np.random.Generator, label: dict) -> np.ndarray:
    """A disc of one colour on grey, with a bar across or not, at a height."""
    y, x = np.mgrid[:32, :32]
    image = np.full((32, 32, 3), 128.0) + rng.normal(0, 6, (32, 32, 3))
    disc = np.hypot(x - 16, y - 16 + 8 * label["height"]) < 9
    image[disc] = COLOURS[label["colour"]]
    if label["bar"]:
        image[26:29, 4:28] = 20
    return image.clip(0, 255).astype(np.uint8)


def cards(count: int, seed: int) -> tuple[list[np.ndarray], list[dict]]:
    rng = np.random.default_rng(seed)
    labels = [
        {
            "colour": str(rng.choice(list(COLOURS))),
            "bar": bool(rng.random() < 0.3),
            "height": float(rng.uniform(-0.5, 0.5)),
            "noise": float(rng.uniform()),  # nothing in the image
        }
        for _ in range(count)
    ]
    return [card(rng, label) for label in labels], labels


IMAGES, LABELS = cards(120, seed=0)
OTHERS, OTHER_LABELS = cards(80, seed=1)


@pytest.fixture(scope="module")
def learnt():
    return learn(IMAGES, LABELS, seed=0)


def evaluated(images, labels, labelled=(IMAGES, LABELS), **more) -> Evaluated:
    return Evaluated(
        direction="a2b", sources=images, images=images, reals=images, source_labels=labels,
        target_labelled=LabelledImages(*labelled), **more,
    )  # fmt: skip


def metric() -> Attributes:
    return Attributes(METRICS.default("attributes").config)


# The score ---------------------------------------------------------------------------------------


def test_truths_score_near_the_ceiling(learnt):
    kept = attributes_kept(learnt, OTHERS, OTHER_LABELS)
    assert set(kept.accuracy) == {"colour", "bar", "height"}
    assert kept.accuracy["colour"] == kept.accuracy["bar"] == 1
    assert kept.accuracy["height"] > 0.9
    assert kept.ceiling["height"] > 0.9


def test_shuffled_labels_score_at_chance(learnt):
    rng = np.random.default_rng(0)
    found = [
        attributes_kept(learnt, OTHERS, [OTHER_LABELS[i] for i in rng.permutation(80)])
        for _ in range(8)
    ]
    assert found[0].chance == {"colour": pytest.approx(1 / 3), "bar": 0.5, "height": 0.5}
    for name, chance in found[0].chance.items():
        assert np.mean([kept.accuracy[name] for kept in found]) == pytest.approx(chance, abs=0.07)


def test_one_output_for_all_scores_exactly_chance(learnt):
    kept = attributes_kept(learnt, OTHERS[:1] * 80, OTHER_LABELS)
    assert kept.accuracy == pytest.approx(kept.chance)


def test_falls_with_the_share_of_outputs_that_are_wrong(learnt):
    found = []
    for wrong in (0, 20, 40, 80):
        images = [OTHERS[(i + 1) % 80] if i < wrong else OTHERS[i] for i in range(80)]
        found.append(attributes_kept(learnt, images, OTHER_LABELS).per_image.mean())
    assert found == sorted(found, reverse=True)


def test_what_is_not_in_the_image_is_refused(learnt):
    assert "noise" not in {attribute.name for attribute in learnt.attributes}
    assert "on real images, chance 0.50" in learnt.refused["noise"]
    with pytest.raises(MetricError, match="no attribute is told on real images: noise"):
        learn(IMAGES, [{"noise": label["noise"]} for label in LABELS], seed=0)


def test_labels_that_say_nothing_about_images_are_refused():
    shuffled = [LABELS[i] for i in np.random.default_rng(0).permutation(len(LABELS))]
    with pytest.raises(MetricError, match="no attribute is told on real images: colour"):
        learn(IMAGES, shuffled, seed=0)


def test_the_metric_names_both_columns_and_its_details():
    found = metric()(evaluated(OTHERS, OTHER_LABELS, seed=0))
    assert set(found) == set(Attributes.columns)
    details = found["attributes"].fields["details"]
    assert found["attributes"].value > 0.9
    assert found["attributes"].value == pytest.approx(
        np.mean(list(details["by_attribute"].values()))
    )
    assert found["attributes"].per_image.mean() == pytest.approx(found["attributes"].value)
    assert found["attributes_ceiling"].value == details["ceiling"]
    assert details["chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert set(details["refused"]) == {"noise"}
    for value in found.values():
        Score(metric="x", direction="a2b", translator="run", value=0.0, **value.fields)


def test_trained_once_for_a_set_of_labelled_images(monkeypatch):
    times = []
    original = Classifier.__init__

    def counted(self, *args, **kwargs):
        times.append(1)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Classifier, "__init__", counted)
    ours = metric()
    for images in (OTHERS, OTHERS[::-1]):
        ours(evaluated(images, OTHER_LABELS))
    assert len(times) == 1
    ours(evaluated(OTHERS, OTHER_LABELS, labelled=(IMAGES[:60], LABELS[:60])))
    assert len(times) == 2


def test_same_numbers_every_time_and_global_random_numbers_left_alone():
    state, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    one, other = (metric()(evaluated(OTHERS, OTHER_LABELS))["attributes"] for _ in range(2))
    assert one.per_image.tolist() == other.per_image.tolist()
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert (torch.get_rng_state() == torchs).all()


def test_order_of_translations_changes_nothing(learnt):
    there = attributes_kept(learnt, OTHERS, OTHER_LABELS)
    back = attributes_kept(learnt, OTHERS[::-1], OTHER_LABELS[::-1])
    assert back.per_image == pytest.approx(there.per_image[::-1])


def test_reads_images_that_are_blurred_noisy_and_dark(learnt):
    rng = np.random.default_rng(0)
    worn = [(x * 0.9 + rng.normal(0, 8, x.shape)).clip(0, 255).astype(np.uint8) for x in OTHERS]
    kept = attributes_kept(learnt, worn, OTHER_LABELS)
    assert kept.accuracy["colour"] == 1
    assert kept.accuracy["bar"] > 0.95


def test_missing_and_unknown_labels_are_left_out(learnt):
    labels = [dict(label) for label in OTHER_LABELS]
    labels[0] = {}
    labels[1]["colour"] = "purple"
    kept = attributes_kept(learnt, OTHERS, labels)
    assert kept.accuracy["colour"] == 1
    assert kept.accuracy["bar"] == 1


def test_refuses(learnt):
    with pytest.raises(MetricError, match="39 labelled images of the target domain; 40 are needed"):
        learn(IMAGES[:39], LABELS[:39], seed=0)
    with pytest.raises(MetricError, match="80 translations of 79 labelled sources"):
        attributes_kept(learnt, OTHERS, OTHER_LABELS[1:])
    with pytest.raises(MetricError, match="the sources do not differ in it"):
        attributes_kept(learnt, OTHERS, OTHER_LABELS[:1] * 80)
    with pytest.raises(MetricError, match="no attribute can be scored"):
        attributes_kept(learnt, [], [])
    with pytest.raises(MetricError, match="no attribute can be learnt: there are none"):
        learn(IMAGES, [{}] * 120, seed=0)


# Labels and numbers ------------------------------------------------------------------------------


def test_kinds_of_labels():
    labels: list[dict] = [
        {"yes": i % 2 == 0, "word": "ab"[i % 2], "number": i / 7, "few": i % 3, "same": 1}
        for i in range(60)
    ]
    for i, label in enumerate(labels):
        label["id"] = f"n{i}"
    labels[0]["rare"] = "once"
    labels[1]["rare"] = "twice"
    labels[2]["number"] = float("nan")
    labels[3]["list"] = [1, 2]
    found, refused = attributes_of(labels)
    by_name = {attribute.name: attribute for attribute in found}
    assert by_name["yes"].classes == (False, True)
    assert by_name["word"].classes == ("a", "b")
    assert by_name["few"].classes == (0, 1, 2)
    median = float(np.median(np.delete(np.arange(60) / 7, 2)))
    assert by_name["number"] == Attribute("number", threshold=median)
    assert by_name["number"].title == "number > 4.29"
    assert by_name["number"].numbers(labels[:3]).tolist() == [0, 0, -1]
    assert refused["same"] == "all labelled images have the same value"
    assert refused["id"] == "it has 60 values; 20 can be learnt"
    assert refused["rare"] == "1 labelled image(s) of 'once'"
    assert refused["list"] == "its values are neither numbers nor words nor true or false"
    given = [{"number": 0}, {"number": 9.0}, {}, {"number": "x"}]
    assert by_name["number"].numbers(given).tolist() == [0, 1, -1, -1]


def test_balanced_accuracy_by_hand():
    found, wanted = np.array([0, 0, 0, 1, 1, 0]), np.array([0, 0, 0, 0, 1, -1])
    assert balanced_accuracy(found, wanted) == pytest.approx((3 / 4 + 1) / 2)
    assert convincing(0.75, 2)
    assert not convincing(0.74, 2)
    assert convincing(0.6, 6)
    assert not convincing(0.57, 6)


# Drawn faces -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces():
    data = ToonFaces(ToonFaces.Config(size=32, num_train=90, num_test=32))
    return {
        "labelled": (list(data.domain("train", "b")), data.training_attributes("b")),
        "photos": list(data.domain("test", "a")),
        "truths": list(data.truth("a")),
        "labels": data.attributes("a"),
    }


def test_drawn_faces(faces):
    """Truths near the ceiling, photos far below, other people's faces at chance."""
    ours = metric()
    scores = {}
    for name, images in (
        ("truths", faces["truths"]),
        ("photos", faces["photos"]),
        ("others", np.roll(faces["truths"], 1, axis=0)),
    ):
        found = ours(evaluated(list(images), faces["labels"], labelled=faces["labelled"]))
        scores[name] = found["attributes"].value
        details = found["attributes"].fields["details"]
    assert details["ceiling"] > 0.8
    assert {"hair", "skin"} <= {title.partition(" ")[0] for title in details["by_attribute"]}
    assert scores["truths"] == pytest.approx(details["ceiling"], abs=0.1)
    assert scores["photos"] < scores["truths"] - 0.15
    assert scores["others"] == pytest.approx(details["chance"], abs=0.1)
