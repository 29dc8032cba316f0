"""A sweep's folder: names, what state runs are in, whose they are, and files for other machines."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from eval._compare.emit import emit
from eval._compare.plan import check_folders, differences, folder_name, plan
from eval._compare.running import progress, tasks_of
from tests.training import QUICK, train_here
from zoo.checkpoint import checkpoints_of
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.sweep import load_sweep

SWEEP = """\
description: two methods and one of no use
tasks: [photo2toon, toon2photo]
seeds: [0, 7]
metrics: [kid_target, l1]
null: {row: CycleGAN λ=3, seeds: [8, 9]}
rows:
  CycleGAN λ=3:
    runs:
      - {recipe: debug/cyclegan, a2b: photo2toon, b2a: toon2photo,
         overrides: [method.weights.cycle=3, data.num_train=6, data.num_test=4]}
  CUT / fast:
    runs:
      - {recipe: debug/cut, a2b: photo2toon, overrides: [data.num_train=6, data.num_test=4]}
  UNIT: {}
published:
  - {source: nobody, metric: kid_target, convention: x, better: lower,
     values: {UNIT: {photo2toon: 1}}}
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(SWEEP)
    return load_sweep("tiny.yaml")


def test_whole_tables_of_a_seed_come_first_and_the_null_comparison_last(sweep, tmp_path):
    both = "photo2toon+toon2photo"
    assert [run.id for run in plan(sweep, Path("out"))] == [
        f"CycleGAN_λ=3--{both}--seed0",
        "CUT_fast--photo2toon--seed0",
        f"CycleGAN_λ=3--{both}--seed7",
        "CUT_fast--photo2toon--seed7",
        f"CycleGAN_λ=3--{both}--seed8",
        f"CycleGAN_λ=3--{both}--seed9",
    ]
    run = plan(sweep, Path("out"))[0]
    assert run.folder == tmp_path / "out" / "runs" / run.id
    assert shlex.split(run.command())[1:4] == ["train", "debug/cyclegan", "method.weights.cycle=3"]


def test_only_takes_rows_and_runs(sweep):
    assert {run.run.row for run in plan(sweep, Path("out"), only=["CUT / fast"])} == {"CUT / fast"}
    (one,) = plan(sweep, Path("out"), only=["CUT_fast--photo2toon--seed7"])
    assert one.run.seed == 7
    with pytest.raises(UserError, match=r"no such row or run\. Did you mean 'CUT / fast'"):
        plan(sweep, Path("out"), only=["CUT / fst"])
    with pytest.raises(UserError, match="nothing to run"):
        plan(sweep, Path("out"), only=["UNIT"])


@pytest.mark.parametrize("label", ["../../etc", "a\nb", ".hidden", "--out", 'ü /\\: *?"<>|', "..."])
def test_names_of_folders_stay_in_the_folder(sweep, label):
    (run,) = sweep.runs()[:1]
    name = folder_name(type(run)(**{**run.__dict__, "row": label}))
    assert Path("out", "runs", name).resolve().parent == Path("out", "runs").resolve()
    assert not set('/\\\n:*?"<>| ') & set(name)
    assert name[0] not in ".-"


def test_rows_of_one_folder_are_refused(sweep):
    Path("tiny.yaml").write_text(
        SWEEP.replace("CUT / fast:", "CYCLEGAN λ 3:").replace("λ=3:", "λ 3:")
    )
    with pytest.raises(UserError):
        plan(load_sweep("tiny.yaml"), Path("out"))


def test_what_is_there_is_seen_and_what_is_missing_is_made(sweep, tmp_path):
    runs = plan(sweep, Path("out"), cpu=True)
    assert {run.state() for run in runs} == {"missing"}
    done, cut, failed = runs[0], runs[1], runs[2]
    train_here(done.run.recipe, done.folder)
    train_here(cut.run.recipe, cut.folder)
    newest = (
        checkpoints_of(cut.folder) / (checkpoints_of(cut.folder) / "latest").read_text().strip()
    )
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    failed.failure_file.parent.mkdir(parents=True)
    failed.failure_file.write_text("exit code 1: a step was not finite\n")

    assert [run.state() for run in runs[:4]] == ["done", "unfinished", "failed", "missing"]
    assert failed.failure() == "exit code 1: a step was not finite"
    assert cut.images_seen() == 8
    assert progress(cut) == "being scored"  # its log is complete, whatever its checkpoints are
    assert progress(runs[3]) == ""

    words = {t.id: [" ".join(command[3:5]) for command in t.commands] for t in tasks_of(runs, [])}
    assert words[done.id] == [f"eval {done.folder}"]
    assert words[cut.id] == ["train --resume", f"eval {cut.folder}"]
    assert words[failed.id] == ["train debug/cyclegan", f"eval {failed.folder}"]
    assert [t.id for t in tasks_of(runs, [], train=False)] == [done.id]
    assert check_folders(runs) == {}


