"""Reading parity fixtures and comparing with them; fixtures/README.md describes the files."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.convert.naming import Net

FIXTURES = Path(__file__).parent / "fixtures"

TESTED = frozenset(
    {
        "cut_nets",
        "cut_step",
        "cyclegan_nets",
        "cyclegan_step",
        "discogan_nets",
        "discogan_step",
        "features",
        "image_pool",
        "metrics",
        "nicegan_nets",
        "nicegan_step",
        "pix2pix_step",
        "ugatit_nets",
        "ugatit_step",
        "uvcgan2",
    }
)

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Case:
    """One `<case>.json`, and `<case>.safetensors` beside it."""

    path: Path
    family: str
    name: str

    @property
    def id(self) -> str:
        """Folder, family and name: what the summary counts."""
        return f"{self.path.parent.parent.name}/{self.family}/{self.name}"

    @cached_property
    def facts(self) -> dict:
        """The JSON."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def config(self) -> dict:
        """How the reference was configured."""
        return self.facts["config"]

    @cached_property
    def arrays(self) -> dict[str, Tensor]:
        """Every array as stored."""
        return load_file(self.path.with_suffix(".safetensors"))

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The arrays whose key starts with `prefix/`, without it."""
        start = f"{prefix}/"
        return {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)}

    def input(self, name: str, dtype: torch.dtype) -> Tensor:
        """`input/<name>`."""
        return self.arrays[f"input/{name}"].to(dtype)


def all_cases(given: str | None) -> list[Case]:
    """The cases of the repository and, if `given` is a folder's name, those below it."""
    return find_cases(FIXTURES) + (find_cases(Path(given)) if given else [])


