"""Recipes: what they accept, how they are laid over one another, and what is said of mistakes."""

import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zoo.recipe import (
    RecipeError,
    dump_recipe,
    find_recipe,
    list_recipes,
    load_recipe,
    recipe_description,
    recipes_using,
    to_dict,
)
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part, UserError, part, parts
from zoo.schema import Auto, PerDirection, PerDomain, Recipe
from zoo.typed import merge, to_node

SNAPSHOTS = Path(__file__).parent / "snapshots"


class Tiny:
    """A generator with a field of every type."""

    offers = frozenset({"taps"})

    @dataclass(kw_only=True)
    class Config:
        @dataclass(kw_only=True)
        class Stem:
            kernel: int = 7
            bias: bool = False

        width: Annotated[int, "filters"] = 64
        depth: Annotated[int | Auto, "levels"] = "auto"
        slope: float = 0.2
        label: str = "tiny"
        norm: Literal["instance", "batch", "no"] = "instance"
        limit: float | None = None
        layers: dict[str, int | Auto] = field(default_factory=lambda: {"near": "auto", "far": 3})
        sizes: tuple[int, ...] = (1, 2)
        pair: tuple[int, float] = (1, 0.5)
        names: list[str] = field(default_factory=list)
        stem: Stem = field(default_factory=lambda: Tiny.Config.Stem(kernel=5))

        def __post_init__(self):
            if self.width < 1:
                raise UserError(f"width is {self.width}; at least 1")


class Seeing:
    """A generator that can do more."""

    offers = frozenset({"cam", "taps"})

    @dataclass(kw_only=True)
    class Config:
        depth: int = 2


class Judge:
    """A discriminator."""

    @dataclass(kw_only=True)
    class Config:
        width: int = 8


class Same:
    """A loss."""

    @dataclass(kw_only=True)
    class Config:
        distance: Literal["l1", "l2"] = "l1"


class Dummy:
    """A method."""

    @dataclass(kw_only=True)
    class Config:
        @dataclass(kw_only=True)
        class Weights:
            cycle: PerDomain = PerDomain(10)
            adversarial: PerDirection = PerDirection(1)

        generator: Part = part(GENERATORS, "tiny")
        seer: Part = part(GENERATORS, "seeing", needs={"cam"})
        judges: dict[str, Part] = parts(DISCRIMINATORS, near="judge", far="judge")
        same: Part = part(LOSSES, "same")
        weights: Weights = field(default_factory=Weights)


@pytest.fixture(autouse=True, scope="module")
def _dummies():
    """The classes above, registered for the tests of this file only."""
    with pytest.MonkeyPatch.context() as patch:
        for registry in (GENERATORS, DISCRIMINATORS, LOSSES, METHODS):
            registry.names()
            patch.setattr(registry, "_classes", dict(registry._classes))
        GENERATORS.register("tiny")(Tiny)
        GENERATORS.register("seeing")(Seeing)
        DISCRIMINATORS.register("judge")(Judge)
        LOSSES.register("same")(Same)
        METHODS.register("dummy")(Dummy)
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def load(text: str, *overrides: str) -> Recipe:
    """The recipe of a text, in the working directory as x.yaml."""
    return load_recipe(write(Path("x.yaml"), text), overrides)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides)
    return caught.value.problems


def generator(settings: str, *overrides: str) -> Any:
    recipe = load(f"method: {{name: dummy, generator: {{{settings}}}}}", *overrides)
    return recipe.method.config.generator.config


# Values.


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ("width: 266_800", "width", 266_800),
        ("width: 1e6", "width", 1_000_000),
        ("width: 2.0", "width", 2),
        ("width: 017", "width", 17),
        ("slope: 2e-4", "slope", 2e-4),
        ("slope: 2", "slope", 2.0),
        ("slope: 1_000.5", "slope", 1000.5),
        ("slope: .5", "slope", 0.5),
        ("slope: .inf", "slope", float("inf")),
        ("label: 1:30", "label", "1:30"),
        ("label: 2024-01-31", "label", "2024-01-31"),
        ('label: "no"', "label", "no"),
        ("norm: no", "norm", "no"),
        ("depth: 3", "depth", 3),
        ("depth: auto", "depth", "auto"),
        ("limit: null", "limit", None),
        ("limit: 1e-1", "limit", 0.1),
        ("layers: {near: 4}", "layers", {"near": 4, "far": 3}),
        ("sizes: [3]", "sizes", (3,)),
        ("pair: [3, 1]", "pair", (3, 1.0)),
        ("names: [a, b]", "names", ["a", "b"]),
    ],
)
def test_a_value_has_the_type_of_its_field(folder, written, name, value):
    found = getattr(generator(written), name)
    assert found == value
    assert type(found) is type(value)
    override = f"method.generator.{written.replace(': ', '=', 1)}"
    assert getattr(generator("width: 8", override), name) == value


