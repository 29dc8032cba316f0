"""README and documentation say what is so: commands run, links lead somewhere, nothing is missing.

A fenced block behind the comment `<!-- run -->` is run, in the order of the page and in one folder.
`run: small` shrinks the training, `run: first` needs the run runs/first, `run: fails` must end with
exit code 2, `run: slow` is left out of the fast suite (`run: first, slow` is both), and
`run: file NAME` writes the block to a file.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from eval.adaptation.recipe import Adaptation, PublishedScores, Translator
from eval.features import EXTRACTORS
from eval.tasks.data import TASK_DATA, TASK_MODELS
from eval.tasks.train import TaskTraining
from eval.trivial import TRIVIAL
from zoo.cli import app
from zoo.data.toonfaces import ToonFaces
from zoo.data.write import write_folders
from zoo.downloads import WEIGHTS
from zoo.recipe import list_recipes
from zoo.registry import REGISTRIES, Part
from zoo.schema import PerDirection, PerDomain, Recipe
from zoo.sweep import Level, Null, Published, RowRun, SweepFile

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
STEP = ROOT / "docs" / "explanation" / "how_a_step_works.md"
SMALL = [
    "data.size=32",
    "data.workers=0",
    "method.generator={width: 8, num_blocks: 1}",
    "method.discriminator={width: 8, num_layers: 2}",
    "train.images=4",
    "log.every_images=2",
    "samples.every_images=2",
    "checkpoint.every_images=2",
    "evaluate.every_images=4",
]

_BLOCK = re.compile(
    r"^(?:<!-- run(?:: (.+?))? -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    how: str | None  # None: is not run; "": as it is
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        marked = match[0].startswith("<!--")
        found.append(Block((match[1] or "") if marked else None, match[2], match[3]))
    return found


def ids(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# Blocks that are run.


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("docs") / "first"
    result = CliRunner().invoke(app, ["train", "debug/cyclegan", "--out", str(run)])
    assert result.exit_code == 0, result.output
    return run


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The reader's folder: some images, and registries that forget what a page registers."""
    config = ToonFaces.Config(size=32, num_train=6, num_test=6)
    write_folders(ToonFaces(config), 32, tmp_path / "faces")
    shutil.copytree(tmp_path / "faces" / "testA", tmp_path / "photos")
    Image.open(tmp_path / "photos" / "00000.png").save(tmp_path / "photos" / "me.jpg")
    for registry in REGISTRIES.values():
        registry.names()
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(page: Path, folder: Path, first_run: Path, slow: bool = False) -> None:
    for block in blocks(page):
        if block.how is None or ("slow" in block.how and not slow):
            continue
        if "first" in block.how and not Path("runs/first").exists():
            shutil.copytree(first_run, "runs/first")
        if block.how.startswith("file "):
            Path(block.how.removeprefix("file ")).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, ids(page), "exec"), {"__name__": "__main__"})
        else:
            for line in block.text.splitlines():
                run_line(line, block.how)


def run_line(line: str, how: str) -> None:
    words = shlex.split(line, comments=True)
    if not words:
        return
    assert words[0] == "zoo", f"only zoo is run in blocks that are marked: {line}"
    trains = words[1] == "train" and "--resume" not in words and "--dry-run" not in words
    result = CliRunner().invoke(app, [*words[1:], *(SMALL if how == "small" and trains else ())])
    assert result.exit_code == (2 if how == "fails" else 0), f"{line}\n{result.output}"


def pages_with(slow: bool) -> list[Path]:
    marks = {page: [b.how for b in blocks(page) if b.how is not None] for page in PAGES}
    return [page for page, hows in marks.items() if any(("slow" in how) == slow for how in hows)]


@pytest.mark.parametrize("page", pages_with(slow=False), ids=ids)
def test_blocks_run(page, folder, first_run):
    run(page, folder, first_run)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(slow=True), ids=ids)
def test_slow_blocks_run(page, folder, first_run):
    run(page, folder, first_run, slow=True)


# Commands that are only shown.


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """Every `zoo …` of a sh block, without what stands before it."""
    for page in PAGES:
        for block in blocks(page):
            joined = block.text.replace("\\\n", " ")
            for line in joined.splitlines() if block.language == "sh" else ():
                words = shlex.split(line, comments=True)
                if "zoo" in words:
                    yield ids(page), words[words.index("zoo") + 1 :]


def test_shown_commands_exist():
    commands: Any = typer.main.get_command(app).commands
    recipes = set(list_recipes())
    seen = set()
    for page, (name, *words) in shown_commands():
        assert name in commands, f"{page}: zoo {name}"
        seen.add(name)
        command = commands[name]
        if hasattr(command, "commands"):  # a group, such as `zoo study`
            name, *words = words
            assert name in command.commands, f"{page}: zoo {command.name} {name}"
            command = command.commands[name]
        options = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            assert not word.startswith("--") or word in options, f"{page}: zoo {name} {word}"
        if name == "train" and "--resume" not in words:
            recipe = words[0]
            assert recipe in recipes or recipe.endswith(".yaml") or recipe.isupper(), (
                f"{page}: {recipe}"
            )
    assert {"train", "translate", "eval", "report"} <= seen


