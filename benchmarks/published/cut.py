"""The published iteration of CUT and FastCUT: the discriminator, then generator and sampler."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.published.networks import PatchDiscriminator, ResnetGenerator
from benchmarks.published.parts import Result, gan_loss, set_requires_grad

_EXCLUDED = -10.0  # in place of the similarity of a patch to itself


class PatchFeatures(nn.Module):
    """The feature network F: two layers behind each feature map, for chosen positions.

    Args:
        channels: of each feature map.
        width: of both layers.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.count = len(channels)
        for number, inputs in enumerate(channels):
            layers = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
            setattr(self, f"mlp_{number}", layers)

    def forward(self, features: list[Tensor], positions: list[Tensor]) -> list[Tensor]:
        """Rows of length 1, (N P, width) for each map, image by image."""
        found = []
        for number, (maps, where) in enumerate(zip(features, positions, strict=True)):
            if maps.requires_grad:
                # On a CPU at batch 1, torch's instance norm goes wrong with the layout that the
                # next line gives the gradient.
                maps.register_hook(lambda gradient: gradient.contiguous())
            rows = maps.permute(0, 2, 3, 1).flatten(1, 2)[:, where, :].flatten(0, 1)
            rows = getattr(self, f"mlp_{number}")(rows)
            found.append(rows / (rows.norm(dim=1, keepdim=True) + 1e-7))
        return found


class CUT(nn.Module):
    """One generator, one discriminator, one feature network, each with its own Adam.

    Args:
        width: of the generator.
        num_blocks: of the generator.
        discriminator_width: of the discriminator.
        nce_layers: numbers of the generator's layers whose patches are compared.
        num_layers: of the discriminator.
        antialias: in both networks.
        feature_width: of the feature network.
        num_patches: positions drawn for each layer.
        temperature: of the contrastive loss.
        lambda_nce: weight of the contrastive loss.
        nce_idt: contrast real images of B with what the generator makes of them, too.
        flip_equivariance: flip every other input.
        gan_mode: "lsgan" or "vanilla".
    """

    TOTALS = (("G",), ("D",))

    def __init__(
        self,
        width: int,
        num_blocks: int,
        discriminator_width: int,
        nce_layers: Sequence[int] = (0, 4, 8, 12, 16),
        num_layers: int = 3,
        antialias: bool = True,
        feature_width: int = 256,
        num_patches: int = 256,
        temperature: float = 0.07,
        lambda_nce: float = 1.0,
        nce_idt: bool = True,
        flip_equivariance: bool = False,
        gan_mode: str = "lsgan",
    ):
        super().__init__()
        self.G = ResnetGenerator(width, num_blocks, antialias)
        self.D = PatchDiscriminator(3, discriminator_width, num_layers, antialias=antialias)
        with torch.no_grad():  # as published, the feature network takes its sizes from features
            maps = self.G.encode(torch.zeros(1, 3, 32, 32), nce_layers)
        self.F = PatchFeatures([m.shape[1] for m in maps], feature_width)
        self.nce_layers, self.num_patches = list(nce_layers), num_patches
        self.temperature, self.lambda_nce, self.nce_idt = temperature, lambda_nce, nce_idt
        self.flip_equivariance, self.gan_mode = flip_equivariance, gan_mode

    def make_optimizers(self) -> None:
        """Once the module has its device and dtype."""
        self.optimizer_g, self.optimizer_d, self.optimizer_f = self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for network in (self.G, self.D, self.F)
        ]

    def draw_flip(self) -> bool:
        return torch.rand(()).item() < 0.5

    def draw_positions(self, features: list[Tensor]) -> list[Tensor]:
        counts = [maps.shape[2] * maps.shape[3] for maps in features]
        device = features[0].device
        return [torch.randperm(count, device=device)[: self.num_patches] for count in counts]

    def step(self, real_a: Tensor, real_b: Tensor) -> Result:
        """One iteration on images N 3 H W in [-1, 1]."""
        real = torch.cat((real_a, real_b)) if self.nce_idt else real_a
        flipped = self.flip_equivariance and self.draw_flip()
        fake = self.G(real.flip(3) if flipped else real)
        fake_b, idt_b = fake[: len(real_a)], fake[len(real_a) :]
        outputs = {"fake_B": fake_b, "idt_B": idt_b}

        set_requires_grad(self.D, True)
        self.optimizer_d.zero_grad()
        d_fake_loss = gan_loss(self.gan_mode, self.D(fake_b.detach()), False)
        d_real_loss = gan_loss(self.gan_mode, self.D(real_b), True)
        d_loss = (d_fake_loss + d_real_loss) * 0.5
        d_loss.backward()
        self.optimizer_d.step()

        set_requires_grad(self.D, False)
        self.optimizer_g.zero_grad()
        self.optimizer_f.zero_grad()
        g_gan_loss = gan_loss(self.gan_mode, self.D(fake_b), True)
        losses = {"D_fake": d_fake_loss, "D_real": d_real_loss, "D": d_loss, "G_GAN": g_gan_loss}
        losses["NCE"] = both = self._contrast("NCE", real_a, fake_b, flipped, outputs)
        if self.nce_idt:
            losses["NCE_Y"] = self._contrast("NCE_Y", real_b, idt_b, flipped, outputs)
            both = (losses["NCE"] + losses["NCE_Y"]) * 0.5
        losses["G"] = g_gan_loss + both
        losses["G"].backward()
        self.optimizer_g.step()
        self.optimizer_f.step()
        return Result(losses, outputs)

    def _contrast(
        self, name: str, source: Tensor, target: Tensor, flipped: bool, outputs: dict[str, Tensor]
    ) -> Tensor:
        """The contrastive loss, weighed; what it is made of goes to `outputs`."""
        features_q = self.G.encode(target, self.nce_layers)
        if flipped:
            features_q = [maps.flip(3) for maps in features_q]
        features_k = self.G.encode(source, self.nce_layers)
        positions = self.draw_positions(features_k)
        rows_k = self.F(features_k, positions)
        rows_q = self.F(features_q, positions)
        total = torch.zeros((), device=source.device)
        for layer, q, k in zip(self.nce_layers, rows_q, rows_k, strict=True):
            per_patch = self._cross_entropy(q, k.detach(), len(source))
            outputs[f"{name}_per_patch_layer{layer}"] = per_patch
            outputs.setdefault(f"k_pooled_layer{layer}", k)
            outputs.setdefault(f"q_pooled_layer{layer}", q)
            total = total + (per_patch * self.lambda_nce).mean()
        return total / len(self.nce_layers)

    def _cross_entropy(self, q: Tensor, k: Tensor, batch: int) -> Tensor:
        """Of finding k_i for q_i among the patches of the same image, (N P)."""
        positive = (q * k).sum(1, keepdim=True)
        q, k = q.view(batch, -1, q.shape[1]), k.view(batch, -1, k.shape[1])
        negative = torch.bmm(q, k.transpose(1, 2))
        itself = torch.eye(q.shape[1], device=q.device, dtype=torch.bool)[None]
        negative = negative.masked_fill(itself, _EXCLUDED).view(-1, q.shape[1])
        logits = torch.cat((positive, negative), 1) / self.temperature
        target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return F.cross_entropy(logits, target, reduction="none")
