"""The HTML report: complete, self-contained, escaped, and never stopped by a broken run."""

import base64
import io
import json
import re
import shutil
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from eval import runner
from eval._report.charts import HEIGHT, WIDTH, Line, chart, round_step, short
from eval._report.runs import read_run
from eval._report.tables import score_tables
from eval.report import unique_names, write_report
from eval.runner import evaluate_run
from eval.scores import write_scores
from tests.unit.run_folders import make_scores, write_recipe, write_run
from zoo.registry import UserError

BANNER = "Not comparable with published numbers"


@dataclass
class Page(HTMLParser):
    """What a browser would see: elements with attributes, text, tables as lists of rows."""

    html: str
    elements: list[tuple[str, dict]] = field(default_factory=list)
    text: str = ""
    tables: list[tuple[str, list[list[str]]]] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "table":
            self.tables.append((attributes.get("class", ""), []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.tables and self.tables[-1][1] and self.tables[-1][1][-1]:
            self.tables[-1][1][-1][-1] += data

    def score_tables(self) -> list[str]:
        return [
            " | ".join(" ".join(row) for row in rows)
            for kind, rows in self.tables
            if kind == "scores"
        ]


def report(runs, tmp_path, **options) -> Page:
    options = {"trivial": False, "num_images": 2} | options
    out = write_report([Path(run) for run in runs], tmp_path / "report.html", **options)
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "first", better=0.4)
    write_run(runs / "second", method="cyclegan", better=0.7, seed=1)
    return runs


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory) -> Page:
    return report([folder / "first", folder / "second"], tmp_path_factory.mktemp("out"))


@pytest.fixture
def run(folder, tmp_path) -> Path:
    """A run that a test may break."""
    return Path(shutil.copytree(folder / "first", tmp_path / "broken"))


# Content -----------------------------------------------------------------------------------------


def test_the_report_has_every_part(page):
    for text in ("first", "second", "zoo train demo --out", "num_blocks: 1", "commit 0123abc"):
        assert text in page.text
    for term in ("adversarial/a2b", "cycle/b", "identity/a", "cam/a2b", "discriminator/b"):
        assert page.text.count(term) == 2  # raw and weighted
    assert "× 1000" in page.text  # the weight of cam
    charts = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(charts) == 2 * 9 + 6 + 2  # terms, scores in training, learning rates
    facts = next(rows for kind, rows in page.tables if kind == "facts")
    assert [row[0].strip() for row in facts] == ["Run", "first", "second"]
    assert "20,000" in facts[1]
    assert "5.89 M" in facts[1]
    assert "2.1%" in facts[1]  # the median of waiting for data
    assert "Missing or broken" not in page.text


def test_grids_show_the_same_images_through_all_runs(page):
    grids = [rows for kind, rows in page.tables if kind.startswith("grid")]
    assert len(grids) == 2
    for rows in grids:
        assert [cell.strip() for cell in rows[0]] == [
            "source", "first", "first · CAM", "second", "truth",
        ]  # fmt: skip
        assert len(rows) == 3
    pictures = [a["alt"] for tag, a in page.elements if tag == "img" and "alt" in a]
    assert pictures[:5] == [
        f"00000.png, {name}" for name in ("source", "first", "first · CAM", "second", "truth")
    ]


def test_scores_are_named_and_the_best_stands_out(page):
    (table,) = page.score_tables()
    for text in (
        "FID ↓",
        "KID × 100 to target ↓",
        "KID × 100 source–target mean ↓",
        "SSIM to truth ↑",
    ):
        assert text in table
    assert "offline-v1" in page.text
    assert page.text.count(BANNER) == 2  # of the table and of the curves
    best = re.findall(r"<b>([\d.]+)</b>", page.html)
    assert best == ["35.24", "2.45", "2.96", "0.1759", "0.871"] * 2
    assert "0.40 ×" in table
    assert "± 0.31" in table
    assert "KID over 100 subsets of 100, seed 0" in page.text
    assert "No LPIPS to truth: its weights are missing" in page.text


