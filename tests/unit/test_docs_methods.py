"""The pages of methods, losses and networks: complete, and what they say of the code is so."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
import yaml

from zoo.create import create_method, describe_part, describe_parts
from zoo.protocols import Batch, Shape
from zoo.recipe import list_recipes, load_recipe
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, UserError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {page.stem: page for page in (DOCS / "methods").glob("*.md") if page.stem != "index"}
CHAPTERS = ("Equations", "Parameters that matter", "Recipes", "What it needs", "When it fails")
PUBLISHED = {  # of the column "parameters"
    "bigan": ["maps/bigan"],
    "cogan": ["maps/cogan"],
    "cut": ["horse2zebra/cut"],
    "cyclegan": ["horse2zebra/cyclegan"],
    "discogan": ["edges2shoes/discogan"],
    "dualgan": ["facades/dualgan"],
    "featureloss": ["maps/featureloss"],
    "nicegan": ["horse2zebra/nicegan"],
    "pix2pix": ["facades/pix2pix"],
    "simgan": ["maps/simgan"],
    "ugatit": ["selfie2anime/ugatit", "selfie2anime/ugatit_light"],
}
SMALL = {"resnet": {"width": 4, "num_blocks": 7}, "ugatit": {"width": 4}}  # 7: all of CUT's taps


def load_hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = load_hooks()


def table_rows(text: str) -> list[list[str]]:
    """Cells of all rows of the tables of a page."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


# Links to code.


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_links_to_code_lead_to_the_line(page):
    links = hooks.code_links(page)
    assert len(links) == len(re.findall(r"\]\([^)]*\.py#", page.read_text())), "of another form"
    for link in links:
        line = (ROOT / link.file).read_text().splitlines()[hooks.code_line(link) - 1]
        assert link.quoted in line
        assert link.quoted or re.match(rf"\s*(def|class) {link.symbol.rpartition('.')[2]}\b", line)


def test_a_link_leads_to_the_numbered_line_on_the_page_of_the_file():
    text = "[`return (logits - 1).square().mean()`](../../zoo/losses/lsgan.py#LsganLoss.real_term)"
    shown = hooks.expand(text, "methods/cut.md")
    target, number = re.fullmatch(r"\[`.*`\]\((.*)#__codelineno-0-(\d+)\)", shown).groups()
    assert target == "../source/zoo/losses/lsgan.md"
    lines = (ROOT / "zoo/losses/lsgan.py").read_text().splitlines()
    assert lines[int(number) - 3].strip().startswith("def real_term")