def test_what_is_not_given_is_the_default(folder):
    assert load("{}") == Recipe()
    assert generator("") == Tiny.Config()
    assert generator("stem: {bias: true}").stem == Tiny.Config.Stem(kernel=5, bias=True)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3", PerDomain(3, 3)),
        ("{a: 3, b: 0}", PerDomain(3, 0)),
        ("{b: 0}", PerDomain(10, 0)),
        ("2e-1", PerDomain(0.2, 0.2)),
    ],
)
def test_weights_per_domain_are_one_number_or_two(folder, written, value):
    weights = load(f"method: {{name: dummy, weights: {{cycle: {written}}}}}").method.config.weights
    assert weights.cycle == value
    assert weights.adversarial == PerDirection(1)


def test_a_part_is_a_name_or_a_mapping(folder):
    config = load("method: {name: dummy, generator: seeing, same: {distance: l2}}").method.config
    assert config.generator == Part(GENERATORS, "seeing", Seeing.Config())
    assert config.same == Part(LOSSES, "same", Same.Config(distance="l2"))


def test_a_mapping_of_parts_is_laid_over_its_defaults(folder):
    config = load("method: {name: dummy, judges: {far: {width: 9}, third: judge}}").method.config
    widths = {key: judge.config.width for key, judge in config.judges.items()}
    assert widths == {"near": 8, "far": 9, "third": 8}


# Laying over.


def test_later_recipes_win_and_this_file_is_last(folder):
    write(folder / "a.yaml", "train: {images: 1, batch: 1, seed: 1}")
    write(folder / "b.yaml", "train: {images: 2, batch: 2}")
    recipe = load("extends: [a.yaml, b.yaml]\ntrain: {images: 3}", "train.precision=bf16")
    train = recipe.train
    assert (train.images, train.batch, train.seed, train.precision) == (3, 2, 1, "bf16")


def test_a_recipe_that_two_others_extend_does_not_undo_the_first(folder):
    write(folder / "common.yaml", "train: {batch: 1}")
    write(folder / "a.yaml", "extends: [common.yaml]\ntrain: {batch: 4}")
    write(folder / "b.yaml", "extends: [common.yaml]\ntrain: {seed: 5}")
    train = load("extends: [a.yaml, b.yaml]").train
    assert (train.batch, train.seed) == (4, 5)


def test_lists_replace(folder):
    assert load("optim: {betas: [0.1, 0.2]}", "optim.betas=[0.3, 0.4]").optim.betas == (0.3, 0.4)


def test_a_new_name_starts_afresh(folder):
    base = "method: {name: dummy, generator: {name: tiny, depth: 7}}"
    config = load(base, "method.generator.name=seeing").method.config
    assert config.generator.config.depth == 2
    config = load(base, "method.generator=seeing").method.config
    assert config.generator.config.depth == 2


def test_the_same_name_or_none_keeps_what_was_set(folder):
    base = "method: {name: dummy, generator: {name: tiny, depth: 7}}"
    for override in ("method.generator.name=tiny", "method.generator=tiny", "train.seed=1"):
        assert load(base, override).method.config.generator.config.depth == 7


def test_settings_laid_over_the_short_form_keep_its_name(folder):
    chosen = load(
        "method: {name: dummy, generator: seeing}", "method.generator.depth=5"
    ).method.config.generator
    assert chosen == Part(GENERATORS, "seeing", Seeing.Config(depth=5))


def test_one_domain_laid_over_a_number_keeps_the_other(folder):
    weights = load(
        "method: {name: dummy, weights: {cycle: 7}}", "method.weights.cycle.a=5"
    ).method.config.weights
    assert weights.cycle == PerDomain(5, 7)