def test_numbers_of_two_extractors_never_share_a_table(folder, run, tmp_path):
    write_scores(run / "scores.json", make_scores(extractor="inception-v3-tf", better=0.5))
    page = report([folder / "first", run], tmp_path)
    offline, inception = page.score_tables()
    assert "35.24" in offline
    assert "44.05" not in offline
    assert "44.05" in inception
    assert "35.24" not in inception
    chips = re.findall(r"features: ([\w.-]+)", page.text)
    assert chips[:2] == ["offline-v1", "inception-v3-tf"]
    scores = page.html[page.html.index('id="scores"') : page.html.index('id="pictures"')]
    assert scores.count(BANNER) == 1
    assert scores.index(BANNER) < scores.index("features: inception-v3-tf")


def test_curves_of_two_extractors_never_share_a_chart(folder, run, tmp_path):
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("extractor: offline", "extractor: inception"))
    page = report([folder / "first", run], tmp_path)
    curves = page.html[page.html.index('id="curves"') : page.html.index("Terms of the losses")]
    assert curves.count("<h4>A → B</h4>") == curves.count("<h4>B → A</h4>") == 2
    assert curves.count(BANNER) == 1
    assert curves.index(BANNER) < curves.index("features: inception-v3-tf")


def test_scores_on_other_images_never_share_a_table(folder, run, tmp_path):
    write_scores(run / "scores.json", make_scores(test_images="beef", better=0.5))
    assert len(report([folder / "first", run], tmp_path).score_tables()) == 2


def test_a_reference_that_saw_pairs_is_no_competitor(folder):
    runs = [read_run(folder / "first", "first")]
    rows = [s for s in make_scores(better=0.3) if s.translator == "run"]
    references = [replace(s, translator="colour table", saw_pairs=True) for s in rows]
    references += [replace(s, translator="blur", value=s.value and 0.9 * s.value) for s in rows]
    (table,) = score_tables(runs, references)
    kinds = {row.label: row.kind for row in table.rows}
    assert kinds == {
        "first": "run",
        "untranslated": "unpaired",
        "blur": "unpaired",
        "colour table": "paired",
    }
    best = {row.label: row.cells[0].best for row in table.rows}
    assert best == {"first": False, "untranslated": False, "blur": True, "colour table": False}


def test_trivial_translators_are_rows_of_a_report_with_a_truth(run, tmp_path, monkeypatch):
    names = ("untranslated", "histogram match", "best colour table")
    monkeypatch.setattr(runner, "TRIVIAL", {name: runner.TRIVIAL[name] for name in names})
    evaluate_run(run)
    page = report([run], tmp_path, trivial=True, cache=tmp_path / "kept")
    (table,) = page.score_tables()
    order = [table.index(name) for name in ("broken", "untranslated", "histogram match")]
    assert order == sorted(order)
    paired = table.index("References that saw pairs")
    assert order[-1] < paired < table.index("best colour table")
    assert "Missing or broken" not in page.text


def test_intervals_and_the_best_checkpoint_are_shown(run, tmp_path):
    scores = [replace(s, checkpoint="latest") for s in make_scores() if s.translator == "run"]
    kid = next(s for s in scores if s.key == "kid_target/a2b")
    kid = replace(
        kid, low=0.0213, high=0.0287, interval="95% bootstrap over images, 1000 resamples"
    )
    best = replace(kid, value=0.0222, low=None, high=None, checkpoint="best", looks=20)
    unknown = replace(kid, metric="wobble", value=12.5, low=None, high=None)
    write_scores(run / "scores.json", [kid, unknown, best])
    page = report([run], tmp_path)
    (table,) = page.score_tables()
    assert "2.45 2.13 to 2.87" in " ".join(table.split()).replace("2.452.13", "2.45 2.13")
    assert "broken, best of 20" in table
    assert "2.22" in table
    assert "wobble ↓" in table  # a metric that is not installed, by its name
    assert "12.500" in table
    assert "“a to b”: 95% bootstrap over images, 1000 resamples" in page.text


# Safety ------------------------------------------------------------------------------------------


