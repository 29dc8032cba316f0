"""Tasks: scores against brute force and scikit-learn, adapters, trainings that repeat."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as oracle

from eval.tasks.data import (
    TASK_DATA,
    TASK_MODELS,
    Sample,
    from_arrays,
    joined,
    resize_mask,
    split,
)
from eval.tasks.masks import KNOWN
from eval.tasks.models import name_in_fcn8s
from eval.tasks.scores import (
    calibration_error,
    class_accuracies,
    class_ious,
    classification_scores,
    confusion,
    segmentation_scores,
)
from eval.tasks.train import (
    TaskTraining,
    changed_sample,
    image_confusions,
    predict,
    probabilities,
    train_task,
)
from zoo.images import UnreadableImage
from zoo.registry import Part, UserError
from zoo.typed import Checker, to_node


def data_of(name, **config):
    checker = Checker()
    part = checker.part(TASK_DATA, to_node({"name": name, **config}, "test"), "source")
    assert not checker.problems, checker.problems
    return part.build().load()


def model_of(name, **config):
    return Part(TASK_MODELS, name, TASK_MODELS[name].Config(**config))


def write(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(palette)
    image.save(path)


# Scores


label_maps = st.integers(0, 10**6).map(
    lambda seed: np.random.default_rng(seed).choice([0, 1, 2, 3, 255], (2, 5, 6))
)


@given(label_maps, st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_confusion_and_scores_are_those_of_counting_pixel_by_pixel(labels, seed):
    found = np.random.default_rng(seed).integers(0, 4, labels.shape)
    counted = np.zeros((4, 4), int)
    for true, said in zip(labels.ravel(), found.ravel(), strict=True):
        if true != 255:
            counted[true, said] += 1
    matrix = confusion(labels, found, 4)
    assert (matrix == counted).all()

    keep = labels != 255
    true, said = labels[keep], found[keep]
    scores = segmentation_scores(matrix)
    accuracies = [(said[true == c] == c).mean() for c in np.unique(true)]
    ious = [
        ((true == c) & (said == c)).sum() / ((true == c) | (said == c)).sum()
        for c in range(4)
        if ((true == c) | (said == c)).any()
    ]
    assert scores["pixel_accuracy"] == pytest.approx((true == said).mean())
    assert scores["class_accuracy"] == pytest.approx(np.mean(accuracies))
    assert scores["mean_iou"] == pytest.approx(np.mean(ious))


def test_scores_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300)
    probabilities = rng.dirichlet(np.ones(5), 300)
    probabilities[np.arange(300), labels] += rng.random(300)
    probabilities /= probabilities.sum(1, keepdims=True)
    said = probabilities.argmax(1)
    scores = classification_scores(labels, probabilities)
    assert scores["accuracy"] == pytest.approx(oracle.accuracy_score(labels, said))
    balanced = oracle.balanced_accuracy_score(labels, said)
    assert scores["balanced_accuracy"] == pytest.approx(balanced)
    matrix = confusion(labels, said, 5)
    assert (matrix == oracle.confusion_matrix(labels, said)).all()
    jaccard = oracle.jaccard_score(labels, said, average=None)
    assert class_ious(matrix) == pytest.approx(jaccard)


def test_scores_of_matrices_add_up_and_stack():
    rng = np.random.default_rng(1)
    labels, said = rng.integers(0, 3, (2, 4, 8, 8))
    stack = np.stack([confusion(a, b, 3) for a, b in zip(labels, said, strict=True)])
    assert (stack.sum(0) == confusion(labels, said, 3)).all()
    each = segmentation_scores(stack)["mean_iou"]
    assert each == pytest.approx([segmentation_scores(m)["mean_iou"] for m in stack])


def test_classes_without_pixels_are_left_out_but_wrong_guesses_of_them_count():
    matrix = confusion(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), 4)
    assert class_accuracies(matrix)[:2].tolist() == [0.5, 1.0]
    assert np.isnan(class_accuracies(matrix)[2:]).all()
    assert class_ious(matrix)[:3].tolist() == [0.5, 1.0, 0.0]
    assert np.isnan(class_ious(matrix)[3])
    assert segmentation_scores(matrix)["mean_iou"] == pytest.approx(0.5)
    assert np.isnan(segmentation_scores(np.zeros((3, 3)))["mean_iou"])


@pytest.mark.parametrize(("labels", "said"), [([0, 9], [0, 0]), ([0, 1], [0, 7]), ([0], [0, 1])])
def test_numbers_that_are_no_class_are_refused(labels, said):
    with pytest.raises(ValueError, match=r"classes are 0 to 2|labels are"):
        confusion(np.array(labels), np.array(said), 3)


def test_calibration_of_closed_forms():
    labels = np.array([0] * 8 + [1] * 2)
    sure = np.tile([0.8, 0.2], (10, 1))  # right in 8 of 10
    assert calibration_error(labels, sure) == pytest.approx(0)
    assert calibration_error(labels, np.tile([1.0, 0.0], (10, 1))) == pytest.approx(0.2)
    assert calibration_error(1 - labels, sure) == pytest.approx(0.6)


# Adapters


def test_class_folders(tmp_path):
    for i, name in enumerate(("cat", "dog")):
        for k in range(3):
            write(tmp_path / name / f"{k}.png", np.full((6, 8, 3), 50 * i + k, np.uint8))
    data = data_of("class_folders", root=str(tmp_path))
    assert data.classes == ("cat", "dog")
    assert data.ids == ("cat/0", "cat/1", "cat/2", "dog/0", "dog/1", "dog/2")
    assert data.labels().tolist() == [0, 0, 0, 1, 1, 1]
    sample = data[4]
    assert (sample.target, sample.id, sample.image[0, 0, 0]) == (1, "dog/1", 51)
    assert data_of("class_folders", root=str(tmp_path), size=16)[0].image.shape == (16, 16, 3)
    halves = [
        data_of("class_folders", root=str(tmp_path), part=part) for part in ([0, 0.5], [0.5, 1])
    ]
    assert set(halves[0].ids) | set(halves[1].ids) == set(data.ids)
    assert not set(halves[0].ids) & set(halves[1].ids)


def test_csv(tmp_path):
    write(tmp_path / "images/a.png", np.zeros((4, 4, 3), np.uint8))
    write(tmp_path / "images/b.png", np.ones((4, 4, 3), np.uint8))
    table = tmp_path / "faces.csv"

    def rows(*lines):
        with table.open("w", newline="") as stream:
            csv.writer(stream).writerows([("file", "hair"), *lines])

    def load():
        return data_of("csv", file=str(table), path_column="file", label_column="hair")

    rows(("images/b.png", "red"), ("images/a.png", "black"))
    data = load()
    assert data.classes == ("black", "red")
    assert [(s.id, s.target) for s in data] == [("images/b", 1), ("images/a", 0)]
    rows(("images/c.png", "red"))
    with pytest.raises(UserError, match=r"faces\.csv:2: .*c\.png is not a file"):
        load()
    rows(("../x.png", "red"))
    with pytest.raises(UserError, match="outside"):
        load()
    with pytest.raises(UserError, match=r"no column 'hare'\. Did you mean 'hair'"):
        data_of("csv", file=str(table), path_column="file", label_column="hare")


def test_masks_by_number_palette_colour_and_cityscapes_id(tmp_path):
    classes = np.array([[0, 1], [18, 255]], np.uint8)
    known = KNOWN["cityscapes"]
    write(tmp_path / "images/city/x_photo.png", np.zeros((2, 2, 3), np.uint8))
    colors = np.array([[*known.colors[0]], [*known.colors[1]], [*known.colors[18]], [1, 2, 3]])
    ids = np.array([[7, 8], [33, 4]], np.uint8)
    write(tmp_path / "index/city/x_label.png", classes)
    write(tmp_path / "palette/city/x_label.png", classes, palette=list(range(256)) * 3)
    write(tmp_path / "colors/city/x_label.png", colors.reshape(2, 2, 3).astype(np.uint8))
    write(tmp_path / "ids/city/x_label.png", ids)
    common = {
        "images": str(tmp_path / "images"),
        "image_suffix": "_photo",
        "mask_suffix": "_label",
        "classes": "cityscapes",
    }
    for folder, encoding in (
        ("index", "index"),
        ("palette", "index"),
        ("colors", "colors"),
        ("ids", "cityscapes_ids"),
    ):
        unknown = "ignore" if folder == "colors" else "refuse"
        masks = str(tmp_path / folder)
        data = data_of("masks", masks=masks, encoding=encoding, unknown=unknown, **common)
        assert data.ids == ("city/x",)
        assert (data[0].target == classes).all(), folder
    with pytest.raises(UserError, match=r"colour \[1, 2, 3\]"):
        data_of("masks", masks=str(tmp_path / "colors"), encoding="colors", **common)[0]
    few = {**common, "classes": ["a", "b"]}
    with pytest.raises(UserError, match="number 18, which is no class"):
        data_of("masks", masks=str(tmp_path / "index"), **few)[0]
    with pytest.raises(UserError, match=r"1 of 1 images .* have no mask .* first city/x"):
        data_of("masks", masks=str(tmp_path / "images"), **common)


def test_a_colour_photo_is_no_mask_of_numbers(tmp_path):
    write(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    data = data_of("masks", images=str(tmp_path), masks=str(tmp_path), classes=["a", "b"])
    with pytest.raises(UnreadableImage, match="mode RGB"):
        data[0]


def test_masks_are_resized_to_nearest_and_invent_no_class():
    mask = np.zeros((9, 9), np.uint8)
    mask[4:, 4:] = 200
    small = resize_mask(mask, (3, 5))
    assert small.shape == (3, 5)
    assert set(np.unique(small)) <= {0, 200}


def test_classes_are_matched_by_name_and_a_foreign_one_is_refused():
    images = [np.zeros((4, 4, 3), np.uint8)] * 2
    data = from_arrays(images, [0, 1], ["dog", "cat"])
    assert data.renumbered(["cat", "dog", "bird"], "test").labels().tolist() == [1, 0]
    with pytest.raises(UserError, match="target_test has a class 'dog'"):
        data.renumbered(["cat", "dot"], "target_test")


def test_a_split_has_every_class_on_both_sides_and_every_image_once():
    data = from_arrays([None] * 30, [0] * 20 + [1] * 8 + [2] * 2, ["a", "b", "c"])
    first, second = split(data, 0.25, seed=3)
    assert sorted(first + second) == list(range(30))
    labels = data.labels()
    assert np.bincount(labels[second]).tolist() == [5, 2, 1]
    assert (first, second) == split(data, 0.25, seed=3)
    assert second != split(data, 0.25, seed=4)[1]


def test_joined_data_keep_their_labels():
    a = from_arrays([np.zeros((2, 2, 3), np.uint8)] * 2, [0, 1], ["x", "y"])
    both = joined(a, a.changed(lambda image: image + 9), "second/")
    assert both.labels().tolist() == [0, 1, 0, 1]
    assert [image[0, 0, 0] for image, _, _ in both] == [0, 0, 9, 9]
    assert len(set(both.ids)) == 4


# Training


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_image_and_mask_are_changed_alike(seed):
    """The mask is drawn in the image, so that whatever happens must happen to both."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 200, (12, 14)).astype(np.uint8)
    image = np.repeat(mask[:, :, None], 3, 2)
    training = TaskTraining(crop=8, shift=3, flip=0.5)
    changed = changed_sample(Sample(image, mask, "x"), rng, training)
    assert changed.target.shape == (8, 8)
    assert (changed.image == changed.target[:, :, None]).all()