plain_trees = st.recursive(
    st.integers(),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(plain_trees, plain_trees)
def test_merge_is_that_of_nested_dicts(low, high):
    def expected(low, high):
        if not isinstance(low, dict) or not isinstance(high, dict):
            return high
        both = low.keys() & high.keys()
        return {**low, **high, **{key: expected(low[key], high[key]) for key in both}}

    def plain(node):
        inner = node.value
        return {key: plain(inner[key]) for key in inner} if isinstance(inner, dict) else inner

    merged = merge(to_node(low, ""), to_node(high, ""))
    assert plain(merged) == expected(low, high)


# Mistakes.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "dpeth: 3",
            "method.generator.dpeth: Tiny.Config has no field 'dpeth'. Did you mean 'depth'? "
            "Fields: width, depth, slope, label, norm, limit, layers, sizes, pair, names, stem",
        ),
        ("width: 1.5", "method.generator.width: expected a whole number, got 1.5"),
        ("width: yes", "method.generator.width: expected a whole number, got yes (true)"),
        ("width: [1]", "method.generator.width: expected a whole number, got a list"),
        ("width: 0", "method.generator: width is 0; at least 1"),
        ("slope: fast", "method.generator.slope: expected a number, got 'fast'"),
        ("slope: .nan", "method.generator.slope: expected a number, got nan"),
        (
            "label: no",
            "method.generator.label: expected text, got no (false); "
            'to mean the text, put it in quotes: "no"',
        ),
        (
            "label: 3",
            'method.generator.label: expected text, got 3; to mean the text, put it in quotes: "3"',
        ),
        ("label:", "method.generator.label: expected text, got nothing"),
        (
            "norm: insance",
            "method.generator.norm: 'insance' is not a choice. Did you mean 'instance'? "
            "Choices: instance, batch, no",
        ),
        (
            "depth: atuo",
            "method.generator.depth: expected a whole number or 'auto', got 'atuo'. "
            "Did you mean 'auto'?",
        ),
        ("depth: 1.5", "method.generator.depth: expected a whole number or 'auto', got 1.5"),
        ("limit: wide", "method.generator.limit: expected a number, got 'wide'"),
        ("layers: 3", "method.generator.layers: expected a mapping, got 3"),
        (
            "layers: {near: far}",
            "method.generator.layers.near: expected a whole number or 'auto', got 'far'",
        ),
        ("sizes: 3", "method.generator.sizes: expected a list, got 3"),
        ("sizes: [1, x]", "method.generator.sizes[1]: expected a whole number, got 'x'"),
        ("pair: [1]", "method.generator.pair: expected a list of 2 values, got 1"),
        ("stem: 3", "method.generator.stem: expected a mapping, got 3"),
        ("stem: {bias: 1}", "method.generator.stem.bias: expected true or false, got 1"),
    ],
)
def test_a_wrong_field(folder, settings, message):
    text = f"method:\n  name: dummy\n  generator:\n    {settings}\n"
    line = 3 if "at least" in message else 4
    assert problems(text) == [f"x.yaml:{line}: {message}"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "weights: {cylce: 1}",
            "method.weights.cylce: Dummy.Config.Weights has no field 'cylce'. "
            "Did you mean 'cycle'? Fields: cycle, adversarial",
        ),
        (
            "weights: {cycle: {c: 1}}",
            "method.weights.cycle.c: PerDomain has no field 'c'. Fields: a, b",
        ),
        (
            "weights: {cycle: much}",
            "method.weights.cycle: expected a number or a mapping of ['a', 'b'], got 'much'",
        ),
        (
            "generator: 3",
            "method.generator: expected the name of a generator or a mapping, got 3",
        ),
        ("generator: {name: 3}", "method.generator: the mapping of a generator needs a name"),
        ("judges: judge", "method.judges: expected a mapping of discriminators, got 'judge'"),
        ("judges: {third: {}}", "method.judges.third: the mapping of a discriminator needs a name"),
    ],
)
def test_a_wrong_slot_or_weight(folder, settings, message):
    assert problems(f"method:\n  name: dummy\n  {settings}\n") == [f"x.yaml:3: {message}"]


def test_an_unknown_part_is_answered_with_the_nearest_and_the_list(folder):
    (problem,) = problems("method:\n  name: dummy\n  same: smae\n")
    assert problem == (
        "x.yaml:3: method.same: there is no loss 'smae'. Did you mean 'same'? "
        f"Losses: {', '.join(LOSSES.names())}"
    )


def test_a_part_that_lacks_what_the_slot_needs_is_refused(folder):
    (problem,) = problems("method:\n  name: dummy\n  seer: tiny\n")
    able = [name for name in GENERATORS.names() if "cam" in GENERATORS[name].offers]
    assert problem == (
        "x.yaml:3: method.seer: the slot needs 'cam', which the generator 'tiny' does not offer; "
        f"those that do: {', '.join(able)}"
    )


def test_a_field_that_must_be_given(folder):
    assert problems("train: {init: {networks: [ab]}}") == ["x.yaml:1: train.init: Init needs run"]


