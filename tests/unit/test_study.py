"""Studies: what the page holds and may know, what is refused, the commands."""

import json
import re

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from eval.study import make_study, read_key, score_study
from tests.unit.studies import fake_key, lines, write_csv, write_runs
from zoo.cli import app
from zoo.images import read_image, resize
from zoo.registry import UserError
from zoo.translation import load_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "study"
    make_study(runs, out, counted=4, practice=2)
    return out


def page_settings(out) -> dict:
    html = (out / "page" / "index.html").read_text()
    return json.loads(re.search(r'id="settings">(.*?)</script>', html, re.DOTALL)[1])


# The page ----------------------------------------------------------------------------------------


def test_every_trial_has_one_real_image_and_one_of_its_method(study):
    key, told = read_key(study / "key.json"), page_settings(study)
    assert set(told["methods"]) == set(key.methods)
    assert set(key.methods.values()) == {"bluebird", "kingfisher"}
    for method, trials in told["methods"].items():
        assert (len(trials["practice"]), len(trials["counted"])) == (2, 6)
        for trial in (*trials["practice"], *trials["counted"]):
            assert sorted(key.images[name] for name in trial["images"]) == sorted(["real", method])
        assert all(key.images[trial["real"]] == "real" for trial in trials["practice"])


def test_images_are_the_runs_translations_and_the_real_test_images(study, runs):
    key = read_key(study / "key.json")
    run = load_run(runs[0])
    data = run.dataset()

    def pixels(what: str) -> list[bytes]:
        names = [name for name, made_by in key.images.items() if made_by == what]
        images = [read_image(study / "page" / "images" / f"{name}.png") for name in names]
        return sorted(image.tobytes() for image in images)

    faces = [resize(data.domain("test", "b")[i], 32) for i in range(8)]
    assert pixels("real") == sorted([face.tobytes() for face in faces] * 2)  # one set a method
    method = next(key for key, name in key.methods.items() if name == "bluebird")
    sources = [resize(data.domain("test", "a")[i], 32) for i in range(8)]
    expected = [run.translate(source, "a2b").astype(int) for source in sources]
    made = pixels(method)
    assert len(made) == 8
    for image in made:  # batches may round a level otherwise
        array = np.frombuffer(image, np.uint8).reshape(32, 32, 3).astype(int)
        assert min(np.abs(array - other).max() for other in expected) <= 1


def test_neither_names_nor_answers_are_in_what_is_handed_out(study):
    page, key = study / "page", read_key(study / "key.json")
    texts = [(page / "index.html").read_text(), *(path.name for path in page.rglob("*"))]
    for name in key.methods.values():
        assert not [text for text in texts if name in text]
    told = page_settings(study)
    counted = [trial for trials in told["methods"].values() for trial in trials["counted"]]
    assert all(set(trial) == {"images"} for trial in counted)
    assert sorted(path.name for path in page.iterdir()) == ["images", "index.html"]


def test_no_image_is_in_the_lists_of_two_methods(study):
    first, second = (
        {name for part in trials.values() for trial in part for name in trial["images"]}
        for trials in page_settings(study)["methods"].values()
    )
    assert not first & second


def test_the_place_in_a_pair_says_nothing(runs, tmp_path):
    """Over many pairs the real image is as often the first as the second."""
    real_first = pairs = 0
    for seed in range(5):
        make_study(runs, tmp_path / str(seed), counted=6, practice=2, seed=seed)
        key = read_key(tmp_path / str(seed) / "key.json")
        for trials in page_settings(tmp_path / str(seed))["methods"].values():
            for trial in (*trials["practice"], *trials["counted"]):
                pairs += 1
                real_first += key.images[trial["images"][0]] == "real"
    assert stats.binomtest(real_first, pairs).pvalue > 0.001