def test_shown_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        word for page in PAGES for word in re.findall(r"`?\bmake ([a-z-]+)\b`", page.read_text())
    }
    assert {"demo", "test", "setup"} <= shown <= targets


# Links and names of files.


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    inner = {link.partition("#")[0] for link in links if not link.startswith(("http", "#"))}
    missing = [link for link in inner if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_named_exist(page):
    named = set(re.findall(r"[`\s]((?:zoo|eval|recipes|tests|docs)/[\w./]*\w)`", page.read_text()))
    assert not [name for name in named if not (ROOT / name).exists()]


# Completeness.


def test_readme_names_every_part():
    rows = re.findall(r"^\| ([a-z ]+) \| (`.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {kind.replace(" ", ""): set(re.findall(r"`(\w+)`", cell)) for kind, cell in rows}
    assert named == {kind: set(registry.names()) for kind, registry in REGISTRIES.items()}


def recipe_fields(cls: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields of a config, those of parts in its slots left out."""
    hints = get_type_hints(cls, localns=vars(cls))
    for field in fields(cls):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        nested = [h for h in (hint, *get_args(hint)) if is_dataclass(h) and h is not Part]
        nested = [h for h in nested if h not in (PerDomain, PerDirection)]
        for inner in nested:
            many = issubclass(hint, Mapping) if isinstance(hint, type) else "dict" in str(hint)
            yield from recipe_fields(inner, f"{name}.NAME." if many else f"{name}.")
        if not nested:
            yield name


def as_shown(page: str) -> str:
    """A page as the site shows it."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec
    assert spec.loader
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks.expand((ROOT / "docs" / page).read_text(), page)


@pytest.fixture(scope="module")
def reference() -> str:
    """The page of recipes as the site shows it."""
    return as_shown("reference/recipe.md")


def test_reference_has_every_field_of_a_sweep():
    page = as_shown("reference/sweeps.md")
    wanted: dict[str, type] = {"": SweepFile, "rows.LABEL.runs[].": RowRun}
    wanted |= {"published[].": Published, "null.": Null, "level.": Level}
    names = [prefix + field.name for prefix, cls in wanted.items() for field in fields(cls)]
    assert not [name for name in names if f"| `{name}` |" not in page]


def test_reference_has_every_field_of_an_adaptation():
    page = as_shown("reference/adaptation.md")
    wanted: dict[str, type] = {"": Adaptation, "translator.": Translator}
    wanted |= {"training.": TaskTraining, "published[].": PublishedScores}
    names = {prefix + field.name for prefix, cls in wanted.items() for field in fields(cls)}
    assert not [n for n in names - {"training"} if f"| `{n}` |" not in page]
    for registry in (TASK_DATA, TASK_MODELS):
        for name in registry.names():
            chapter = page.partition(f"\n### {registry.kind} `{name}`\n")[2].partition("\n### ")[0]
            config: Any = registry[name]
            assert not [f.name for f in fields(config.Config) if f"| `{f.name}` |" not in chapter]


def test_reference_has_every_field_of_a_recipe(reference):
    names = list(recipe_fields(Recipe))
    assert len(names) > 30
    assert not [name for name in names if f"| `{name}` |" not in reference]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_reference_has_every_field_of_every_part(reference, kind):
    registry = REGISTRIES[kind]
    for name in registry.names():
        chapter = reference.partition(f"\n### {registry.kind} `{name}`\n")[2].partition("\n### ")[0]
        wanted = list(recipe_fields(registry[name].Config))
        assert chapter
        assert not [field for field in wanted if f"| `{field}` |" not in chapter]


@pytest.mark.parametrize("page", ["how-to/weights.md", "reference/files.md"])
def test_pages_have_every_file_of_weights_with_who_states_its_hash(page):
    text = as_shown(page)
    for weights in WEIGHTS.values():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{weights.name}` | [`"))
        for part in (weights.file, weights.url, weights.sha256, weights.hash_source):
            assert part in row


def test_every_metric_and_extractor_with_weights_is_told_what_it_needs():
    page = (ROOT / "docs" / "how-to" / "weights.md").read_text()
    needs = page.partition("## What needs which")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w-]+)`", needs))
    assert named >= {weights.name for weights in WEIGHTS.values()}
    assert named >= {name for name in EXTRACTORS if name != "offline-v1"}


def test_page_of_drawn_faces_names_every_trivial_translator():
    text = (ROOT / "docs" / "explanation" / "toonfaces.md").read_text()
    assert set(TRIVIAL) == set(
        re.findall(r"^\| ([^|]+) \| .* \| (?:no|\*\*yes\*\*) \|$", text, re.M)
    )


def test_explained_step_is_that_of_the_code():
    (step,) = (b.text for b in blocks(STEP) if b.language == "python" and "def step" in b.text)
    code = {line.strip() for line in (ROOT / "zoo/methods/cyclegan.py").read_text().splitlines()}
    shown = [line.strip() for line in step.splitlines()]
    assert not [line for line in shown if line not in code and line != "..." and "# (" not in line]


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            pytest.skip(f"{package} is not installed; the extra `docs` has it")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "-d",
        tmp_path / "site",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train.images" in (tmp_path / "site" / "reference" / "recipe" / "index.html").read_text()