def test_the_file_refers_to_nothing_outside(page):
    links = [a[name] for _, a in page.elements for name in ("src", "href") if name in a]
    assert links
    assert all(re.match(r"#|data:image/(png|jpeg);base64,", link) for link in links)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "video"}
    style = page.html[page.html.index("<style>") : page.html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:")
    assert "script-src" not in policy


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "\" onload=alert(1) x='", "{{ 7 * 7 }}"]
)
def test_names_and_recipes_are_escaped(run, tmp_path, name):
    evil = run.rename(run.with_name(name))
    recipe = (evil / "recipe.yaml").read_text()
    (evil / "recipe.yaml").write_text(recipe + "# </pre><script>alert(2)</script>\n")
    line = {"images": 30000, "terms": {'<b onclick="x">': 1.0}, "weighted": {}, "lr": {}}
    with (evil / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    (evil / "scores.json").write_text('{"format": 1, "records": ["<script>alert(3)</script>"]}')
    page = report([evil], tmp_path)
    assert name in page.text
    assert "<script>alert(2)</script>" in page.text
    assert '<b onclick="x">' in page.text
    for tag, attributes in page.elements:
        assert tag not in ("script", "b")
        assert not any(key.startswith("on") for key in attributes)
        assert attributes.get("src") != "x"


def test_pictures_are_small_and_encoded_anew(run, tmp_path):
    shutil.rmtree(run / "checkpoints")
    (run / "translated" / "a2b").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    for index in range(8):
        path = run / "translated" / "a2b" / f"{index:05d}.png"
        note = PngImagePlugin.PngInfo()
        note.add_text("Comment", "a private note")
        Image.fromarray(noise).save(path, pnginfo=note)
    page = report([run], tmp_path)
    pictures = [a for t, a in page.elements if t == "img" and a.get("class") != "samples"]
    assert any(a["alt"] == "00000.png, broken" for a in pictures)
    for attributes in pictures:
        data = base64.b64decode(attributes["src"].partition(",")[2])
        assert max(Image.open(io.BytesIO(data)).size) <= 160
        assert b"private" not in data


# Broken runs -------------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _cut_weights(run: Path) -> None:
    _cut(next(run.glob("checkpoints/*/weights.safetensors")))


def _nan_weights(run: Path) -> None:
    """What a run that went wrong may log."""
    line = {"images": 30000, "terms": {"cycle/a": float("nan")}, "weighted": {"cycle/a": 10**400}}
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n" + '{"images": 31000, "scores": {"fid/a2b": "x"}}\n')


BREAKAGES = {
    "no scores": (
        lambda run: (run / "scores.json").unlink(),
        "has no scores.json. To score it: zoo eval",
    ),
    "scores cut short": (
        lambda run: _cut(run / "scores.json"),
        "has a scores.json that cannot be read",
    ),
    "scores of another kind": (
        lambda run: (run / "scores.json").write_text('{"format": 1, "records": [{"metric": 3}]}'),
        "record 0: metric is 3",
    ),
    "scores of before": (
        lambda run: write_scores(run / "scores.json", make_scores(images_seen=500)),
        "was scored after 500 images and has seen 20,000 since",
    ),
    "no metrics": (
        lambda run: (run / "metrics.jsonl").unlink(),
        "has no metrics.jsonl, hence no curves",
    ),
    "empty metrics": (
        lambda run: (run / "metrics.jsonl").write_text(""),
        "has no training lines in metrics.jsonl yet",
    ),
    "last line cut": (
        lambda run: _cut(run / "metrics.jsonl"),
        "has a last line of metrics.jsonl that was cut short",
    ),
    "metrics of another kind": (
        lambda run: (run / "metrics.jsonl").write_text('[1]\n{"images": "x"}\n\xff\n' + "[" * 9999),
        "has 4 unreadable lines in metrics.jsonl (1, 2, 3, 4)",
    ),
    "not a number": (_nan_weights, "was scored after 20,000 images and has seen 30,000 since"),
    "no recipe": (lambda run: (run / "recipe.yaml").unlink(), "has no recipe.yaml"),
    "recipe is no YAML": (
        lambda run: (run / "recipe.yaml").write_text("a: [1\nb: }"),
        "has a recipe.yaml that cannot be read",
    ),
    "recipe is a list": (
        lambda run: (run / "recipe.yaml").write_text("[1, 2]"),
        "has a recipe.yaml that is not a mapping",
    ),
    "data that are gone": (
        lambda run: (run / "recipe.yaml").write_text(
            (run / "recipe.yaml").read_text().replace("name: toonfaces", "name: gone")
        ),
        "has data that cannot be read for the grids: recipe.yaml:",
    ),
    "no checkpoints": (lambda run: shutil.rmtree(run / "checkpoints"), "has no checkpoints"),
    "weights cut short": (_cut_weights, "cannot translate for the grids"),
    "a broken grid": (
        lambda run: (run / "samples" / "000030000.png").write_bytes(b"\x89PNG\r\n"),
        "has a sample grid that cannot be read",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_run_is_shown_with_what_it_lacks(folder, run, tmp_path, breakage, monkeypatch):
    monkeypatch.chdir(run)
    breaks, warning = BREAKAGES[breakage]
    breaks(run)
    page = report([run, folder / "second"], tmp_path)
    notices = re.search(r'<div class="notice" role="note">.*?</div>', page.html, re.DOTALL)
    assert notices, "no warnings at all"
    text = " ".join(Page(notices[0]).text.split())
    assert warning in text
    assert "second has" not in text
    assert "61.67" in page.text  # the other run is complete


def test_a_run_that_has_just_begun_is_shown(tmp_path):
    write_recipe(tmp_path / "new")
    (tmp_path / "new" / "metrics.jsonl").touch()
    page = report([tmp_path / "new"], tmp_path)
    assert "None of these runs has been scored" in page.text
    assert "No run has logged a term yet" in page.text
    assert "No run could translate" in page.text


def test_lines_that_a_resumed_run_wrote_again_replace_the_old_ones(tmp_path):
    write_recipe(tmp_path)
    lines = [(100, 1.0), (200, 2.0), (300, 3.0), (200, 5.0), (400, 6.0)]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps({"images": i, "terms": {"x": v}}) + "\n" for i, v in lines)
    )
    curve = read_run(tmp_path, "run").raw["x"]
    assert (curve.images, curve.values) == ([100, 200, 400], [1.0, 5.0, 6.0])


def test_mistakes_of_the_user(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "report.html"
    with pytest.raises(
        UserError, match=r"empty is not a run folder: .*recipe\.yaml and metrics\.jsonl"
    ):
        write_report([empty], out)
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        write_report([tmp_path / "nowhere"], out)
    with pytest.raises(UserError, match="at least one"):
        write_report([], out)
    with pytest.raises(UserError, match="given twice"):
        write_report([folder / "first", folder / "." / "first"], out)
    assert not out.exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written to .*file/report\.html"):
        write_report([folder / "first"], tmp_path / "file" / "report.html", trivial=False)


def test_runs_of_one_name_are_told_apart(tmp_path):
    names = unique_names([tmp_path / "a" / "x" / "run", tmp_path / "b" / "x" / "run"])
    assert names == ["a/x/run", "b/x/run"]


# Charts ------------------------------------------------------------------------------------------


def _points(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r'<polyline class="line" points="([^"]*)"', svg)
    return [tuple(map(float, point.split(","))) for line in found for point in line.split()]


numbers = st.floats(-1e99, 1e99, allow_subnormal=True)


@given(st.lists(numbers, min_size=1, max_size=400))
def test_a_line_stays_inside_its_chart(values):
    svg = chart([Line("run", 0, range(1, len(values) + 1), values)])
    points = _points(svg)
    assert 1 <= len(points) <= 200
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_a_chart_shows_proportions_and_logarithms_where_needed():
    linear = _points(chart([Line("run", 0, [1, 2, 3], [1.0, 2.0, 3.0])]))
    assert linear[0][1] - linear[1][1] == pytest.approx(linear[1][1] - linear[2][1], abs=0.2)
    svg = chart([Line("run", 0, [1, 2, 3], [1.0, 100.0, 10000.0])])
    logarithmic = _points(svg)
    assert "log scale" in svg
    assert logarithmic[0][1] - logarithmic[1][1] == pytest.approx(
        logarithmic[1][1] - logarithmic[2][1], abs=0.2
    )


def test_many_lines_of_a_log_are_averaged_and_their_range_is_kept():
    values = [0.0, 1.0] * 800
    svg = chart([Line("run", 0, range(1600), values)])
    heights = [y for _, y in _points(svg)]
    assert max(heights) - min(heights) < 1  # means of 0.5
    band = re.search(r'<polygon class="band" points="([^"]*)"', svg)[1]
    edges = [float(point.split(",")[1]) for point in band.split()]
    assert max(edges) - min(edges) > 100


@given(st.floats(1e-12, 1e12))
def test_steps_are_round(step):
    rounded = round_step(step)
    assert 0.99 * step <= rounded <= 5.01 * step
    assert f"{rounded:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (5000, "5000"),
        (40_000, "40k"),
        (1_234_567, "1.23M"),
        (1e-5, "1e-05"),
    ],
)
def test_numbers_are_short(value, text):
    assert short(value) == text
