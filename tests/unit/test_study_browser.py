"""A study played through in a real browser: trials, feedback, pauses, the file, its scores."""

import json
from pathlib import Path

import pytest

from eval.study import make_study, read_key, score_study
from tests.unit.browser import chromium, opened
from tests.unit.studies import write_runs

pytestmark = pytest.mark.slow
TRIAL_MS = 110  # just over what counts as too fast to have seen
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

# Answers every trial from inside the page, as that is quicker than from outside; what is shown is
# read from the pictures, and `right` says which of them are real.
PLAY = """
([right, share, keys, until]) => new Promise((done) => {
  let seen = [];
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const step = () => {
    const visible = (id) => !document.getElementById(id).hidden;
    if (visible("end")) return done(true);
    const progress = document.getElementById("progress").textContent;
    if (until && progress.startsWith(until)) return done(true);
    if (visible("notice")) document.getElementById("continue").click();
    const images = [...document.querySelectorAll("#choices img")];
    if (images.length) seen = images.map((image) => image.src.match(/(\\w+)\\.png/)[1]);
    const buttons = [...document.querySelectorAll("#choices button:enabled")];
    if (visible("trial") && buttons.length && seen.length) {
      const truth = seen.findIndex((name) => right.includes(name));
      const at = random() < share ? truth : buttons.length - 1 - truth;
      const wait = performance.now() + 100;
      const answer = () => {
        if (performance.now() < wait) return setTimeout(answer, 10);
        if (keys) press(keys[at]);
        else buttons[at].click();
        seen = [];
        setTimeout(step, 20);
      };
      return answer();
    }
    setTimeout(step, 10);
  };
  step();
})
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"), num_test=52)


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "study"
    make_study(runs, out, trial_ms=TRIAL_MS)
    return out


@pytest.fixture(scope="module")
def short(runs, tmp_path_factory) -> Path:
    """Three trials, one of practice."""
    out = tmp_path_factory.mktemp("made") / "short"
    make_study(runs, out, counted=3, practice=1, trial_ms=TRIAL_MS)
    return out


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def begin(page, participant: str) -> None:
    page.fill("#participant", participant)
    page.click("#start button")


def pictures(page) -> list[str]:
    """Names of the pair that is shown next; they are there for a moment only."""
    shown = """() => {
      const images = [...document.querySelectorAll("#choices img")];
      return images.length === 2 && images.map((image) => image.src.match(/(\\w+)\\.png/)[1]);
    }"""
    return page.wait_for_function(shown).json_value()


def saved(page, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click("#download")
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    assert file.read_text() == page.input_value("#csv")
    return file


def play(
    browser, study: Path, participant: str, folder: Path, share: float, keys: list | None = None
) -> Path:
    """A whole session; answers are right with the chance `share`."""
    key = read_key(study / "key.json")
    with opened(browser, study / "page" / "index.html") as page:
        begin(page, participant)
        real = [name for name, made_by in key.images.items() if made_by == "real"]
        page.evaluate(PLAY, [real, share, keys, None])
        return saved(page, folder)


def percents(files: list[Path], study: Path) -> dict[str, float]:
    found = score_study(files, study / "key.json")
    assert not found.excluded
    return {row.method: row.rate.percent for row in found.methods if row.rate}


def test_who_is_always_right_is_never_fooled(browser, study, tmp_path):
    file = play(browser, study, "0", tmp_path, 1.0)
    (percent,) = percents([file], study).values()
    assert percent == 0
    lines = file.read_text().splitlines()
    assert len(lines) == 1 + 10 + 40
    times = [float(line.split(",")[12]) for line in lines[1:]]
    assert min(times) > 2 * TRIAL_MS - 30  # from the pictures' appearance
    shown = [float(line.split(",")[13]) for line in lines[1:]]
    assert TRIAL_MS - 2 <= sorted(shown)[25] < TRIAL_MS + 60


def test_who_is_always_wrong_is_always_fooled_also_by_keys(browser, study, tmp_path):
    file = play(browser, study, "1", tmp_path, 0.0, ["ArrowLeft", "ArrowRight"])
    assert list(percents([file], study).values()) == [100]


def test_who_guesses_is_fooled_half_of_the_time(browser, study, tmp_path):
    file = play(browser, study, "2", tmp_path, 0.5)
    row = next(row for row in score_study([file], study / "key.json").methods if row.rate)
    assert row.trials == 40
    assert row.rate.low < 50 < row.rate.high
    assert 35 < row.rate.percent < 65


def test_participants_that_are_numbers_get_the_methods_in_turn(browser, short):
    key = read_key(short / "key.json")

    def method(participant: str, query: str = "") -> str:
        with opened(browser, short / "page" / "index.html") as page:
            if query:
                page.goto(page.url + query)
            begin(page, participant)
            made_by = {key.images[name] for name in pictures(page)}
        (found,) = made_by - {"real"}
        return found

    for block in (0, 1, 2):
        pair = {method(str(2 * block)), method(str(2 * block + 1))}
        assert pair == set(key.methods)
    assert method("ann") == method("ann")
    for asked in key.methods:
        assert method("ann", f"?method={asked}") == asked


def test_the_order_is_the_participants_own_and_stays(browser, short, tmp_path):
    def order(participant: str) -> list[str]:
        for old in tmp_path.glob("*.csv"):
            old.unlink()
        file = play(browser, short, participant, tmp_path, 1.0)
        return [line.split(",")[10] for line in file.read_text().splitlines()[1:]]

    assert order("0") == order("0")
    assert order("0") != order("2")


def test_practice_tells_the_answer_and_trials_do_not(browser, short):
    key = read_key(short / "key.json")
    with opened(browser, short / "page" / "index.html") as page:
        begin(page, "0")
        for answer, said in ((0, True), (1, False)):
            names = pictures(page)
            page.wait_for_selector("#choices button:enabled")
            page.locator("#choices button").nth(answer).click()
            if said:
                page.wait_for_function("document.getElementById('feedback').textContent")
                side = [key.images[name] for name in names].index("real")
                word = "Yes" if side == answer else "No"
                told = f"{word}: the {['left', 'right'][side]} one was real."
                assert page.inner_text("#feedback") == told
                page.click("#continue")
                assert page.inner_text("#progress") == "Pair 1 of 3"
        page.wait_for_function("document.getElementById('progress').textContent === 'Pair 2 of 3'")
        assert page.inner_text("#feedback") == ""


def hide(page) -> None:
    page.evaluate(
        """() => {
          let state = "hidden";
          const now = { get: () => state, configurable: true };
          Object.defineProperty(document, "visibilityState", now);
          document.dispatchEvent(new Event("visibilitychange"));
          state = "visible";
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )


def test_a_trial_during_which_the_tab_is_hidden_is_redone(browser, short, tmp_path):
    key = read_key(short / "key.json")
    real = [name for name, made_by in key.images.items() if made_by == "real"]
    with opened(browser, short / "page" / "index.html") as page:
        begin(page, "0")
        page.evaluate(PLAY, [real, 1.0, None, "Pair 2"])
        for moment in ("#choices img", "#choices button:enabled"):
            page.wait_for_selector(moment)
            hide(page)
            page.wait_for_selector("#notice:not([hidden])")
            assert page.inner_text("#notice-title") == "Paused"
            assert page.locator("#choices img").count() == 0
            page.keyboard.press("ArrowLeft")  # answers nothing
            page.wait_for_timeout(2 * TRIAL_MS)  # nor does what was running go on
            assert page.locator("#notice").is_visible()
            page.click("#continue")
            assert page.inner_text("#progress") == "Pair 2 of 3"
        page.evaluate(PLAY, [real, 1.0, None, None])
        file = saved(page, tmp_path)
    redone = [line.rpartition(",")[2] for line in file.read_text().splitlines()[1:]]
    assert redone == ["0", "0", "2", "0"]
    assert list(percents([file], short).values()) == [0]


def test_the_best_of_several_on_a_phone(browser, runs, tmp_path):
    make_study(runs, tmp_path / "study", mode="best", counted=6, direction="a2b")
    key = read_key(tmp_path / "study" / "key.json")
    picked: list[str] = []
    with opened(browser, tmp_path / "study" / "page" / "index.html", **PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        begin(page, "ann")
        for number in range(1, 7):
            page.wait_for_function(f"progress.textContent === 'Picture {number} of 6'")
            page.wait_for_selector("#choices button:enabled")
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.locator("#source img").count() == 1
            button = page.locator("#choices button").nth(number % 2)
            name = Path(button.locator("img").get_attribute("src")).stem
            picked.append(key.methods[key.images[name]])
            page.wait_for_timeout(120)
            button.tap()
        file = saved(page, tmp_path)
    found = percents([file], tmp_path / "study")
    assert found == {
        name: pytest.approx(100 * picked.count(name) / 6) for name in key.methods.values()
    }


def test_names_that_would_break_the_file_are_not_taken(browser, short):
    with opened(browser, short / "page" / "index.html") as page:
        for name in ("", 'a,b"', "=1+1"):
            begin(page, name)
            assert page.locator("#intro").is_visible()
        page.goto(page.url + "?participant=%3Cscript%3E")
        assert page.input_value("#participant") == ""


def test_a_missing_picture_is_told(browser, runs, tmp_path):
    make_study(runs, tmp_path / "study", counted=3, practice=1, trial_ms=TRIAL_MS)
    for image in (tmp_path / "study" / "page" / "images").iterdir():
        image.unlink()
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "study" / "page" / "index.html").as_uri())
    begin(page, "0")
    page.wait_for_selector("#notice:not([hidden])")
    assert page.inner_text("#notice-title") == "This page is incomplete"
    context.close()


def test_without_script_the_page_says_what_it_needs(browser, short):
    with opened(browser, short / "page" / "index.html", java_script_enabled=False) as page:
        assert "needs JavaScript" in page.inner_text("main")


def test_settings_cannot_end_their_element(runs, tmp_path):
    make_study(
        runs, tmp_path / "s", counted=3, practice=1, question="</script><script>alert(1)</script>"
    )
    html = (tmp_path / "s" / "page" / "index.html").read_text()
    assert html.count("</script>") == 2
    start = html.index('id="settings">') + len('id="settings">')
    told = json.loads(html[start : html.index("</script>", start)])
    assert told["question"] == "</script><script>alert(1)</script>"