def test_mistakes_on_the_command_line(folder):
    assert problems("{}", "train", ".x=1", "train.seed=1") == [
        "command line: 'train' is not of the form section.field=value",
        "command line: '.x=1' is not of the form section.field=value",
    ]
    (broken,) = problems("{}", "train.seed=[1")
    assert broken.startswith("command line: not valid YAML: ")
    unknown, wrong = problems("{}", "train.btach=1", "train.seed=x")
    assert unknown.startswith(
        "command line: train.btach: Train has no field 'btach'. Did you mean 'batch'? Fields: "
    )
    assert wrong == "command line: train.seed: expected a whole number, got 'x'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [1", "x.yaml:1: not valid YAML:"),
        ("- 1", "x.yaml:1: expected a mapping of fields"),
        ("train:\n  seed: 1\n  seed: 2", "x.yaml:3: the field 'seed' is given twice, first at x.y"),
        ("train: &x {seed: 1}\nlog: *x", "x.yaml:2: YAML anchors are not supported"),
        ("a: &x [*x]", "x.yaml:1: YAML anchors are not supported"),
        ("train: !!python/object/apply:os.getcwd []", "x.yaml:1: train: expected a mapping, got a"),
        ("train: !!python/name:os.getcwd x", "x.yaml:1: the YAML tag tag:yaml.org,2002:python"),
        ("train: {seed: !!binary eA==}", "x.yaml:1: the YAML tag"),
        ("? [a]\n: 1", "x.yaml:1: a field's name must be text"),
        ("a: 1\n---\nb: 1", "x.yaml:2: not valid YAML:"),
        ("a: \x07", "x.yaml: not valid YAML:"),
        ("extends: [nope]", "x.yaml:1: extends: there is no recipe 'nope'."),
        ("extends: [./nope.yaml]", "x.yaml:1: extends: there is no file nope.yaml."),
        ("extends: [3]", "x.yaml:1: extends: expected names of recipes"),
        ("extends: {a: 1}", "x.yaml:1: extends: expected names of recipes"),
        ("extends: [x.yaml]", "x.yaml:1: extends: a circle: x.yaml -> x.yaml"),
        ("modle: {}", "x.yaml:1: modle: Recipe has no field 'modle'. Did you mean 'method'?"),
        ("plugins: [nope.py]", "x.yaml:1: plugins: plug-in file"),
        ("plugins: nope.py", "x.yaml:1: plugins: expected a list, got 'nope.py'"),
    ],
)
def test_a_file_that_is_no_recipe(folder, text, message):
    assert problems(text)[0].startswith(message)


