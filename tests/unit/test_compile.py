"""`train.compile`: how many graphs, what they compute, and what happens where there can be none.

Backends that compute a graph as it was traced, or as it was differentiated, stand in for the one
that writes C++; the slow tests are of that one.
"""

import contextlib
import copy
import logging

import pytest
import torch
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.backends.debugging import aot_eager
from torch._inductor import config as inductor

from tests.training import (
    assert_same_run,
    final_state,
    metrics,
    recipe_of,
    train_here,
)
from zoo.compiling import pays
from zoo.discriminators.patch import PatchDiscriminator
from zoo.discriminators.ugatit import UgatitDiscriminator
from zoo.generators.resnet import ResnetGenerator
from zoo.layers import compiled
from zoo.layers.adversarial import frozen
from zoo.layers.blur import BlurDown, BlurUp
from zoo.layers.compiled import compile_regions, uncompiled
from zoo.layers.conv import SpectralConv2d
from zoo.layers.conv_forms import Conv2d, ConvTranspose2d, UpConv2d
from zoo.layers.penalty import norm_penalty
from zoo.layers.together import together
from zoo.losses.lsgan import LsganLoss
from zoo.protocols import Batch, Shape
from zoo.recipe import load_recipe
from zoo.trainer import Trainer
from zoo.translation import load_run

SHAPE = Shape(3, 32, 32)
BUSY = (  # something between any two steps
    "log.every_images=2",
    "samples.every_images=4",
    "samples.num_images=1",
    "evaluate.every_images=2",
    "checkpoint.every_images=4",
)


@pytest.fixture
def graphs(monkeypatch):
    """Every graph that is compiled, by a backend that computes it as traced."""
    made = []

    def count(graph, inputs):
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "_backend", count)
    yield made
    torch.compiler.reset()


@pytest.fixture
def differentiated(monkeypatch):
    """Graphs of forward and backward, as the real backend gets them."""
    made = []

    def count(graph, inputs):
        made.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(compiled, "_backend", count)
    yield made
    torch.compiler.reset()


def images(count=1, size=32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=rng) * 2 - 1


def terms(run):
    return [line["terms"] for line in metrics(run) if "terms" in line]


def patch():
    torch.manual_seed(0)
    return PatchDiscriminator(PatchDiscriminator.Config(width=2, num_layers=1), SHAPE)


