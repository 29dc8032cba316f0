"""The page of a comparison in a real browser: sorting, filtering, phones, no script, no network."""

import pytest

from eval.compare_page import render
from tests.unit.browser import chromium, opened
from tests.unit.comparisons import make_comparison

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
MAIN = "#scores section[data-task='0'] table"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    path.write_text(render(make_comparison()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, file):
    with opened(browser, file, viewport={"width": 1280, "height": 900}) as shown:
        yield shown


def column(page, table: str, number: int) -> list[float | None]:
    cells = page.locator(f"{table} tbody >> nth=0").locator("tr").all()
    texts = [row.locator("> *").nth(number).get_attribute("data-value") for row in cells]
    return [None if text is None else float(text) for text in texts]


def test_a_click_sorts_by_value_best_first_and_again_turns_round(page):
    heading = page.locator(f"{MAIN} th[data-column='1']")
    before = column(page, MAIN, 1)
    heading.locator("button").click()
    assert column(page, MAIN, 1) == sorted(before) != before
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    assert column(page, MAIN, 1) == sorted(before, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator(f"{MAIN} th[aria-sort]").count() == 1
    assert page.locator(f"{MAIN} tbody >> nth=0").locator(".mark.tie").count() > 0
    last = page.locator(f"{MAIN} tbody").last.locator("th").first  # baselines stay below
    assert last.inner_text() == "For comparison, nothing learnt"


def test_of_what_is_better_high_the_highest_comes_first(page):
    page.locator(f"{MAIN} th[data-column='7'] button").click()
    assert column(page, MAIN, 7) == sorted(column(page, MAIN, 7), reverse=True)


def test_texts_of_numbers_are_not_sorted_as_texts(page):
    page.locator(".costs th[data-column='1'] button").click()
    seconds = column(page, ".costs", 1)
    assert seconds == sorted(seconds)
    assert min(seconds) < 1000 <= max(seconds)  # as texts, 1000 would stand before 600


def test_cells_without_a_value_are_last_in_both_directions(page):
    number = next(
        heading.get_attribute("data-column")
        for heading in page.locator(".costs th[data-column]").all()
        if "12.00" in heading.inner_text()
    )
    for _ in range(2):
        page.locator(f".costs th[data-column='{number}'] button").click()
        values = column(page, ".costs", int(number))
        assert None not in values[:4]
        assert values[4:] == [None, None]


def test_filters_hide_rows_tasks_scores_seeds_and_checkpoints(page):
    def visible(selector: str) -> int:
        return sum(found.is_visible() for found in page.locator(selector).all())

    def toggle(facet: str, value: int) -> None:
        opening = page.locator(f"details.facet:has([data-facet='{facet}']) summary")
        opening.click()
        page.locator(f"[data-facet='{facet}'][value='{value}']").click()
        page.keyboard.press("Escape")

    assert visible(f"{MAIN} tbody:first-of-type tr") == 6
    toggle("row", 3)
    assert visible(f"{MAIN} tbody:first-of-type tr") == 5
    assert visible("[data-row='3']") == 0
    assert page.locator("[data-count='row']").inner_text() == "5 of 6"
    assert visible("#curves section[data-task='0'] g") == 4 * 5
    toggle("task", 1)
    assert visible("[data-task='1']") == 0
    toggle("metric", 0)
    assert visible("[data-metric='0']") == 0
    assert page.locator("#differences select").input_value() == "1"  # of those left
    toggle("seed", 2)
    assert visible("#runs tbody tr") == 2 * 5
    page.locator(".filters select").select_option("final")
    assert visible("[data-checkpoint='best']") == 0
    assert page.locator(f"{MAIN} th[data-spans]").nth(1).evaluate("th => th.colSpan") == 1
    page.locator("#reset").click()
    assert visible(f"{MAIN} tbody:first-of-type tr") == 6
    assert visible("[data-checkpoint='best']") > 0


def test_pictures_are_those_of_the_chosen_seed(page):
    shown = page.locator("#pictures tbody tr:visible")
    assert shown.count() == 2 * 6
    page.locator("input[name='picture-seed'][value='2']").check(force=True)
    assert shown.count() == 2 * 6
    assert all("seed 2" in text for text in shown.all_inner_texts())
    page.locator("input[name='picture-seed'][value='all']").check(force=True)
    assert shown.count() == 2 * 6 * 3


def test_a_picture_leads_to_its_run(page):
    picture = page.locator("#pictures tbody tr:visible a:has(img)").first
    alt = picture.locator("img").get_attribute("alt")
    picture.click()
    run = page.locator("#runs tr:target")
    assert run.locator("th").inner_text().splitlines()[0] == alt.partition(", seed")[0]
    assert run.get_attribute("data-seed") == "0"


def test_the_score_chosen_is_the_same_everywhere(page):
    page.locator("#differences select").select_option("2")
    assert page.locator("#costs select[data-choose='metric']").input_value() == "2"
    plots = page.locator(".plots figure:visible")
    assert plots.count() == 2
    page.locator("#costs select[data-choose='cost']").select_option("peak_bytes")
    assert plots.count() == 2
    assert all("L1 to truth · Memory" in text for text in plots.all_inner_texts())


def test_the_keyboard_is_enough(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    summary = page.locator("details.facet summary").first
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("[data-count='row']").inner_text() == "5 of 6"
    page.keyboard.press("Escape")
    assert summary.evaluate("s => s === document.activeElement && !s.parentElement.open")
    page.locator(f"{MAIN} th[data-column='1'] button").focus()
    page.keyboard.press("Enter")
    assert page.locator(f"{MAIN} th[aria-sort='ascending']").count() == 1
    assert "ascending" in page.locator("#status").inner_text()


def test_a_phone_scrolls_tables_and_not_the_page(browser, file):
    with opened(browser, file, **PHONE) as page:
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) == 390
        for summary in page.locator("details summary:visible").all():
            summary.tap()
            assert page.evaluate(wide) == 390
        lists = [box.bounding_box() for box in page.locator(".facet fieldset:visible").all()]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in lists)


def test_without_script_everything_is_shown(browser, file):
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.locator("#pictures tbody tr:visible").count() == 2 * 6 * 3
        assert page.locator("#differences [data-chosen-metric]:visible").count() == 4
        assert page.locator(".main-table .seeds a:visible").count() == 2 * 6 * 8 * 3
        assert page.locator(".script-only:visible, select:visible, button:visible").count() == 0


def test_paper_is_white_without_controls_and_with_whole_tables(browser, file):
    with opened(
        browser, file, color_scheme="dark", viewport={"width": 1032, "height": 700}
    ) as page:
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        )
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert page.locator(".filters:visible, select:visible, nav:visible").count() == 0
        cut = [
            table.get_attribute("class")
            for table in page.locator("table:visible").all()
            if table.bounding_box()["x"] + table.bounding_box()["width"] > 1032
        ]
        assert not cut
        assert page.locator(".matrix:visible").count() == 2  # though its fold is closed


