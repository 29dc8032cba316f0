"""The published iteration of CycleGAN: generators, then discriminators on pooled fakes."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.published.networks import PatchDiscriminator, ResnetGenerator
from benchmarks.published.parts import ImagePool, Result, gan_loss, set_requires_grad


class CycleGAN(nn.Module):
    """G_A maps A to B, G_B maps B to A; D_A judges domain B, D_B domain A.

    Args:
        width: of the generators.
        num_blocks: of the generators.
        discriminator_width: of the discriminators.
        num_layers: of the discriminators.
        gan_mode: "lsgan" or "vanilla".
        lambda_a: weight of the cycle from A.
        lambda_b: weight of the cycle from B.
        lambda_identity: weight of the identity losses, times the cycle's.
        pool_size: of both pools.
    """

    TOTALS = (("G",), ("D_A", "D_B"))  # of the generators, of the discriminators

    def __init__(
        self,
        width: int,
        num_blocks: int,
        discriminator_width: int,
        num_layers: int = 3,
        gan_mode: str = "lsgan",
        lambda_a: float = 10.0,
        lambda_b: float = 10.0,
        lambda_identity: float = 0.5,
        pool_size: int = 50,
    ):
        super().__init__()
        self.G_A = ResnetGenerator(width, num_blocks)
        self.G_B = ResnetGenerator(width, num_blocks)
        self.D_A = PatchDiscriminator(3, discriminator_width, num_layers)
        self.D_B = PatchDiscriminator(3, discriminator_width, num_layers)
        self.gan_mode, self.lambda_identity = gan_mode, lambda_identity
        self.lambda_a, self.lambda_b = lambda_a, lambda_b
        self.fake_a_pool, self.fake_b_pool = ImagePool(pool_size), ImagePool(pool_size)

    def make_optimizers(self) -> None:
        """Once the module has its device and dtype."""
        generators = itertools.chain(self.G_A.parameters(), self.G_B.parameters())
        discriminators = itertools.chain(self.D_A.parameters(), self.D_B.parameters())
        self.optimizer_g = torch.optim.Adam(generators, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(discriminators, lr=2e-4, betas=(0.5, 0.999))
        self.optimizers = [self.optimizer_g, self.optimizer_d]

    def step(self, real_a: Tensor, real_b: Tensor) -> Result:
        """One iteration on images N 3 H W in [-1, 1]."""
        fake_b = self.G_A(real_a)
        rec_a = self.G_B(fake_b)
        fake_a = self.G_B(real_b)
        rec_b = self.G_A(fake_a)
        outputs = {"fake_B": fake_b, "rec_A": rec_a, "fake_A": fake_a, "rec_B": rec_b}

        set_requires_grad(self.D_A, False)
        set_requires_grad(self.D_B, False)
        self.optimizer_g.zero_grad()
        idt_a_loss = idt_b_loss = torch.zeros((), device=real_a.device)
        if self.lambda_identity > 0:
            outputs["idt_A"] = self.G_A(real_b)
            idt_a_loss = F.l1_loss(outputs["idt_A"], real_b) * self.lambda_b * self.lambda_identity
            outputs["idt_B"] = self.G_B(real_a)
            idt_b_loss = F.l1_loss(outputs["idt_B"], real_a) * self.lambda_a * self.lambda_identity
        g_a_loss = gan_loss(self.gan_mode, self.D_A(fake_b), True)
        g_b_loss = gan_loss(self.gan_mode, self.D_B(fake_a), True)
        cycle_a_loss = F.l1_loss(rec_a, real_a) * self.lambda_a
        cycle_b_loss = F.l1_loss(rec_b, real_b) * self.lambda_b
        g_loss = g_a_loss + g_b_loss + cycle_a_loss + cycle_b_loss + idt_a_loss + idt_b_loss
        g_loss.backward()
        self.optimizer_g.step()

        set_requires_grad(self.D_A, True)
        set_requires_grad(self.D_B, True)
        self.optimizer_d.zero_grad()
        outputs["fake_B_pooled"] = self.fake_b_pool.query(fake_b)
        d_a_loss = self._judge(self.D_A, real_b, outputs["fake_B_pooled"])
        outputs["fake_A_pooled"] = self.fake_a_pool.query(fake_a)
        d_b_loss = self._judge(self.D_B, real_a, outputs["fake_A_pooled"])
        self.optimizer_d.step()

        losses = {
            "G_A": g_a_loss,
            "G_B": g_b_loss,
            "cycle_A": cycle_a_loss,
            "cycle_B": cycle_b_loss,
            "idt_A": idt_a_loss,
            "idt_B": idt_b_loss,
            "G": g_loss,
            "D_A": d_a_loss,
            "D_B": d_b_loss,
        }
        return Result(losses, outputs)

    def _judge(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        real_loss = gan_loss(self.gan_mode, discriminator(real), True)
        fake_loss = gan_loss(self.gan_mode, discriminator(fake), False)
        loss = (real_loss + fake_loss) * 0.5
        loss.backward()
        return loss