def test_a_folder_of_another_recipe_is_refused_with_the_keys(sweep):
    runs = plan(sweep, Path("out"), cpu=True)
    for run in runs[:2]:
        train_here(
            load_recipe(run.run.recipe_name, [*run.run.overrides, "train.images=2"]), run.folder
        )
    changed = SWEEP.replace("cycle=3", "cycle=4")
    Path("tiny.yaml").write_text(changed)
    with pytest.raises(UserError) as caught:
        check_folders(plan(load_sweep("tiny.yaml"), Path("out")))
    first, second = str(caught.value).splitlines()[:2]
    assert runs[0].id in first
    assert "method.weights.cycle is 3 there, 4 in the sweep" in first
    assert "train.images is 2 there, 16 in the sweep" in first
    assert runs[1].id in second
    assert "cycle" not in second.partition("recipe")[2]

    other = plan(sweep, Path("other"))[0]
    other.folder.mkdir(parents=True)
    with pytest.raises(UserError, match=r"exists and is no run: it has no recipe\.yaml"):
        check_folders([other])


def test_what_changes_no_weight_is_no_other_recipe():
    wanted = load_recipe("debug/cyclegan", QUICK)
    there = load_recipe(
        "debug/cyclegan",
        [*QUICK, "data.workers=0", "data.cache=off", "log.every_images=7", "train.compile=off",
         "samples.every_images=5", "description=mine", "provenance={commit: x}"],
    )  # fmt: skip
    assert differences(there, wanted) == {}
    told = load_recipe("debug/cyclegan", [*QUICK, "evaluate.every_images=5"])
    assert differences(told, wanted) == {
        "evaluate.every_images": "evaluate.every_images is 5 there, 0 in the sweep"
    }
    other = load_recipe("debug/cyclegan", [*QUICK, "method.generator=unet"])
    assert any(key.startswith("method.generator.") for key in differences(other, wanted))


# Files for other machines ------------------------------------------------------------------------


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_commands_are_one_a_line_and_understood_by_bash(sweep, tmp_path):
    runs = plan(sweep, Path("a folder; with 'signs'"), cpu=True)
    (file,) = emit("commands", runs, Path("a folder; with 'signs'"), "tiny")
    lines = lines_of(file)
    assert len(lines) == len(runs)
    # Instead of the interpreter: prints the words that it is given.
    shown = "".join(
        line.replace(" -m zoo", " -c 'import sys; print(sys.argv[1:])'") + "\n" for line in lines
    )
    said = subprocess.run(["bash"], input=shown, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [str(run.train_words()) for run in runs]
    runs[0].folder.mkdir(parents=True)
    (runs[0].folder / "recipe.yaml").touch()
    said = subprocess.run(["bash"], input=shown, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[0] == str(runs[0].resume_words())


def test_each_task_of_a_slurm_array_is_one_run(sweep, tmp_path):
    runs = plan(sweep, Path("out"), cpu=True)
    array, commands = emit("slurm", runs, Path("out"), "tiny")
    assert "#SBATCH --array=0-5" in lines_of(array)
    assert len(lines_of(commands)) == 6
    commands.write_text(
        commands.read_text().replace(" -m zoo", " -c 'import sys; print(sys.argv[1:])'")
    )
    for number in (0, 5):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(number)}
        done = subprocess.run(
            ["bash", array], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{runs[number].train_words()}\n"
    for number, code in ((None, 127), (6, 2)):
        environment = {k: v for k, v in os.environ.items() if k != "SLURM_ARRAY_TASK_ID"}
        environment |= {} if number is None else {"SLURM_ARRAY_TASK_ID": str(number)}
        done = subprocess.run(["bash", array], env=environment, capture_output=True, check=False)
        assert done.returncode == code or (number is None and done.returncode > 0)


def test_runs_are_dealt_out_to_hosts(sweep):
    runs = plan(sweep, Path("out"))
    files = emit("hosts", runs, Path("out"), "tiny", ["a", "b:2"])
    assert [file.name for file in files] == ["a.sh", "b.sh"]
    one, two = ([line for line in lines_of(file) if "accelerate" in line] for file in files)
    assert len(one) == len(two) == 3
    assert all("accelerate launch --num_processes 1 " in line for line in one)
    assert all("--num_processes 2 " in line and "--multi_gpu -m zoo train" in line for line in two)
    assert all(run.id in line for run, line in zip(runs[1::2], two, strict=True))
    for hosts, says in (
        ([], "needs --hosts"),
        (["a", "a:2"], "given twice"),
        (["a:x"], "neither a name"),
        (["a:3"], "a batch of 2, which 3 processes cannot share"),
    ):
        with pytest.raises(UserError, match=says):
            emit("hosts", runs, Path("out"), "tiny", hosts)