def coloured_squares(count, seed, shuffled=False):
    """Class 0 is dark left, class 1 dark right; shuffled, half of each has the other's label.

    A permutation at random would leave a slight majority, which two classes without noise are
    learnt from: all right, or all wrong.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(100, 256, (count, 8, 8, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4] //= 4
    if shuffled:
        for members in [np.flatnonzero(labels == label) for label in (0, 1)]:
            labels[members] = np.arange(len(members)) % 2
    return from_arrays(images, labels, ["left", "right"])


def test_a_training_repeats_to_the_bit_and_another_seed_does_not():
    data, model = coloured_squares(24, 0), model_of("small_cnn", width=8)
    training = TaskTraining(steps=4, batch=6, shift=1, flip=0.0)

    def weights(seed):
        torch.rand(seed + 1)  # what happened before must not matter
        trained = train_task(model, data, validation=None, seed=seed, training=training, cpu=True)
        return torch.cat([p.detach().flatten() for p in trained.network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_a_classifier_learns_and_shuffled_labels_are_at_chance():
    training = TaskTraining(steps=40, batch=16, lr=3e-3)
    test = coloured_squares(80, 9)
    scores = {}
    for shuffled in (False, True):
        trained = train_task(
            model_of("small_cnn", width=8),
            coloured_squares(64, 1, shuffled),
            validation=None,
            seed=0,
            training=training,
            cpu=True,
        )
        found = probabilities(trained.network, test)
        assert found.sum(1) == pytest.approx(1, abs=1e-5)
        scores[shuffled] = classification_scores(test.labels(), found)["accuracy"]
    assert scores[False] > 0.95
    assert abs(scores[True] - 0.5) < 0.25


def test_the_kept_state_is_the_best_on_validation():
    training = TaskTraining(steps=12, batch=8, lr=3e-3, validate_every=3)
    trained = train_task(
        model_of("small_cnn", width=8),
        coloured_squares(32, 1),
        validation=(held := coloured_squares(20, 2)),
        seed=0,
        training=training,
        cpu=True,
    )
    assert [step for step, _ in trained.history] == [3, 6, 9, 12]
    assert (trained.step, trained.score) == max(
        trained.history, key=lambda look: (look[1], -look[0])
    )
    again = classification_scores(held.labels(), probabilities(trained.network, held))
    assert again["balanced_accuracy"] == trained.score


def test_a_segmenter_learns_masks_and_does_not_count_what_is_ignored():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (24, 4, 4)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    images = np.where(masks[..., None] == 1, 200, 40) + rng.integers(0, 40, (*masks.shape, 3))
    masks[:, :2] = 255
    data = from_arrays(list(images.astype(np.uint8)), list(masks), ["a", "b"])
    trained = train_task(
        model_of("unet", width=8, depth=2),
        data.subset(range(16)),
        validation=None,
        seed=0,
        training=TaskTraining(steps=25, batch=8, lr=3e-3, flip=0.5),
        cpu=True,
    )
    matrices = image_confusions(trained.network, data.subset(range(16, 24)))
    assert matrices.sum((1, 2)).tolist() == [14 * 16] * 8
    assert segmentation_scores(matrices.sum(0))["mean_iou"] > 0.9


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("small_cnn", {"width": 8}),
        ("timm", {"backbone": "resnet18"}),
        ("unet", {"width": 8, "depth": 3}),
        ("torchvision", {"architecture": "lraspp_mobilenet_v3_large"}),
    ],
)
def test_models_give_logits_of_every_image_or_pixel_at_odd_sizes(name, config):
    model = model_of(name, **config)
    with torch.random.fork_rng():
        network = model.build(5).eval()
    with torch.no_grad():
        logits = network(torch.zeros(2, 3, 37, 50))
    wanted = (2, 5) if model.owner.task == "classification" else (2, 5, 37, 50)
    assert logits.shape == wanted


def test_predictions_do_not_depend_on_their_company():
    with torch.random.fork_rng():
        network = model_of("unet", width=8, depth=1).build(3)
    rng = np.random.default_rng(0)
    sizes = [(8, 8), (8, 8), (9, 12), (8, 8)]
    images = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    data = from_arrays(images, [np.zeros(size, np.uint8) for size in sizes], ["a", "b", "c"])
    together = list(predict(network, data))
    assert [found.shape for found in together] == sizes
    for i, found in enumerate(together):
        assert (found == next(predict(network, data.subset([i])))).all()


def test_weights_of_a_file_are_taken_but_for_the_last_layer(tmp_path):
    with torch.random.fork_rng():
        first = model_of("timm").build(10)
        torch.save(first.network.state_dict(), tmp_path / "weights.pth")
        second = model_of("timm", weights=str(tmp_path / "weights.pth")).build(3)
        torch.save(model_of("small_cnn").build(3).state_dict(), tmp_path / "other.pth")
        with pytest.raises(UserError, match=r"holds 0 of the \d+ weights"):
            model_of("timm", weights=str(tmp_path / "other.pth")).build(3)
    assert torch.equal(first.network.conv1.weight, second.network.conv1.weight)
    with pytest.raises(UserError, match="Did you mean 'resnet18'"):
        model_of("timm", backbone="resnet_18").build(3)


def test_every_weight_of_vgg16_has_its_place_in_fcn8s(monkeypatch, tmp_path):
    from torchvision.models import vgg16

    with torch.device("meta"):  # 134 million weights, of which only names and shapes matter
        published = vgg16(weights=None).state_dict()
        network = model_of("fcn8s", pretrained=False).build(19)
    own = network.state_dict()
    renamed = {name_in_fcn8s(name): weight.numel() for name, weight in published.items()}
    del renamed[None]
    assert renamed == {n: v.numel() for n, v in own.items() if not n.startswith("scores.")}
    with torch.device("meta"):
        assert network(torch.zeros(1, 3, 70, 101)).shape == (1, 19, 70, 101)
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    with torch.device("meta"), pytest.raises(UserError, match=r"vgg16-397923af\.pth is missing"):
        model_of("fcn8s").build(19)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(UserError, match="'unet' is for segmentation"):
        train_task(
            model_of("unet"),
            coloured_squares(4, 0),
            validation=None,
            seed=0,
            training=TaskTraining(steps=1),
            cpu=True,
        )