def test_the_seed_decides_pairs(runs, tmp_path):
    def order(out, seed) -> list:
        make_study(runs[:1], out, counted=4, practice=2, seed=seed)
        (trials,) = page_settings(out)["methods"].values()
        pairs = [trial["images"] for part in trials.values() for trial in part]
        images = out / "page" / "images"
        return [[read_image(images / f"{name}.png").tobytes() for name in pair] for pair in pairs]

    assert order(tmp_path / "a", 3) == order(tmp_path / "b", 3) != order(tmp_path / "c", 4)


def test_the_best_of_several_shows_every_method_beside_its_source(runs, tmp_path):
    make_study(runs, tmp_path / "s", mode="best", counted=8, direction="b2a")
    key, told = read_key(tmp_path / "s" / "key.json"), page_settings(tmp_path / "s")
    (trials,) = told["methods"].values()
    assert len(trials["counted"]) == 8
    assert key.practice == 0
    for trial in trials["counted"]:
        assert key.images[trial["source"]] == "source"
        assert {key.images[name] for name in trial["images"]} == set(key.methods)
    assert not [name for name in key.methods if name in json.dumps(told)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"counted": 7, "practice": 2},
            "bluebird has 8 test images to translate; a session needs 9",
        ),
        ({"counted": 4, "practice": 2, "direction": "x"}, "direction is 'x'"),
        ({"mode": "worst"}, "mode is 'worst'"),
        ({"counted": 0}, "trials is 0; it must be at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(runs, tmp_path, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make_study(runs, tmp_path / "s", **options)
    assert not list(tmp_path.iterdir())


def test_runs_that_do_not_fit_are_refused(runs, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match="here exists"):
        make_study(runs, tmp_path / "here")
    with pytest.raises(UserError, match="at least one run"):
        make_study([], tmp_path / "s")
    with pytest.raises(UserError, match="at least two runs"):
        make_study(runs[:1], tmp_path / "s", mode="best", counted=4)
    text = (runs[1] / "recipe.yaml").read_text()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("checkpoints", "metrics.jsonl"):
        (other / name).symlink_to(runs[1] / name)
    assert "num_test: 8" in text
    (other / "recipe.yaml").write_text(text.replace("num_test: 8", "num_test: 9"))
    with pytest.raises(UserError, match="have other test images"):
        make_study([runs[0], other], tmp_path / "s", counted=4, practice=2)
    assert not (tmp_path / "s").exists()


# Command line ------------------------------------------------------------------------------------


def test_commands(runs, tmp_path):
    out = tmp_path / "study"
    words = [
        "study",
        "make",
        *map(str, runs),
        "--out",
        str(out),
        "--trials",
        "3",
        "--practice",
        "1",
    ]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    key = read_key(out / "key.json")
    for method, name in key.methods.items():
        assert f"only {name}: index.html?method={method}" in made.output

    fake = fake_key(counted=3)
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps({"format": 1, **vars(fake)}))
    good = write_csv(tmp_path / "a.csv", lines(fake, "ann", lambda i: "m0" if i else "real"))
    bad = write_csv(tmp_path / "b.csv", lines(fake, "bob", lambda i: "m0")[:-1])
    result = tmp_path / "scores.json"
    words = ["study", "score", str(good), str(bad), "--key", str(key_file), "--out", str(result)]
    scored = CliRunner().invoke(app, words)
    assert scored.exit_code == 0, scored.output
    assert "66.7" in scored.output
    assert "chance" in scored.output
    assert "left out: bob" in scored.output
    assert "2 of 3 trials" in scored.output
    written = json.loads(result.read_text())
    assert written["methods"][0]["rate"]["percent"] == pytest.approx(200 / 3)
    assert written["excluded"][0]["participant"] == "bob"
    assert written["resamples"] == 10_000

    good.write_text("nonsense")
    broken = CliRunner().invoke(app, words)
    assert broken.exit_code == 2
    assert "a.csv:1" in broken.output


def test_scoring_needs_files(tmp_path):
    with pytest.raises(UserError, match="give the CSV files"):
        score_study([], tmp_path / "key.json")