@pytest.mark.parametrize(
    ("file", "symbol", "quoted", "message"),
    [
        ("zoo/losses/lsgn.py", "LsganLoss", "", "no such file"),
        ("zoo/losses/lsgan.py", "LsganLoss.reel_term", "", "no reel_term"),
        ("zoo/losses/lsgan.py", "LsganLoss.real_term", "(logits - 2)", "0 lines"),
        ("zoo/losses/lsgan.py", "LsganLoss.fake_term", "(logits - 1).square()", "0 lines"),
        ("zoo/losses/lsgan.py", "LsganLoss", "(logits - 1).square()", "2 lines"),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(file, symbol, quoted, message):
    with pytest.raises(LookupError, match=re.escape(message)):
        hooks.code_line(hooks.CodeLink(file, symbol, quoted))


# Pages of methods.


def what_is_missing(name: str, text: str) -> list[str]:
    """What the page of a method lacks."""
    part, recipes = describe_part("methods", name), set(list_recipes())
    missing = [chapter for chapter in CHAPTERS if f"\n## {chapter}\n" not in text]
    equations = text.partition("\n## Equations\n")[2].partition("\n## ")[0]
    weights = [f["name"] for f in part["fields"] if f["name"].startswith("weights.")]
    terms = [weight.removeprefix("weights.") for weight in weights]
    missing += [term for term in terms if not re.search(rf"\| `{term}[`/].*\.py#", equations)]
    named = set(re.findall(r"(?:zoo train |`)([a-z0-9_]+/[a-z0-9_/]+)(?=[` ])", text))
    missing += sorted(f"recipe {word}" for word in named - recipes if word not in terms_of(part))
    using = set(part["recipes"])
    for kind in ("toonfaces", "published"):
        folders = {recipe.partition("/")[0] for recipe in named & using}
        if not (folders & {"toonfaces"} if kind == "toonfaces" else folders - {"toonfaces"}):
            missing.append(f"a {kind} recipe of {name}")
    if not re.search(r"^zoo translate \S+ \S+ \S+ --direction a2b$", text, re.MULTILINE):
        missing.append("how to translate")
    return missing


def terms_of(part: dict) -> set[str]:
    weights = [
        f["name"].removeprefix("weights.") for f in part["fields"] if "weights." in f["name"]
    ]
    return {f"{weight}/{side}" for weight in weights for side in ("a", "b", "a2b", "b2a")}


def test_every_method_has_a_page_in_the_menu():
    assert sorted(PAGES) == METHODS.names()
    menu = (ROOT / "mkdocs.yml").read_text()
    assert not [name for name in PAGES if f": methods/{name}.md\n" not in menu]


@pytest.mark.parametrize("name", METHODS.names())
def test_page_of_a_method_is_complete(name):
    assert what_is_missing(name, PAGES[name].read_text()) == []


@pytest.mark.parametrize(
    ("taken", "put", "missing"),
    [
        ("## When it fails", "## Notes", "When it fails"),
        ("`nce/b`", "`nce_b`", None),  # nce/a is still there
        ("`discriminator` |", "`judge` |", "discriminator"),
        ("zoo train horse2zebra/cut ", "zoo train horse2zebra/cats ", "recipe horse2zebra/cats"),
        ("zoo translate", "zoo show", "how to translate"),
    ],
)
def test_a_page_that_lacks_something_is_found_out(taken, put, missing):
    text = PAGES["cut"].read_text()
    assert taken in text
    assert what_is_missing("cut", text.replace(taken, put)) == ([missing] if missing else [])


def test_a_page_with_the_recipes_of_another_method_is_found_out():
    missing = what_is_missing("ugatit", PAGES["cyclegan"].read_text())
    assert {"cam", "a toonfaces recipe of ugatit", "a published recipe of ugatit"} <= set(missing)


# The table of all methods.


def overview() -> dict[str, list[str]]:
    rows = table_rows((DOCS / "methods" / "index.md").read_text())
    return {match[1]: row for row in rows if (match := re.match(r"\[`(\w+)`\]", row[0]))}


def forwards(name: str) -> tuple[int, int]:
    """How many inputs one step of the defaults puts through generators and discriminators."""
    config = METHODS[name].Config()
    slots = {slot: getattr(config, slot).name for slot in ("generator", "discriminator")}
    small = {
        slot: {"name": part, **SMALL.get(part if slot == "generator" else "", {"width": 4})}
        for slot, part in slots.items()
    }
    if name == "featureloss":
        small["features"] = {"name": "self_regularisation"}
    method = create_method(name, (3, 32, 32), (3, 32, 32), **small).train()
    counts, batch = {"generators": 0, "discriminators": 0}, 2

    def count(kind: str):
        def hook(_, inputs, __):
            counts[kind] += len(inputs[0]) // batch  # several inputs may go in one forward

        return hook

    for kind, registry in (("generators", GENERATORS), ("discriminators", DISCRIMINATORS)):
        for module in list(method.modules()):
            if type(module) in [registry[part] for part in registry.names()]:
                for asked in getattr(module, "sides", (module,)):
                    asked.register_forward_hook(count(kind))
    images = torch.rand(2, batch * method.samples_per_step(config), 3, 32, 32)
    after_warmup = 10**9 + 1
    method.step(Batch(*images, step=1, images_seen=after_warmup), lambda player, terms: None)
    return counts["generators"], counts["discriminators"]


@pytest.mark.parametrize("name", METHODS.names())
def test_overview_says_what_the_code_does(name):
    _, _, year, pairs, directions, networks, calls, parameters, _ = overview()[name]
    part, method = describe_part("methods", name), METHODS[name]
    assert int(year) == part["year"]
    assert pairs == ("**yes**" if method.needs == "paired" else "no")
    assert directions == ("both" if "b2a" in method.directions else "a to b")
    assert calls == "{} + {}".format(*forwards(name))
    config = method.Config()
    assert {config.generator.name, config.discriminator.name} <= set(
        re.findall(r"`(\w+)`", networks)
    )
    counted = []
    for recipe in map(load_recipe, PUBLISHED[name]):
        shape = Shape(3, recipe.data.config.size, recipe.data.config.size)
        with torch.device("meta"):
            network = recipe.method.build(shape, shape)
        counted.append(f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f} M")
    assert re.findall(r"[\d.]+ M", parameters) == counted


# Losses and networks.


def unmentioned(names: list[str], text: str) -> list[str]:
    """Names that begin no row of a table."""
    return sorted(set(names) - {row[0].strip("`") for row in table_rows(text)})


def test_every_loss_has_its_equation():
    text = (DOCS / "explanation" / "losses.md").read_text()
    gan, other = text.split("\n## Other losses\n")
    offering = {n: "adversarial" in getattr(LOSSES[n], "offers", ()) for n in LOSSES.names()}
    assert unmentioned([n for n in offering if offering[n]], gan) == []
    assert unmentioned([n for n in offering if not offering[n]], other) == []
    assert unmentioned(["cycle"], gan) == ["cycle"]
    for row in table_rows(text):
        if row[0].strip("`") in LOSSES and row[0] not in ("`zero_centred`", "`wgan`"):
            name = row[0].strip("`")
            assert f"zoo/losses/{name}.py#" in " ".join(row) or "layers" in " ".join(row)


NETWORKS = (DOCS / "reference" / "networks.md").read_text()
COUNTED = [
    (registry, row)
    for registry, chapter in zip(
        (GENERATORS, DISCRIMINATORS), NETWORKS.split("\n## Discriminators\n"), strict=True
    )
    for row in table_rows(chapter)
    if row[0].strip("`") in registry
]


def build(registry, name: str, fields: dict, side: int):
    """A network without numbers, for square images of three channels."""
    part = registry.default(name)
    config = type(part.config)(**fields)
    shape = Shape(3, side, side)
    shapes = [shape]
    if registry is GENERATORS:
        features = Shape(128, side // 4, side // 4)
        shapes = [features if getattr(part.owner, "reads", "") == "features" else shape, shape]
    elif getattr(part.owner, "pairs", False):
        shapes = [shape, shape]
    with torch.device("meta"):
        return part.owner(config, *shapes)


@pytest.mark.parametrize(
    ("registry", "row"), COUNTED, ids=[f"{r.kind} {' '.join(row[:3])}" for r, row in COUNTED]
)
def test_networks_have_the_size_and_least_side_of_their_row(registry, row):
    name, fields = row[0].strip("`"), yaml.safe_load(row[1].strip("`"))
    network = build(registry, name, fields, int(row[2]))
    assert f"{sum(p.numel() for p in network.parameters()):,}" == row[3]
    least = int(row[4])
    build(registry, name, fields, least)
    for smaller in range(1, least):
        with pytest.raises(UserError):
            build(registry, name, fields, smaller)


def test_every_network_has_a_row():
    generators, discriminators = NETWORKS.split("\n## Discriminators\n")
    assert unmentioned(GENERATORS.names(), generators) == []
    assert unmentioned(DISCRIMINATORS.names(), discriminators) == []
    assert unmentioned(["patch"], generators) == ["patch"]


# Terms.


def unnamed_fields(text: str) -> list[str]:
    """Fields of methods that the page of terms does not name."""
    fields = {f["name"] for part in describe_parts("methods") for f in part["fields"]}
    keys = {f if f.startswith("weights.") else f"method.{f}" for f in fields}
    return [key for key in sorted(keys) if not re.search(rf"`{re.escape(key)}[`.:]", text)]


def test_terms_name_every_field_of_every_method():
    text = (DOCS / "reference" / "terms.md").read_text()
    assert unnamed_fields(text) == []
    assert unnamed_fields(text.replace("`method.arch`", "")) == ["method.arch"]