class Region(nn.Module):
    """A network that is one region and counts its forwards."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1, 1))
        self.register_buffer("forwards", torch.zeros(()))

    def regions(self):
        return [self]

    def forward(self, x):
        with torch.no_grad():
            self.forwards.add_(1)
        return self.weight * x


# How many graphs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "precision"),
    [("cyclegan", "no"), ("ugatit", "bf16"), ("cut", "no"), ("pix2pix", "no")],
)
def test_a_training(method, precision, graphs, tmp_path):
    """No graph is new after the second step, whatever is in between; values are the uncompiled."""
    counts, outputs = [], []

    def evaluate(translate, images_seen):
        counts.append(len(graphs))
        outputs.append(translate(images(3), "a2b"))
        return {}

    words = [*BUSY, "train.images=7", f"train.precision={precision}"]  # a last step beyond these
    recipe = recipe_of(method, *words, "train.compile=on")
    run = train_here(recipe, tmp_path / "on", evaluate=evaluate)
    assert len(counts) == 4
    assert counts[0] > 0
    assert counts[1:] == [counts[1]] * 3
    assert len(graphs) == counts[1]  # nor is one made for grids and scores
    assert torch.equal(outputs[-1], load_run(run).translate(images(3), "a2b"))

    plain = train_here(recipe_of(method, *words, "train.compile=off"), tmp_path / "off")
    assert len(graphs) == counts[1]
    tolerance = 0.05 if precision == "bf16" else 1e-3
    for line, reference in zip(terms(run), terms(plain), strict=True):
        assert line == pytest.approx(reference, rel=tolerance)
    assert final_state(run).keys() == final_state(plain).keys()  # names of weights, too


def test_another_size_asks_for_new_graphs(graphs, tmp_path):
    trainer = Trainer(recipe_of("cut", "train.compile=on"), tmp_path / "run", None, cpu=True)
    for step, size in enumerate([32, 64, 32]):
        batch = Batch(images(2, size), images(2, size, 1), step, 2 * step)
        before = len(graphs)
        trainer.update.start(batch)
        trainer.update.step(batch)
        assert (len(graphs) > before) == (step < 2), step


def test_equal_blocks_share_a_graph(graphs):
    config = ResnetGenerator.Config(width=4, num_blocks=5)
    one, other = (ResnetGenerator(config, SHAPE, SHAPE) for _ in range(2))
    assert compile_regions([one, other]) == 10
    one(images()).image.sum().backward()
    other(images()).image.sum().backward()
    assert len(graphs) == 1


def test_two_graphs_for_a_judge(differentiated):
    """One learns; the other one's backward has the images' gradient alone to compute."""
    judge, loss = patch(), LsganLoss(LsganLoss.Config())
    compile_regions([judge])
    for seed in range(3):
        fake = images(seed=seed).requires_grad_()
        loss.fool(judge, fake, images()).backward()
        assert fake.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in judge.parameters())
        said = judge(images())
        sum(head.sum() for head in said.logits).backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in judge.parameters())
        judge.zero_grad(set_to_none=True)
    assert len(differentiated) == 2


def test_spectral_layers_take_one_input_or_several(graphs):
    torch.manual_seed(0)
    config = UgatitDiscriminator.Config(width=4)
    judge = UgatitDiscriminator(config, SHAPE)
    plain = copy.deepcopy(judge)
    compile_regions([judge])
    counts = []
    for _ in range(3):
        for network in (judge, plain):
            with frozen(network):
                network(images())
            together(network, images(), images(seed=1))
        counts.append(len(graphs))
    assert counts == [2, 2, 2]  # judging and learning; both branches are as deep at this size
    for (name, ours), theirs in zip(judge.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name


# What they compute ------------------------------------------------------------------------------


def test_resuming_changes_nothing(graphs, tmp_path):
    words = ["train.compile=on", "ema.halflife_images=5"]
    whole = train_here(recipe_of("pix2pix", *words, "train.images=8"), tmp_path / "whole")
    count = len(graphs)
    run = train_here(recipe_of("pix2pix", *words, "train.images=4"), tmp_path / "run")
    train_here(load_recipe(run / "recipe.yaml", ["train.images=8"]), run, resume=True)
    assert_same_run(run, whole)
    assert len(graphs) == 3 * count > 0


def test_copies_and_names_are_those_of_the_network(graphs):
    judge = patch()
    keys = list(judge.state_dict())
    compile_regions([judge])
    judge(images())
    twin = copy.deepcopy(judge)
    assert list(judge.state_dict()) == list(twin.state_dict()) == keys
    count = len(graphs)
    twin(images(2))
    assert len(graphs) == count == 1  # a copy is not compiled
    with uncompiled(judge):
        judge(images(2))
    assert len(graphs) == 1
    judge(images(2))
    assert len(graphs) == 2


def test_penalties_go_through_the_uncompiled_forward(differentiated):
    judge = patch()
    plain = copy.deepcopy(judge)
    compile_regions([judge])
    judge(images())
    for network in (judge, plain):
        norm_penalty(network, images(), centre=1).backward()
    for ours, theirs in zip(judge.parameters(), plain.parameters(), strict=True):
        if theirs.grad is None:  # a last bias: the gradient of a sum does not depend on it
            assert ours.grad is None
        else:
            assert torch.equal(ours.grad, theirs.grad)
    assert len(differentiated) == 1

    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(x).logits[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SpectralConv2d(256, 512, 4), (2, 256, 5, 5)),  # a matrix product, with sigma
        (Conv2d(256, 512, 4, stride=2, padding=1), (2, 256, 4, 4)),
        (ConvTranspose2d(256, 256, 4, stride=2, padding=1), (2, 256, 3, 3)),
        (Conv2d(8, 3, 7), (2, 8, 12, 12)),  # by columns
        (UpConv2d(4, 4, bias=True), (2, 4, 6, 6)),
        (BlurDown(3), (2, 3, 8, 8)),
        (BlurUp(3), (2, 3, 8, 8)),
    ],
    ids=["spectral", "product", "transposed", "columns", "doubled", "blur_down", "blur_up"],
)
def test_every_form_of_a_convolution_is_compiled(layer, shape, differentiated, caplog):
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = copy.deepcopy(layer)

        def regions(self):
            return [self]

        def forward(self, x):
            return self.layer(x)

    torch.manual_seed(0)
    ours = Whole()
    plain = copy.deepcopy(ours)
    compile_regions([ours])
    x = torch.randn(shape)
    found = []
    with caplog.at_level(logging.WARNING, "zoo"):
        for network in (ours, plain):
            image = x.clone().requires_grad_()
            network(image).square().mean().backward()
            found.append([image.grad, *(parameter.grad for parameter in network.parameters())])
    assert caplog.records == []
    assert len(differentiated) == 1
    for got, want in zip(*found, strict=True):
        assert torch.allclose(got, want, rtol=1e-4, atol=1e-6)


def test_convolutions_on_tiles_are_in_the_graph(differentiated):
    """The form of many channels, whose gradient is written by hand (`zoo.layers.winograd`)."""

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = Conv2d(128, 128, 3)

        def regions(self):
            return [self]

        def forward(self, x):
            return self.conv(x)

    torch.manual_seed(0)
    ours = Wide()
    plain = copy.deepcopy(ours)
    compile_regions([ours])
    x = torch.randn(1, 128, 26, 26)
    for network in (ours, plain):
        network(x).square().mean().backward()
    calls = [str(node.target) for node in differentiated[0].graph.nodes]
    assert not any("conv2d" in call for call in calls)
    assert torch.allclose(ours.conv.weight.grad, plain.conv.weight.grad, atol=1e-6)


# Where there can be none ------------------------------------------------------------------------


def failing_backward(graph, inputs):
    def fail(*_):
        raise ValueError("no backward today")

    return aot_autograd(fw_compiler=lambda graph, _: graph.forward, bw_compiler=fail)(graph, inputs)


def failing(graph, inputs):
    raise ValueError("no graph today")


@pytest.mark.parametrize(
    ("backend", "cause"),
    [(failing, "ValueError: no graph today"), (failing_backward, "ValueError: no backward today")],
)
def test_a_failing_compiler_is_named_and_changes_nothing(
    backend, cause, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: backend)
    words = ["train.images=4"]
    with caplog.at_level(logging.WARNING, "zoo"):
        ours = train_here(recipe_of("cyclegan", *words, "train.compile=on"), tmp_path / "on")
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("train.compile: ResidualBlock cannot be compiled, so training goes")
    assert message.endswith(cause)
    plain = train_here(recipe_of("cyclegan", *words, "train.compile=off"), tmp_path / "off")
    assert_same_run(ours, plain)


def test_without_a_c_compiler(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network = Region()
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        compile_regions([network])
        with caplog.at_level(logging.WARNING, "zoo"):
            assert torch.equal(network(images()), images())
            network(images())
    (record,) = caplog.records
    assert "Region cannot be compiled" in record.getMessage()
    assert "no-such-compiler" in record.getMessage() or "CxxCompiler" in record.getMessage()
    assert network.forwards == 2


def test_what_cannot_be_one_graph_runs_as_written(graphs, caplog):
    class Speaking(Region):
        def forward(self, x):
            y = super().forward(x)
            return y if float(y.detach().mean()) > 9 else -y  # the host must look

    network, judge = Speaking(), patch()
    compile_regions([judge, network])
    with caplog.at_level(logging.WARNING, "zoo"):
        for n in range(1, 4):
            assert torch.equal(network(images()), -images())
            assert network.forwards == n
        judge(images())
    (record,) = caplog.records
    assert "Speaking cannot be compiled" in record.getMessage()
    assert graphs == []


def test_wrong_images_are_still_refused_in_words(graphs):
    judge = patch()
    compile_regions([judge])
    with pytest.raises(Exception, match="images of 4 x 4 pixels"):
        judge(images(1, 4))


def test_a_method_whose_networks_declare_nothing_is_told_of(tmp_path, caplog):
    recipe = recipe_of("cogan", "train.compile=on")
    with caplog.at_level(logging.WARNING, "zoo"):
        Trainer(recipe, tmp_path / "run", None, cpu=True)
    (record,) = caplog.records
    assert record.getMessage().startswith("train.compile is on, but no network of cogan declares")


# The switch -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "meaning"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_the_switch_is_written_as_yaml_has_it(word, meaning, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(f"train: {{compile: {word}}}\n")
    assert load_recipe(file).train.compile == meaning
    assert load_recipe("demo", [f"train.compile={word}"]).train.compile == meaning


def test_auto_is_decided_once_and_recorded(tmp_path):
    run = train_here(recipe_of("cyclegan", "train.images=2"), tmp_path / "run")
    assert load_recipe(run / "recipe.yaml").train.compile == "off"


def test_auto_goes_by_the_pixels_of_a_run_on_a_gpu():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert pays(50_000, 256, gpu)
    assert not pays(49_999, 256, gpu)
    assert pays(12_500, 512, gpu)
    assert not pays(400_000, 64, gpu)
    assert not pays(10**9, 1024, cpu)


# The real backend -------------------------------------------------------------------------------


@pytest.fixture
def inductor_alone(monkeypatch, tmp_path):
    """Its graphs are written to a folder of the test, by this process."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with inductor.patch(compile_threads=1):
        yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_really_compiled_and_resumed(precision, inductor_alone, tmp_path, caplog):
    """Three small graphs: a residual block, a judge that learns, one that only judges."""
    words = ["log.every_images=2", "method.weights.identity=0", f"train.precision={precision}"]
    words += ["method.generator.width=4", "method.discriminator={width: 4, num_layers: 1}"]

    def trained(name, images_seen, switch):
        recipe = recipe_of("cyclegan", *words, f"train.images={images_seen}")
        recipe.train.compile = switch
        with caplog.at_level(logging.WARNING, "zoo"):
            return train_here(recipe, tmp_path / name)

    whole, run = trained("whole", 12, "on"), trained("run", 6, "on")
    train_here(load_recipe(run / "recipe.yaml", ["train.images=12"]), run, resume=True)
    assert [r for r in caplog.records if r.name == "zoo.compile"] == []  # nothing fell back
    assert_same_run(run, whole)
    plain = trained("plain", 12, "off")
    for ours, reference in zip(terms(whole), terms(plain), strict=True):
        assert ours == pytest.approx(reference, rel=0.05 if precision == "bf16" else 1e-3)
    if precision == "no":
        assert terms(whole)[0] == pytest.approx(terms(plain)[0], rel=1e-5)


@pytest.mark.slow
def test_really_compiled_dropout_draws_the_same(inductor_alone):
    class Dropping(Region):
        def forward(self, x):
            return nn.functional.dropout(self.weight * x, 0.5)

    network = Dropping()
    compile_regions([network])
    outputs = []
    for switch in (contextlib.nullcontext(), uncompiled(network)):
        torch.manual_seed(3)
        with switch:
            outputs.append(network(images()))
    assert network._compiled_call_impl is not None
    assert torch.equal(*outputs)