def test_a_file_that_is_not_text(folder):
    (folder / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(RecipeError, match=r"^x\.yaml: not UTF-8 text"):
        load_recipe("x.yaml")


def test_a_circle_is_shown_whole(folder):
    write(folder / "a.yaml", "extends: [b.yaml]")
    write(folder / "b.yaml", "\nextends: [c.yaml]")
    write(folder / "c.yaml", "extends: [b.yaml]")
    with pytest.raises(RecipeError) as caught:
        load_recipe("a.yaml")
    assert caught.value.problems == ["c.yaml:1: extends: a circle: b.yaml -> c.yaml -> b.yaml"]


def test_every_problem_is_told_at_once_with_its_own_file(folder):
    write(folder / "base.yaml", (SNAPSHOTS / "bad_base.yaml").read_text())
    text = (SNAPSHOTS / "bad_recipe.yaml").read_text()
    with pytest.raises(RecipeError) as caught:
        load(text, "method.weights.cycle.a=lots")
    assert str(caught.value) + "\n" == (SNAPSHOTS / "bad_recipe.txt").read_text()


# Finding.


def test_names_are_looked_up_in_the_working_directory_first(folder):
    assert find_recipe("debug/cyclegan").is_relative_to(Path(__file__).parents[2])
    own = write(folder / "recipes/debug/cyclegan.yaml", "train: {seed: 77}")
    assert find_recipe("debug/cyclegan").resolve() == own
    assert load_recipe("debug/cyclegan").train.seed == 77
    assert load_recipe(own).train.seed == 77


def test_a_missing_recipe_is_answered_with_the_nearest(folder):
    write(folder / "recipes/horse2zebra/mine.yaml", "")
    for name in ("horse2zbra/mine", "horse2zebra/mine.yml", "horse2zebra/mien"):
        with pytest.raises(RecipeError, match="Did you mean 'horse2zebra/mine'"):
            load_recipe(name)


def test_a_run_folder_is_answered_with_its_recipe(folder):
    write(folder / "runs/first/recipe.yaml", "")
    with pytest.raises(RecipeError, match=r"^runs/first is a folder; its recipe is runs/first/re"):
        load_recipe("runs/first")


def test_the_list_has_what_can_be_trained(folder):
    for name in ("_base/x", "accelerate/x", "sweeps/x", "mine/_x", "mine/x"):
        write(folder / f"recipes/{name}.yaml", "description: of mine")
    names = list_recipes()
    assert "mine/x" in names
    assert "debug/cyclegan" in names
    assert not {"_base/x", "accelerate/x", "sweeps/x", "mine/_x"} & set(names)
    assert recipe_description("mine/x") == "of mine"


def test_recipes_that_use_a_part_by_name_or_by_default(folder):
    write(folder / "recipes/mine/by_name.yaml", "method: {name: dummy, generator: seeing}")
    write(folder / "recipes/mine/by_default.yaml", "method: dummy")
    write(folder / "recipes/mine/broken.yaml", "method: {name: dummy, nope: 1}")
    write(folder / "recipes/mine/no_yaml.yaml", "[")
    assert recipes_using(GENERATORS, "tiny") == ["mine/by_default"]
    assert recipes_using(GENERATORS, "seeing") == ["mine/by_default", "mine/by_name"]


# Writing.

_words = st.one_of(
    st.sampled_from(
        ["no", "null", "2e-4", "1:30", "017", "<<", "=", "~", " x", "a: b", "#", "..."]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
_numbers = st.floats(allow_nan=False) | st.integers(-(10**20), 10**20).map(float)
_pairs = st.tuples(_numbers, _numbers) | _numbers.map(lambda x: (x, x))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _numbers | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_tiny = st.builds(
    Tiny.Config,
    width=st.integers(1, 10**15),
    depth=st.integers() | st.just("auto"),
    slope=_numbers,
    label=_words,
    norm=st.sampled_from(["instance", "batch", "no"]),
    limit=st.none() | _numbers,
    layers=st.dictionaries(_words, st.integers(), max_size=2).map(
        lambda layers: {"near": "auto", "far": 3, **layers}
    ),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    names=st.lists(_words, max_size=3),
)
_dummy = st.builds(
    lambda tiny, domain, direction, keys: Dummy.Config(
        generator=Part(GENERATORS, "tiny", tiny),
        judges={
            key: Part(DISCRIMINATORS, "judge", Judge.Config()) for key in ["near", "far", *keys]
        },
        weights=Dummy.Config.Weights(
            cycle=PerDomain(*domain), adversarial=PerDirection(*direction)
        ),
    ),
    _tiny,
    _pairs,
    _pairs,
    st.lists(st.text(string.ascii_letters, min_size=1, max_size=4), max_size=2),
)


@given(description=_words, config=_dummy, provenance=st.dictionaries(_words, _json, max_size=3))
def test_a_recipe_is_read_back_as_it_was_written(tmp_path_factory, description, config, provenance):
    recipe = Recipe(
        description=description, method=Part(METHODS, "dummy", config), provenance=provenance
    )
    text = dump_recipe(recipe)
    again = load_recipe(write(tmp_path_factory.getbasetemp() / "again.yaml", text))
    assert again == recipe
    assert dump_recipe(again) == text


def test_the_written_recipe_is_complete_plain_and_in_order(folder):
    recipe = load("method: {name: dummy, weights: {cycle: {a: 1}}}\ntrain: {images: 2_000_000}")
    text = dump_recipe(recipe)
    assert yaml.safe_load(text) == to_dict(recipe)
    assert list(to_dict(recipe)) == [name for name in vars(recipe) if name != "provenance"]
    assert "  images: 2000000\n" in text
    assert "  betas: [0.5, 0.999]\n" in text
    assert "    cycle:\n      a: 1\n      b: 10\n    adversarial: 1\n" in text
    assert "!!" not in text


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.batch=0", "train.batch: 0 is too small; at least 1"),
        ("train.images=-4", "train.images: -4 is too small; at least 1"),
        ("optim.lr=-1e-4", "optim.lr: -0.0001 is too small; at least 0"),
        ("optim.betas=[0.5, 1.2]", "optim.betas: 1.2 is too large; at most 1"),
        ("data.flip=2", "data.flip: 2 is too large; at most 1"),
        ("samples.num_images=0", "samples.num_images: 0 is too small; at least 1"),
    ],
)
def test_numbers_out_of_bounds_are_refused(override, problem):
    with pytest.raises(RecipeError) as caught:
        load_recipe("debug/cyclegan", [override])
    assert caught.value.problems == [f"command line: {problem}"]
