"""The published iteration of U-GAT-IT: discriminators on fresh fakes, then all fakes again."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.published.parts import Result, gan_loss
from benchmarks.published.ugatit_networks import ILN, AdaILN, Discriminator, Generator


class UGATIT(nn.Module):
    """Two generators against a global and a local discriminator in each domain.

    Args:
        width: of the generators.
        num_blocks: of the generators' encoder, and of their decoder.
        size: of the images, pixels.
        light: the generator whose gamma and beta come from averages.
        discriminator_width: of the discriminators.
        global_layers: of the global discriminators.
        local_layers: of the local ones.
        adv: weight of the adversarial losses.
        cycle: weight of the way back.
        identity: weight of what a generator makes of its target domain.
        cam: weight of the generators' own classifiers.
    """

    TOTALS = (("Generator_loss",), ("Discriminator_loss",))

    def __init__(
        self,
        width: int,
        num_blocks: int,
        size: int,
        light: bool,
        discriminator_width: int,
        global_layers: int = 7,
        local_layers: int = 5,
        adv: float = 1.0,
        cycle: float = 10.0,
        identity: float = 10.0,
        cam: float = 1000.0,
    ):
        super().__init__()
        self.genA2B = Generator(width, num_blocks, size, light)
        self.genB2A = Generator(width, num_blocks, size, light)
        self.disGA = Discriminator(discriminator_width, global_layers)
        self.disGB = Discriminator(discriminator_width, global_layers)
        self.disLA = Discriminator(discriminator_width, local_layers)
        self.disLB = Discriminator(discriminator_width, local_layers)
        self.adv, self.cycle, self.identity, self.cam = adv, cycle, identity, cam

    def make_optimizers(self) -> None:
        """Once the module has its device and dtype."""
        settings = {"lr": 1e-4, "betas": (0.5, 0.999), "weight_decay": 1e-4}
        generators = itertools.chain(self.genA2B.parameters(), self.genB2A.parameters())
        discriminators = itertools.chain(
            self.disGA.parameters(),
            self.disGB.parameters(),
            self.disLA.parameters(),
            self.disLB.parameters(),
        )
        self.optimizer_g = torch.optim.Adam(generators, **settings)
        self.optimizer_d = torch.optim.Adam(discriminators, **settings)
        self.optimizers = [self.optimizer_g, self.optimizer_d]

    def step(self, real_a: Tensor, real_b: Tensor) -> Result:
        """One iteration on images N 3 H W in [-1, 1]."""
        losses: dict[str, Tensor] = {}
        self._update_discriminators(real_a, real_b, losses)
        outputs = self._update_generators(real_a, real_b, losses)
        for module in itertools.chain(self.genA2B.modules(), self.genB2A.modules()):
            if isinstance(module, AdaILN | ILN):
                module.rho.data.clamp_(0, 1)
        return Result(losses, outputs)

    def _discriminators(self, side: str) -> dict[str, nn.Module]:
        """The global one first, by the name of its losses."""
        return {
            f"G{side}": getattr(self, f"disG{side}"),
            f"L{side}": getattr(self, f"disL{side}"),
        }

    def _update_discriminators(
        self, real_a: Tensor, real_b: Tensor, losses: dict[str, Tensor]
    ) -> None:
        self.optimizer_d.zero_grad()
        # Not detached: this backward goes through both generators, whose gradients nobody uses.
        fake_a2b, _, _ = self.genA2B(real_a)
        fake_b2a, _, _ = self.genB2A(real_b)
        judges = self._discriminators("A") | self._discriminators("B")
        reals = {"A": real_a, "B": real_b}
        fakes = {"A": fake_b2a, "B": fake_a2b}
        on_real = {name: judge(reals[name[1]]) for name, judge in judges.items()}
        on_fake = {name: judge(fakes[name[1]]) for name, judge in judges.items()}
        for name in judges:
            for kind, head in (("ad", 0), ("ad_cam", 1)):
                key = f"D_{kind}_loss_{name}"
                losses[f"{key}_real"] = gan_loss("lsgan", on_real[name][head], True)
                losses[f"{key}_fake"] = gan_loss("lsgan", on_fake[name][head], False)
                losses[key] = losses[f"{key}_real"] + losses[f"{key}_fake"]
        for side in "AB":
            losses[f"D_loss_{side}"] = self.adv * sum(
                losses[f"D_{kind}_loss_{reach}{side}"]
                for reach in "GL"
                for kind in ("ad", "ad_cam")
            )
        losses["Discriminator_loss"] = losses["D_loss_A"] + losses["D_loss_B"]
        losses["Discriminator_loss"].backward()
        self.optimizer_d.step()

    def _update_generators(
        self, real_a: Tensor, real_b: Tensor, losses: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        self.optimizer_g.zero_grad()
        made = {"fake_A2B": self.genA2B(real_a), "fake_B2A": self.genB2A(real_b)}
        made["fake_A2B2A"] = self.genB2A(made["fake_A2B"][0])
        made["fake_B2A2B"] = self.genA2B(made["fake_B2A"][0])
        made["fake_A2A"] = self.genB2A(real_a)
        made["fake_B2B"] = self.genA2B(real_b)
        image = {name: way[0] for name, way in made.items()}
        cam = {name: way[1] for name, way in made.items()}

        fakes = {"A": image["fake_B2A"], "B": image["fake_A2B"]}
        # Not frozen: this backward makes gradients of the discriminators, cleared before use.
        for name, judge in (self._discriminators("A") | self._discriminators("B")).items():
            logits, cam_logits, _ = judge(fakes[name[1]])
            losses[f"G_ad_loss_{name}"] = gan_loss("lsgan", logits, True)
            losses[f"G_ad_cam_loss_{name}"] = gan_loss("lsgan", cam_logits, True)
        losses["G_recon_loss_A"] = F.l1_loss(image["fake_A2B2A"], real_a)
        losses["G_recon_loss_B"] = F.l1_loss(image["fake_B2A2B"], real_b)
        losses["G_identity_loss_A"] = F.l1_loss(image["fake_A2A"], real_a)
        losses["G_identity_loss_B"] = F.l1_loss(image["fake_B2B"], real_b)
        for side, source, target in (
            ("A", cam["fake_B2A"], cam["fake_A2A"]),
            ("B", cam["fake_A2B"], cam["fake_B2B"]),
        ):
            losses[f"G_cam_loss_{side}_fake"] = gan_loss("vanilla", source, True)
            losses[f"G_cam_loss_{side}_identity"] = gan_loss("vanilla", target, False)
            losses[f"G_cam_loss_{side}"] = (
                losses[f"G_cam_loss_{side}_fake"] + losses[f"G_cam_loss_{side}_identity"]
            )
            losses[f"G_loss_{side}"] = (
                self.adv
                * sum(
                    losses[f"G_{kind}_loss_{reach}{side}"]
                    for reach in "GL"
                    for kind in ("ad", "ad_cam")
                )
                + self.cycle * losses[f"G_recon_loss_{side}"]
                + self.identity * losses[f"G_identity_loss_{side}"]
                + self.cam * losses[f"G_cam_loss_{side}"]
            )
        losses["Generator_loss"] = losses["G_loss_A"] + losses["G_loss_B"]
        losses["Generator_loss"].backward()
        self.optimizer_g.step()

        outputs = dict(image)
        for name, (_, cam_logit, heatmap) in made.items():
            outputs |= {f"{name}_cam_logit": cam_logit, f"{name}_heatmap": heatmap}
        return outputs
