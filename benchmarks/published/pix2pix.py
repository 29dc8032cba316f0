"""The published iteration of pix2pix: the discriminator, then the generator."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.published.networks import PatchDiscriminator, PixelDiscriminator, UnetGenerator
from benchmarks.published.parts import Result, gan_loss, set_requires_grad


class Pix2Pix(nn.Module):
    """Batch norm, a discriminator of pairs.

    Args:
        width: of the generator.
        num_downs: of the generator.
        discriminator_width: of the discriminator.
        num_layers: of the PatchGAN; None is the discriminator of single pixels.
        gan_mode: "lsgan" or "vanilla".
        lambda_l1: weight of the distance to the real image.
    """

    TOTALS = (("G",), ("D",))

    def __init__(
        self,
        width: int,
        num_downs: int,
        discriminator_width: int,
        num_layers: int | None = 3,
        gan_mode: str = "vanilla",
        lambda_l1: float = 100.0,
    ):
        super().__init__()
        self.G = UnetGenerator(width, num_downs)
        self.D = (
            PixelDiscriminator(6, discriminator_width)
            if num_layers is None
            else PatchDiscriminator(6, discriminator_width, num_layers, norm="batch")
        )
        self.gan_mode, self.lambda_l1 = gan_mode, lambda_l1

    def make_optimizers(self) -> None:
        """Once the module has its device and dtype."""
        self.optimizer_g = torch.optim.Adam(self.G.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.D.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizers = [self.optimizer_g, self.optimizer_d]

    def step(self, real_a: Tensor, real_b: Tensor) -> Result:
        """One iteration on images N 3 H W in [-1, 1]."""
        fake_b = self.G(real_a)

        set_requires_grad(self.D, True)
        self.optimizer_d.zero_grad()
        pred_fake = self.D(torch.cat((real_a, fake_b), 1).detach())
        d_fake_loss = gan_loss(self.gan_mode, pred_fake, False)
        pred_real = self.D(torch.cat((real_a, real_b), 1))
        d_real_loss = gan_loss(self.gan_mode, pred_real, True)
        d_loss = (d_fake_loss + d_real_loss) * 0.5
        d_loss.backward()
        self.optimizer_d.step()

        set_requires_grad(self.D, False)
        self.optimizer_g.zero_grad()
        g_gan_loss = gan_loss(self.gan_mode, self.D(torch.cat((real_a, fake_b), 1)), True)
        g_l1_loss = F.l1_loss(fake_b, real_b) * self.lambda_l1
        g_loss = g_gan_loss + g_l1_loss
        g_loss.backward()
        self.optimizer_g.step()

        losses = {
            "D_fake": d_fake_loss,
            "D_real": d_real_loss,
            "D": d_loss,
            "G_GAN": g_gan_loss,
            "G_L1": g_l1_loss,
            "G": g_loss,
        }
        outputs = {"fake_B": fake_b, "pred_fake": pred_fake, "pred_real": pred_real}
        return Result(losses, outputs)
