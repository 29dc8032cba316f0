"""Small networks with random weights, in files as the large ones are published."""

import hashlib
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eval.features import clip, dinov2
from eval.features.vit import Network, _untrained
from eval.metrics import structure
from zoo.downloads import WEIGHTS, Weights

DINO_FILE, CLIP_FILE = "dinov2_vitl14_pretrain.pth", "ViT-L-14-336px.pt"
TINY = {"embed_dim": 8, "depth": 2, "num_heads": 2}


def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put them in the place of the published ones."""
    small = Network(
        architecture="vit_large_patch14_dinov2",
        file=DINO_FILE,
        side=224,
        options={"num_classes": 0, **TINY},
    )
    monkeypatch.setitem(dinov2.NETWORKS, "dinov2-vitl14", small)
    small = Network(
        architecture="vit_large_patch14_clip_quickgelu_336",
        file=CLIP_FILE,
        side=32,
        options={"num_classes": 6, "patch_size": 8, **TINY},
    )
    monkeypatch.setitem(clip.NETWORKS, clip.NAME, small)
    small = Network(
        architecture="vit_base_patch8_224",
        file=structure.NETWORK.file,
        side=32,
        options={"num_classes": 0, **TINY},
    )
    monkeypatch.setattr(structure, "NETWORK", small)


def save_networks(folder: Path) -> None:
    """Write the file of each."""
    torch.save(dino_state(), folder / DINO_FILE)
    save_clip(folder, clip_state())
    shapes = _shapes(structure.NETWORK)
    save_file(random_state(shapes), folder / structure.NETWORK.file)


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(v.shape) for name, v in _untrained(network).state_dict().items()}


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def dino_state() -> dict[str, torch.Tensor]:
    """The tensors of a file as Meta publishes it, of the small network."""
    published = Network(
        architecture="vit_large_patch14_dinov2",
        file=DINO_FILE,
        side=14 * 37,
        options={"num_classes": 0, **TINY},
    )
    return random_state({**_shapes(published), "mask_token": (1, 8)})


def clip_state() -> dict[str, torch.Tensor]:
    """A file's tensors as OpenAI names them, of the small network, with one of the other tower."""
    width, block = 8, "visual.transformer.resblocks"
    shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (17, width),
        "visual.proj": (width, 6),
        "visual.conv1.weight": (width, 3, 8, 8),
        "text_projection": (4, 4),
    }
    for name in (
        "ln_pre",
        "ln_post",
        *(f"transformer.resblocks.{i}.ln_{j}" for i in (0, 1) for j in (1, 2)),
    ):
        shapes |= {f"visual.{name}.weight": (width,), f"visual.{name}.bias": (width,)}
    for i in (0, 1):
        shapes |= {
            f"{block}.{i}.attn.in_proj_weight": (3 * width, width),
            f"{block}.{i}.attn.in_proj_bias": (3 * width,),
            f"{block}.{i}.attn.out_proj.weight": (width, width),
            f"{block}.{i}.attn.out_proj.bias": (width,),
            f"{block}.{i}.mlp.c_fc.weight": (4 * width, width),
            f"{block}.{i}.mlp.c_fc.bias": (4 * width,),
            f"{block}.{i}.mlp.c_proj.weight": (width, 4 * width),
            f"{block}.{i}.mlp.c_proj.bias": (width,),
        }
    return {name: tensor.half() for name, tensor in random_state(shapes).items()}


def save_clip(folder, state: dict[str, torch.Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module_of(state)).save(folder / CLIP_FILE)


def publish(monkeypatch, folder, file: str) -> str:
    """Let the table hold the hash of the file that is there."""
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    known = WEIGHTS[file]
    monkeypatch.setitem(WEIGHTS, file, Weights(**{**known.__dict__, "sha256": digest}))
    return digest


def module_of(state: dict[str, torch.Tensor]) -> nn.Module:
    """A module that holds tensors under their dotted names."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        at.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    return root
