"""The published training steps, layer by layer and in the published order, as a baseline.

They share no code with `zoo`: plain `torch.nn` modules under the references' own parameter names,
`nn.InstanceNorm2d`, `torch.nn.utils.spectral_norm`, padding as modules of its own, Adam as torch
makes it by default. Parity fixtures hold what the references computed; a test runs these steps on
them.
"""