def find_cases(folder: Path) -> list[Case]:
    """Every case below `folder`, in order."""
    cases = []
    for path in sorted(folder.rglob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(facts, dict) and "family" in facts and "case" in facts:
            cases.append(Case(path, facts["family"], facts["case"]))
    return cases


def load_nets(case: Case, module: nn.Module, nets: dict[str, Net]) -> None:
    """Load the starting weights of every network of the case, all of them and nothing else."""
    assert sorted(nets) == case.facts["keys"]["nets"]
    state = {net(k): v for name, net in nets.items() for k, v in case.under(name).items()}
    module.load_state_dict(state, strict=True)


class Comparison:
    """Deviations from a case as fractions of their limits; `finish` fails for any above 1.

    Args:
        case: the expected values.
        dtype: of the run that is compared; it chooses the tolerances.
    """

    def __init__(self, case: Case, dtype: torch.dtype):
        self.case = case
        self.double = dtype == torch.float64
        facts = case.facts
        self.tolerance = (self.double and facts.get("tolerance_float64")) or facts["tolerance"]
        self.drifts = "widened" in facts["tolerance"]  # rounding decides signs in float32 runs
        self.fractions: dict[str, float] = {}

    def output(self, name: str, got: Tensor) -> None:
        """`out/<name>`."""
        limit = self.tolerance["outputs"][name]
        self._arrays(f"out/{name}", got, limit)

    def gradients(self, mode: str, gradients: dict[str, Tensor | None]) -> None:
        """Of one mode or step, by reference name or `input/x`: stored arrays and all norms."""
        for key in self.case.under("grad"):
            if key.startswith(f"{mode}:"):
                gradient = gradients[key.removeprefix(f"{mode}:")]
                assert gradient is not None, f"no gradient for {key}"
                self._arrays(f"grad/{key}", gradient, self.tolerance["grads"][key])
        if not self.double and mode.startswith("step") and mode != "step0" and self.drifts:
            return  # a flipped sign has moved the weights by more than the norms' 1e-3
        norms = self.case.facts["grad_norms"][mode]
        largest: dict[str, float] = {}
        for name, norm in norms.items():
            net = name.partition("/")[0]
            largest[net] = max(largest.get(net, 0.0), norm or 0.0)
        for name, norm in norms.items():
            gradient, key = gradients[name], f"grad_norm/{mode}:{name}"
            if norm is None:
                self.fractions[key] = 0.0 if gradient is None else float("inf")
                continue
            assert gradient is not None, f"no gradient for {name}"
            got, top = float(gradient.norm()), largest[name.partition("/")[0]]
            if top == 0.0:  # all units are dead
                self.fractions[key] = 0.0 if got == 0.0 else float("inf")
            elif norm < 1e-5 * top:  # rounding noise around an exact zero
                self.fractions[key] = got / (1e-4 * top)
            else:
                # float32 adds noise of the size of the network's other gradients
                noise = 1e-6 * top if self.drifts and not self.double else 0.0
                self.fractions[key] = abs(got - norm) / max(1e-3 * norm, noise)

    def losses(self, values: dict[str, list[float]]) -> None:
        """Every value of `losses`, one an iteration."""
        facts = self.case.facts
        expected = facts["losses_float64"] if self.double else facts["losses"]
        assert sorted(values) == sorted(expected)
        for name, want in expected.items():
            limits = [1e-6] * len(want) if self.double else self.tolerance["losses_relative"][name]
            for t, (g, w, limit) in enumerate(zip(values[name], want, limits, strict=True)):
                fraction = abs(g - w) / (limit * abs(w)) if w else (0.0 if g == 0 else float("inf"))
                self.fractions[f"loss/{name}[{t}]"] = fraction

    def buffers_after(self, module: nn.Module, nets: dict[str, Net]) -> None:
        """`after/` of a network case: only buffers, within 1e-6."""
        state = module.state_dict()
        for name, net in nets.items():
            for key in self.case.under(f"after/{name}"):
                self._arrays(f"after/{name}/{key}", state[net(key)], 1e-6)

    def state_after(self, module: nn.Module, nets: dict[str, Net]) -> None:
        """`after/` of a step case, and `after64/` where that was computed and this run is sharp."""
        state, ignored = module.state_dict(), set(self.case.facts["ignore_after"])
        for name, net in nets.items():
            for key in self.case.under(f"after/{name}"):
                full = f"{name}/{key}"
                if full in ignored:
                    continue
                got = state[net(key)]
                if not got.is_floating_point():  # a count
                    same = torch.equal(got, self.case.arrays[f"after/{full}"])
                    self.fractions[f"after/{full}"] = 0.0 if same else float("inf")
                    continue
                limit = self.tolerance["after"][full]
                self._arrays(f"after/{full}", got, limit["max"])
                mean = (got.double() - self.case.arrays[f"after/{full}"].double()).abs().mean()
                self.fractions[f"after mean/{full}"] = float(mean) / limit["mean"]
                if self.double and f"after64/{full}" in self.case.arrays:
                    self._arrays(f"after64/{full}", got, 2e-7)

    def finish(self) -> None:
        """Fail for deviations above their limits and for expected values that were not compared."""
        kinds = ("out/", "grad/", "after/", "after64/" if self.double else "out/")
        ignored = {f"{kind}{k}" for k in self.case.facts.get("ignore_after", ()) for kind in kinds}
        expected = {k for k in self.case.arrays if k.startswith(kinds)} - ignored
        assert not expected - set(self.fractions), "not compared"
        wrong = {k: f for k, f in self.fractions.items() if not f <= 1}
        worst = sorted(wrong, key=lambda k: -wrong[k])[:10]
        lines = [f"{key}: {wrong[key]:.3g} of the limit" for key in worst]
        assert not wrong, f"{len(wrong)} of {len(self.fractions)} too far:\n" + "\n".join(lines)

    def worst(self) -> float:
        """The largest fraction of a limit."""
        return max(self.fractions.values())

    def _arrays(self, key: str, got: Tensor, limit: float) -> None:
        want = self.case.arrays[key].double()
        assert got.shape == want.shape, f"{key} is {tuple(got.shape)}, not {tuple(want.shape)}"
        self.fractions[key] = float((got.detach().double() - want).abs().max()) / limit