def test_a_script_in_a_label_is_a_text(browser, tmp_path):
    made = make_comparison(pictures=1)
    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
    made.rows[0] = evil
    made.sweep = made.description = made.pilot = made.command = evil
    made.warnings = [evil]
    for run in made.runs[:3]:
        run.row = run.command = run.reason = run.id = run.device = evil
        run.folder = "javascript:document.title='taken'"
        run.pictures = {task: ["https://example.org/x.png"] for task in made.tasks}
    for kind in made.cells.values():
        kind[evil] = kind.pop("CycleGAN")
    file = tmp_path / "comparison.html"
    file.write_text(render(made), encoding="utf-8")
    with opened(browser, file) as page:
        assert "taken" not in page.title().replace(evil, "")
        assert evil in page.locator(f"{MAIN} tbody tr").first.inner_text()
        link = page.locator("#run-0 td a").first
        assert link.evaluate("a => a.protocol") == "file:"


@pytest.mark.parametrize(
    "fault",
    ["<img src='https://example.org/x.png'>", "<script>throw new Error('broken')</script>"],
)
def test_a_page_that_loads_or_fails_is_noticed(browser, tmp_path, fault):
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><title>t</title>{fault}", encoding="utf-8")
    with pytest.raises(AssertionError), opened(browser, file):
        pass
