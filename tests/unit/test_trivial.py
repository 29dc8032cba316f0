"""The trivial translators do what their names say, and none makes the drawn faces too easy."""

import numpy as np
import pytest

from eval.trivial import TRIVIAL, BlurPosterise, ColorTable, PairedRegression
from zoo.data.toonfaces import ToonFaces

UNPAIRED = [name for name, make in TRIVIAL.items() if not make().paired]


def stack(domain) -> np.ndarray:
    return np.stack([domain[i] for i in range(len(domain))])


@pytest.fixture(scope="module")
def faces():
    """Unpaired training images, paired ones, and test photos with their truth, at 64 px."""
    sizes = {"size": 64, "load_size": 64, "num_train": 80, "num_test": 50}
    unpaired = ToonFaces(ToonFaces.Config(**sizes))
    paired = ToonFaces(ToonFaces.Config(**sizes, paired=True))
    return {
        "a": stack(unpaired.domain("train", "a")),
        "b": stack(unpaired.domain("train", "b")),
        "b of a": stack(paired.domain("train", "b")),
        "test": stack(unpaired.domain("test", "a")),
        "truth": stack(unpaired.truth("a")),
    }


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean() / 255)


@pytest.mark.parametrize("name", UNPAIRED)
def test_drawn_faces_are_not_too_easy(name, faces):
    translator = TRIVIAL[name]().fit(faces["a"], faces["b"])
    translated = np.stack([translator(image) for image in faces["test"]])
    assert translated.dtype == np.uint8
    untranslated = distance(faces["test"], faces["truth"])
    assert distance(translated, faces["truth"]) >= 0.9 * untranslated


def test_the_truth_can_be_inferred_from_the_photo(faces):
    """A short paired training comes closer than any unpaired row, and than a table of colours."""
    untranslated = distance(faces["test"], faces["truth"])
    table = ColorTable().fit(faces["a"], faces["b of a"])
    by_color = distance(np.stack([table(x) for x in faces["test"]]), faces["truth"])
    network = PairedRegression(steps=50, width=16).fit(faces["a"], faces["b of a"])
    by_network = distance(np.stack([network(x) for x in faces["test"]]), faces["truth"])
    assert by_color < 0.95 * untranslated
    assert by_network < by_color


def test_paired_regression_is_deterministic_and_leaves_the_random_state(faces):
    import torch

    state = torch.random.get_rng_state()
    runs = [PairedRegression(steps=3, width=8).fit(faces["a"], faces["b of a"]) for _ in range(2)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert np.array_equal(runs[0](faces["test"][0]), runs[1](faces["test"][0]))


def test_histogram_match_gives_the_target_histogram():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 100, (20, 32, 32, 3), dtype=np.uint8)
    b = rng.integers(150, 256, (20, 32, 32, 3), dtype=np.uint8)
    for name in ("histogram match", "histogram match, per image"):
        translator = TRIVIAL[name]().fit(a, b)
        matched = np.stack([translator(image) for image in a])
        for share in (10, 50, 90):
            assert abs(np.percentile(matched, share) - np.percentile(b, share)) < 4
    same = TRIVIAL["histogram match"]().fit(b, b)
    assert np.abs(same(b[0]).astype(int) - b[0]).max() <= 1


def test_reinhard_moves_mean_and_contrast():
    rng = np.random.default_rng(1)
    dark = rng.integers(20, 60, (4, 32, 32, 3), dtype=np.uint8)
    bright = rng.integers(120, 240, (4, 32, 32, 3), dtype=np.uint8)
    result = TRIVIAL["reinhard"]().fit(dark, bright)(dark[0])
    assert abs(result.mean() - bright.mean()) < 8
    back = TRIVIAL["reinhard"]().fit(dark, dark[:1])(dark[0])
    assert np.abs(back.astype(int) - dark[0]).max() <= 1


def test_posterised_image_has_few_colors():
    image = np.random.default_rng(2).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    result = BlurPosterise(colors=5).fit(image[None], image[None])(image)
    assert len(np.unique(result.reshape(-1, 3), axis=0)) <= 5


def test_color_table_finds_a_function_of_the_color():
    rng = np.random.default_rng(3)
    a = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)

    def swap(images):
        return 255 - images[..., ::-1]

    table = ColorTable().fit(a, swap(a))
    assert np.abs(table(a[0]).astype(int) - swap(a[0])).mean() < 8  # cells are 16 levels wide
    unseen = ColorTable().fit(a // 2, swap(a // 2))(np.full((4, 4, 3), 255, np.uint8))
    assert np.isfinite(unseen).all()


def test_untranslated_is_the_image():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(TRIVIAL["untranslated"]().fit(image[None], image[None])(image), image)
