"""Comparisons of planted scores: what wins, what ties, and that all outputs have the numbers."""

import csv
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from typer.testing import CliRunner

from eval._compare import csv_file, latex, markdown
from eval._compare.running import tasks_of
from eval.compare import compare, read_comparison, write_comparison
from eval.comparison import Comparison
from eval.resampling import draw, resampled_means
from eval.scores import read_scores, write_scores
from eval.statistics import Row, difference
from tests.unit.sweep_folders import IMAGES, write_manifest, write_run, write_sweep
from zoo.cli import app
from zoo.registry import UserError
from zoo.sweep import load_sweep

KID, L1, SSIM = (f"photo2toon/{name}" for name in ("kid_target", "l1", "ssim"))


def made_of(folder, planned, **options) -> Comparison:
    sweep = load_sweep(folder / "planted.yaml")
    return compare(sweep, planned, folder / "out", trivial=False, **options)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Three rows: two of the same quality, one better by far; nothing missing."""
    folder = tmp_path_factory.mktemp("planted")
    planned = write_sweep(folder, "first", "same_again", "good & better")
    for item in planned:
        quality = 0.2 if item.run.row == "good & better" else 0.5
        write_run(item, quality, pictures=item.run.seed < 2)
    return folder, planned, made_of(folder, planned)


def test_a_planted_better_row_wins_and_equal_ones_tie(planted):
    _, _, made = planted
    for key, sign in ((KID, -1), (L1, -1), (SSIM, 1)):
        assert made.best[key] == "good & better"
        assert made.ties[key] == []
        pairs = {(d.a, d.b): d for d in made.differences[key]}
        assert pairs["first", "same_again"].tie
        real = pairs["first", "good & better"]
        assert not real.tie
        assert np.sign(real.value) == -sign
        assert real.p < real.p_holm < 0.05


def test_with_labels_exchanged_nothing_wins(tmp_path):
    """The control: the same scores, but each row has runs of all qualities."""
    planned = write_sweep(tmp_path, "first", "second", "third")
    for item in planned:
        mixed = (item.run.seed + len(item.run.row)) % 3
        write_run(item, [0.2, 0.5, 0.5][mixed])
    made = made_of(tmp_path, planned)
    assert all(d.tie for key in (KID, L1, SSIM) for d in made.differences[key])
    assert set(made.ties[KID]) | {made.best[KID]} == {"first", "second", "third"}


def test_the_null_comparison_is_a_tie_by_chance_and_real_if_planted(planted, tmp_path):
    _, _, made = planted
    assert set(made.null) == {f"{task}/{m.name}" for task in made.tasks for m in made.metrics}
    assert made.null[KID].tie
    assert (made.null[KID].a, made.null[KID].b) == ("first, seeds 0 1 2", "first, seeds 3 4 5")
    planned = write_sweep(tmp_path, "first")
    for item in planned:
        write_run(item, 0.2 if item.run.null else 0.5)
    assert not made_of(tmp_path, planned).null[KID].tie


def test_cells_are_the_scores_over_seeds(planted):
    _, planned, made = planted
    for checkpoint, which in (("latest", "final"), ("best", "best")):
        stored = [
            next(
                score.value
                for score in read_scores(item.folder / "scores.json")
                if (score.metric, score.direction, score.checkpoint) == ("l1", "a2b", checkpoint)
            )
            for item in sorted(planned, key=lambda item: item.run.seed)
            if item.run.row == "first" and not item.run.null
        ]
        cell = made.cells[which]["first"][L1]
        assert cell.values == stored
        assert cell.value == pytest.approx(np.mean(stored))
        assert cell.spread == pytest.approx(np.std(stored, ddof=1))
        assert cell.low < cell.value < cell.high
        assert cell.over == "images and seeds"
    (run,) = [run for run in made.runs if run.row == "first" and run.seed == 1]
    assert run.scores["final"][L1].value == made.cells["final"]["first"][L1].values[1]
    assert (run.looks, run.best_images_seen, run.images_seen) == (6, 4000, IMAGES)
    assert run.commit == "0123abc"
    assert made.baselines["untranslated"][KID] > made.cells["final"]["first"][KID].value


def test_differences_are_paired_over_images(planted):
    """The difficulty of images, which all runs share, does not widen the interval."""
    _, _, made = planted
    (pair,) = [d for d in made.differences[KID] if (d.a, d.b) == ("first", "same_again")]
    assert "paired over images" in pair.test
    unpaired = []
    for row, seed in (("first", 0), ("same_again", 1)):
        cell = made.cells["final"][row][KID]
        rows = draw(seed, 40)  # other resamples: not paired
        hard = np.random.default_rng(5).uniform(-0.1, 0.1, 40)
        resampled = [value + resampled_means(hard - hard.mean(), rows) for value in cell.values]
        unpaired.append(Row(label=row, values=cell.values, resampled=np.array(resampled)))
    wide = difference(*unpaired)
    assert pair.high - pair.low < wide.high - wide.low


def test_scores_that_order_runs_as_the_truth_does_are_told(planted, tmp_path):
    _, _, made = planted
    found = made.correlations["photo2toon"]
    assert set(found) == {"l1", "ssim"}
    assert found["l1"]["kid_target"][0] > 0.6
    assert found["l1"]["kid_target"][1] > 0  # its interval
    assert found["ssim"]["kid_target"][0] > 0.6  # higher is better, turned round
    planned = write_sweep(tmp_path, "first", "second")
    for item in planned:
        write_run(item, 0.5, luck=0)  # nothing but noise on images
    noise = made_of(tmp_path, planned).correlations["photo2toon"]["l1"]["kid_target"]
    assert noise[1] < 0 < noise[2]


def test_costs_and_the_time_to_a_level(planted, tmp_path):
    _, _, made = planted
    cost = made.costs["first"]
    assert cost["images_per_s"] == 10
    assert cost["seconds"] == IMAGES / 10
    assert cost["parameters"] == 2500
    assert cost["peak_bytes"] == 10**8 + IMAGES
    assert cost["translating_parameters"] > 2500  # counted from the recipe, not from the folder
    assert cost["seconds_to_level"] is None  # 0.5 is never reached
    planned = write_sweep(tmp_path, "first", changed=("value: 0.5", "value: 1.5"))
    for item in planned:
        write_run(item, 0.4)
    # 1.4 + 0.6 (1 - images / 6000) is 1.5 at 5000 images.
    assert made_of(tmp_path, planned).costs["first"]["seconds_to_level"] == pytest.approx(500)


def test_one_protocol_only_and_the_others_are_named(tmp_path):
    planned = write_sweep(tmp_path, "first", "second")
    for item in planned:
        other = item.run.seed == 2 and item.run.row == "second"
        hidden = item.run.seed == 1 and item.run.row == "second"
        write_run(
            item,
            0.5,
            extractor="inception-v3-tf" if other else "offline-v1",
            test_images="beef" if hidden else "feed",
        )
    made = made_of(tmp_path, planned)
    assert len(made.cells["final"]["second"][KID].values) == 1
    assert len(made.cells["final"]["second"][L1].values) == 2  # no features
    texts = [text for text in made.warnings if "another protocol" in text]
    assert any("extractor inception-v3-tf instead of offline-v1" in text for text in texts)
    assert any("test_images beef instead of feed" in text for text in texts)
    (one,) = [t for t in texts if t.startswith("photo2toon") and "inception" in t]
    assert "second--photo2toon+toon2photo--seed2" in one
    assert "first--" not in one


def test_what_is_missing_cut_or_broken_is_told_and_the_rest_compared(tmp_path):
    planned = write_sweep(tmp_path, "first", "second")
    for item in planned:
        if item.run.row == "first" and not item.run.null:
            write_run(item, 0.5)
    cut, broken = (item for item in planned if item.run.row == "first" and item.run.seed in (1, 2))
    shutil.rmtree(cut.folder / "checkpoints")
    write_manifest(cut.folder, 3000, "latest")
    (broken.folder / "resamples.npz").write_bytes(b"PK")
    whole = next(item for item in planned if item.run.row == "first" and item.run.seed == 0)
    write_scores(whole.folder / "scores.json", [])
    whole.failure_file.parent.mkdir(parents=True)
    whole.failure_file.write_text("SIGKILL\n")
    lost = next(item for item in planned if item.run.row == "second")
    lost.failure_file.write_text("exit code 1: a step was not finite\n")

    made = made_of(tmp_path, planned)
    states = {run.id: run.state for run in made.runs}
    assert states[cut.id] == "unfinished"
    assert states[lost.id] == "failed"
    assert len(made.cells["final"]["first"][KID].values) == 1
    assert made.cells["final"]["first"][KID].over == ""  # it lacks its resamples
    assert any("seed0 is done, but has no scores: SIGKILL" in text for text in made.warnings)
    assert made.cells["final"]["second"] == {}
    assert any("7 of 9 runs are not done" in text for text in made.warnings)
    (run,) = [run for run in made.runs if run.id == broken.id]
    assert any("compared without images" in text for text in run.warnings)
    (reason,) = [run.reason for run in made.runs if run.id == lost.id]
    assert reason == "exit code 1: a step was not finite"
    assert any("weights are missing" in text for text in made.warnings)  # LPIPS
    write_comparison(made, tmp_path / "out")


def test_short_runs_make_a_pilot(planted, tmp_path):
    assert planted[2].pilot is None
    planned = write_sweep(tmp_path, "first", changed=("train.images=6000", "train.images=3000"))
    for item in planned:
        write_run(item, 0.5)
        shutil.rmtree(item.folder / "checkpoints")
        write_manifest(item.folder, 3000, "latest")
    made = made_of(tmp_path, planned)
    assert "3,000" in made.pilot
    assert "Pilot" in markdown.render(made)
    assert "Pilot" in latex.render(made)


def test_scored_runs_are_left_alone_and_others_scored(planted):
    _, planned, _ = planted
    metrics = ["kid_target", "l1", "ssim", "lpips"]
    assert tasks_of(planned, metrics) == []  # LPIPS could not be had: that counts as tried
    more = tasks_of(planned, [*metrics, "psnr"])
    assert [task.id for task in more] == [item.id for item in planned]
    (words,) = more[0].commands
    assert words[3:5] == ["eval", str(planned[0].folder)]
    assert words[-1] == "auto,kid_target,l1,ssim,lpips,psnr"
    file = planned[0].folder / "scores.json"
    before = read_scores(file)
    try:
        write_scores(file, [score for score in before if score.checkpoint != "best"])
        assert [task.id for task in tasks_of(planned, metrics)] == [planned[0].id]
    finally:
        write_scores(file, before)


# Outputs -----------------------------------------------------------------------------------------


def test_every_output_has_the_numbers_of_the_scores(planted):
    folder, _, made = planted
    files = {file.suffix: file for file in write_comparison(made, folder / "out")}
    assert set(files) == {".json", ".html", ".md", ".tex", ".csv"}
    again = read_comparison(files[".json"])
    assert again == made

    lines = list(csv.DictReader(io.StringIO(files[".csv"].read_text())))
    stored = {
        (run.id, which, key): score
        for run in made.runs
        for which, scores in run.scores.items()
        for key, score in scores.items()
    }
    assert len(lines) == len(stored)
    for line in lines:
        score = stored[line["run"], line["checkpoint"], f"{line['task']}/{line['metric']}"]
        assert float(line["value"]) == score.value
        assert float(line["low"]) == score.low
        assert (line["commit"], line["direction"] in ("a2b", "b2a")) == ("0123abc", True)
    assert {line["null"] for line in lines if int(line["seed"]) > 2} == {"True"}

    cell = made.cells["final"]["good & better"][KID]
    printed = f"{100 * cell.value:.2f}"
    for text in (files[".md"].read_text(), files[".tex"].read_text(), files[".html"].read_text()):
        assert printed in text
        assert f"{100 * cell.low:.2f}" in text
    assert f"**{printed}**" in files[".md"].read_text()
    assert rf"\textbf{{{printed}}}" in files[".tex"].read_text()


def test_ties_are_marked(tmp_path):
    planned = write_sweep(tmp_path, "first", "second")
    for item in planned:
        write_run(item, 0.5)
    made = made_of(tmp_path, planned)
    (other,) = made.ties[L1]
    value = f"{made.cells['final'][other][L1].value:.4f}"
    assert f"{value} †" in markdown.render(made)
    assert rf"{value}$^\dagger$" in latex.render(made)
    assert "tie" in markdown.render(made)


def test_published_numbers_stand_beside_ours_with_their_convention(planted):
    _, _, made = planted
    text = markdown.render(made)
    row = next(line for line in text.splitlines() if "13.5 ± 0.25" in line)
    assert f"{100 * made.cells['final']['first'][KID].value:.2f}" in row
    assert "Published as: x 100, on other images; lower is better." in text
    assert "Copied from memory or second hand" in text
    assert any(line.startswith("| never run | 8 | –") for line in text.splitlines())


HOSTILE = (
    'a|b <img src=x onerror="alert(1)"> \\end{tabular} & 50% $x_1^2$ #1 ~ `code` *b* [l](u) é Σ 人'
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    planned = write_sweep(folder, HOSTILE, "=cmd()")
    for item in planned:
        write_run(item, 0.5)
    return made_of(folder, planned, command="zoo compare `x`")


def test_hostile_labels_are_only_text(hostile):
    text = markdown.render(hostile)
    assert "<img" not in text
    line = next(line for line in text.splitlines() if line.startswith("| a\\|b"))
    assert len(re.findall(r"(?<!\\)\|", line)) == 2 + 1 + 3  # row, seeds and three scores
    assert "\\[l\\](u)" in line
    tex = latex.render(hostile)
    assert tex.count(r"\end{tabular}") == tex.count(r"\begin{tabular}")
    lines = list(csv.DictReader(io.StringIO(csv_file.render(hostile))))
    assert {line["row"] for line in lines} == {HOSTILE, "'=cmd()"}


def test_latex_compiles(hostile, planted, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    for number, made in enumerate((hostile, planted[2])):
        (tmp_path / "comparison.tex").write_text(latex.render(made))
        (tmp_path / "paper.tex").write_text(
            "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
            "\\input{comparison.tex}\\end{document}"
        )
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{number}: {done.stdout[-2000:]}"


def test_pictures_are_those_of_the_runs_small_and_embedded(planted):
    _, _, made = planted
    assert len(made.sources["photo2toon"]) == len(made.truths["photo2toon"]) == 4
    pictures = {run.seed: run.pictures.get("photo2toon") for run in made.runs if run.row == "first"}
    assert pictures[0] != pictures[1]
    assert all(url.startswith("data:image/webp;base64,") for url in pictures[0])
    assert len(set(pictures[0])) > 1
    assert pictures[2] is None  # it has no translated images


def test_what_is_no_comparison_is_refused(tmp_path):
    for content in ("", "[]", '{"sweep": 3}', '{"sweep": "x", "rowz": []}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(UserError):
            read_comparison(tmp_path / "x.json")


# The command -------------------------------------------------------------------------------------


def zoo(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_on_a_finished_folder_only_writes_the_outputs(planted, monkeypatch):
    folder, planned, _ = planted
    monkeypatch.setenv("COLUMNS", "200")
    done = zoo("compare", folder / "planted.yaml", "--out", folder / "out", "--no-trivial")
    assert done.exit_code == 0, done.output
    assert "started" not in done.stdout
    assert "good & better" in done.stdout
    assert all(f"comparison.{end}" in done.stdout for end in ("html", "md", "tex", "csv", "json"))
    assert "first, 1 missing" not in done.stdout
    assert not (planned[0].logs).exists()


def test_the_command_refuses_what_is_not_the_sweep_s(tmp_path):
    planned = write_sweep(tmp_path, "first")
    write_run(planned[0], 0.5)
    file = tmp_path / "planted.yaml"
    file.write_text(file.read_text().replace("train.images=6000", "train.images=7000"))
    refused = zoo("compare", file, "--out", tmp_path / "out", "--no-train")
    assert refused.exit_code == 2
    assert "train.images is 6000 there, 7000 in the sweep" in refused.stderr
    assert not (tmp_path / "out" / "comparison.json").exists()
    for words, says in (
        (["--only", "frist"], "Did you mean 'first'"),
        (["--hosts", "a"], "--hosts belongs to --emit hosts"),
        (["--emit", "hosts"], "--emit hosts needs --hosts"),
    ):
        refused = zoo("compare", file, "--out", tmp_path / "new", *words)
        assert refused.exit_code == 2, refused.output
        assert says in refused.stderr
    assert not (tmp_path / "new").exists()
