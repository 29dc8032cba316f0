"""The page of a comparison: what it says, marks, links, escapes, and when things are missing."""

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest

from eval._compare import tables
from eval._compare.words import duration, headline, listed, printed, seen_from, signed
from eval.compare_page import render
from eval.comparison import Comparison, Difference, RunFacts
from tests.unit.comparisons import KID, METRICS, QUALITY, TASKS, make_comparison, small
from zoo.registry import UserError


class Page(HTMLParser):
    """Elements with their attributes, and the text inside of them."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.inside: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and self.inside[-1] in ("script", "style"):
            self.scripts.append(data)
        else:
            self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [a[name] for found, a in self.elements if found == tag and a.get(name)]


@pytest.fixture(scope="module")
def made() -> Comparison:
    return make_comparison()


@pytest.fixture(scope="module")
def page(made) -> Page:
    return Page(render(made))


# What it says ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "title"),
    [
        ({"t": ["one"]}, "one is best by KID × 100"),
        ({"t": ["two"], "u": ["two"]}, "two is best by KID × 100"),
        ({"t": ["one"], "u": ["two"]}, "By KID × 100, which row is best depends on the task"),
        ({"t": ["one"], "u": ["two", "one"]}, "one is ahead or ties for the best by KID × 100"),
        ({"t": ["one", "two"]}, "A tie of all rows by KID × 100: no difference is real"),
    ],
)
def test_the_title_says_what_is_best(best, title):
    assert headline(small(**best)).title == title


def test_some_of_several_rows_tie():
    made = small(t=["one", "two"])
    made.rows.append("three")
    assert headline(made).title == "one and two tie for the best KID × 100"


def test_a_sentence_names_ties_and_what_is_behind(made):
    first = headline(made).sentences[TASKS[0]][0]
    key = f"{TASKS[0]}/kid_target"
    assert first.startswith(f"By KID × 100 to target {made.best[key]} is best at ")
    behind = first.partition("Really behind it: ")[2]
    for row in made.rows:
        assert (row in behind) == (row not in (made.best[key], *made.ties[key]))


def test_rows_no_better_than_doing_nothing_are_named():
    made = small(t=["one"])
    made.baselines = {"untranslated": {"t/kid_target": 0.15}}
    assert headline(made).doubts == [
        "On t two is no better by KID × 100 than the untranslated images."
    ]
    made.baselines = {"untranslated": {"t/kid_target": 0.25}}
    assert headline(made).doubts == []


def test_one_seed_is_a_doubt():
    made = small(t=["one"])
    made.cells["final"]["two"]["t/kid_target"].over = "images"
    (doubt,) = headline(made).doubts
    assert "not between two methods" in doubt


def test_a_null_comparison_that_is_no_tie_is_a_doubt(made):
    assert not headline(made).doubts
    null = Difference(a="x", b="y", value=0.1, low=0.05, high=0.2, p=0.01, tie=False, test="")
    broken = dataclasses.replace(made, null={**made.null, f"{TASKS[1]}/fid": null})
    (doubt,) = headline(broken).doubts
    assert "FID on toon2photo" in doubt
    assert "CycleGAN against itself" in doubt


def test_facts_count_the_real_differences(made):
    real = sum(not d.tie for found in made.differences.values() for d in found)
    facts = {what: number for number, what in headline(made).facts}
    assert facts["differences between pairs are real"] == f"{real} of {2 * 4 * 15}"
    assert facts["runs done"] == "18 of 18"


def test_a_pilot_says_so(page):
    assert "Pilot." not in page.text
    assert "Pilot." in Page(render(make_comparison(images=3000, pictures=1))).text


def test_numbers():
    assert printed(0.12345, KID) == "12.35"
    assert printed(-0.12, KID) == "−12.00"
    assert printed(-0.000001, KID) == signed(-0.000001, KID) == signed(0, KID) == "0.00"
    assert signed(0.01, KID) == "+1.00"
    assert [duration(s) for s in (45, 720, 12000, 360000)] == [
        "45 s", "12 min", "3 h 20 min", "4.2 days",
    ]  # fmt: skip
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a, x", "b", "c"]) == "a, x; b; and c"


# Tables ------------------------------------------------------------------------------------------


def test_best_and_ties_are_marked_among_final_scores_only(made):
    for task in TASKS:
        rows = tables.main_table(made, task)
        for row, cells in zip(made.rows, rows, strict=True):
            for cell in cells:
                key = f"{task}/{made.metrics[cell.metric].name}"
                mark = "best" if made.best[key] == row else "tie" * (row in made.ties[key])
                assert cell.mark == (mark if cell.checkpoint == "final" else "")


def test_the_best_checkpoint_stands_beside_with_its_looks(made):
    final, best = tables.main_table(made, TASKS[0])[0][:2]
    assert (final.checkpoint, best.checkpoint) == ("final", "best")
    assert best.looks == "of 10 looks"
    assert best.value < final.value


def test_cells_without_a_score_say_why():
    made = small(t=["one"])
    del made.cells["final"]["two"]["t/kid_target"]

    def why(**facts) -> str:
        run = RunFacts(id="r", folder="r", row="two", seed=0, tasks={"a2b": "t"}, **facts)
        return tables.main_table(dataclasses.replace(made, runs=[run]), "t")[1][0].why

    assert why(state="failed") == "failed"
    assert why(state="missing") == "missing"
    assert why(state="done") == "not scored"
    assert tables.main_table(made, "t")[1][0].why == "no run fills this cell"
    assert "–" in Page(render(made)).text


def test_each_seed_of_a_cell_is_its_runs_score(made):
    cell = tables.main_table(made, TASKS[1])[2][0]
    runs = [made.runs[seed.run] for seed in cell.seeds]
    assert [(run.row, run.seed) for run in runs] == [("CUT", 0), ("CUT", 1), ("CUT", 2)]
    for seed, run in zip(cell.seeds, runs, strict=True):
        assert seed.text == printed(run.scores["final"][f"{TASKS[1]}/kid_target"].value, METRICS[0])


def test_a_difference_seen_from_the_other_side():
    one = Difference(a="a", b="b", value=1, low=-2, high=3, p=0.5, tie=True, test="t")
    other = seen_from("b", "a", [one])
    assert other == Difference(a="b", b="a", value=-1, low=-3, high=2, p=0.5, tie=True, test="t")
    assert seen_from("a", "b", [one]) is one
    assert seen_from("a", "c", [one]) is None


def test_the_matrix_is_antisymmetric_and_knows_which_way_is_better(made):
    for shown in (METRICS[0], METRICS[3]):  # lower and higher is better
        rows = tables.matrix(made, TASKS[0], shown)
        turned = {"better": "worse", "worse": "better", "tie": "tie"}
        for i, pairs in enumerate(rows):
            assert pairs[i] is None
            for j, pair in enumerate(pairs):
                if pair:
                    assert pair.kind == turned[rows[j][i].kind]
        good, bad = list(QUALITY).index("U-GAT-IT, light"), list(QUALITY).index("DiscoGAN")
        assert rows[good][bad].kind == "better"


def test_the_shaded_band_is_as_wide_as_the_null_comparisons_interval(made):
    null = Difference(a="x", b="y", value=0.2, low=-0.1, high=0.5, p=None, tie=True, test="")
    assert tables._chance(null) == pytest.approx((-0.3, 0.3))


def test_published_numbers_stand_in_the_papers_unit(made):
    table = made.published[0]
    beside = tables.published(made, table)
    kid = made.cells["final"]["CycleGAN"]["photo2toon/kid_target"].value
    assert beside.rows[0] == ("CycleGAN", 0, [("13.08 ± 0.49", f"{kid * 100:.2f}")])
    assert beside.tasks == [0]  # a task without published numbers has no column
    assert "Not comparable on photo2toon" in " ".join(beside.notes)
    assert "second hand" in beside.notes[0]
    thousand = tables.published(made, dataclasses.replace(table, scale=1000))
    assert thousand.rows[0][2][0][1] == f"{kid * 1000:.1f}"
    same = dataclasses.replace(made, comparable=dict.fromkeys(TASKS, True))
    assert "Not comparable" not in " ".join(tables.published(same, table).notes)


# The file ----------------------------------------------------------------------------------------


def test_every_link_in_the_page_leads_somewhere(page):
    ids = {a["id"] for _, a in page.elements if a.get("id")}
    inner = [link[1:] for link in page.attributes("a", "href") if link.startswith("#")]
    assert len(inner) > 200
    assert not set(inner) - ids
    assert len([i for i in ids if i.startswith("run-")]) == 18
    folders = [link for link in page.attributes("a", "href") if not link.startswith("#")]
    assert len(folders) == 18
    assert all(re.fullmatch(r"runs/[\w%.-]+/", folder) for folder in folders)


def test_every_picture_says_what_it_shows(page):
    alts = [a.get("alt") for tag, a in page.elements if tag == "img"]
    assert len(alts) == 2 * 5 * (2 + 18)
    assert all(alts)
    assert "DiscoGAN, seed 1, test image 2" in alts
    charts = [a for tag, a in page.elements if tag == "svg" and "chart" in a["class"]]
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)


def test_tables_have_headings_and_captions(page):
    count = sum(tag == "table" for tag, _ in page.elements)
    assert sum(tag == "caption" for tag, _ in page.elements) == count
    scopes = [a.get("scope") for tag, a in page.elements if tag == "th"]
    assert None not in scopes


def test_the_policy_allows_this_script_and_sheet_only(page):
    (policy,) = [
        a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in page.scripts
    }
    assert len(page.scripts) == 2
    assert hashes == set(re.findall(r"'sha256-[^']+'", policy))
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert not page.attributes("script", "src")
    assert not [a for _, a in page.elements if "style" in a]
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    for tag, attributes in page.elements:
        source = attributes.get("src") or (attributes.get("href") if tag != "a" else None)
        assert source is None or source.startswith("data:image/")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x.png",
        "data:text/html;base64,PHNjcmlwdD4=",
        "data:image/svg+xml;base64,PHN2Zz4=",
        'data:image/png;base64,AA" onerror="x',
    ],
)
def test_pictures_from_elsewhere_are_not_shown(url):
    assert tables.picture(url) is None


def test_no_text_makes_a_link_leave_the_folder_of_pages():
    assert tables.folder_link("runs/a b") == "runs/a%20b/"
    assert tables.folder_link("../runs/x/") == "../runs/x/"
    assert tables.folder_link("//example.org/x") == "/example.org/x/"
    assert tables.folder_link("javascript:alert(1)") == "javascript%3Aalert%281%29/"


def test_a_comparison_of_nothing_is_a_page_that_says_so():
    made = Comparison(sweep="s", tasks=["t"], metrics=[KID], rows=["one", "two"])
    text = Page(render(made)).text
    assert "No run has a score yet" in text
    for part in ("No pictures were taken", "No run was scored", "No costs were recorded"):
        assert part in text


def test_without_metrics_there_is_no_page():
    with pytest.raises(UserError, match="no metrics or no tasks"):
        render(Comparison(sweep="s", tasks=["t"]))


def test_broken_runs_are_shown_with_their_reasons(made):
    broken = dataclasses.replace(made.runs[4], state="failed", reason="NaN at step 7")
    broken.warnings = ["scores.json is cut short"]
    runs = [*made.runs[:4], broken, *made.runs[5:]]
    text = Page(render(dataclasses.replace(made, runs=runs))).text
    for part in ("failed", "NaN at step 7", "scores.json is cut short", "17 of 18"):
        assert part in text
