"""A space small enough to train in a second, and weights far from where training starts."""

from __future__ import annotations

import torch

from hwnas.ofa_supernet.network import OfaSupernet
from hwnas.spaces.ofa_mbv3 import Layout
from hwnas.spaces.units import Unit, UnitSpace

TINY = Layout(
    stem=8,
    stem_stride=1,
    first_width=8,
    units=(Unit(8, 1, "relu", False), Unit(16, 2, "h_swish", True)),
    final_expand=16,
    feature_mix=16,
    kernels=(3, 5, 7),
    expansions=(1, 2, 3),
    depths=(1, 2),
    resolutions=(6, 8, 11),
    classes=4,
    in_channels=1,
)


@torch.no_grad()
def scrambled(space: UnitSpace, seed: int = 0) -> OfaSupernet:
    """A supernet none of whose tensors is at its initial value: no matrix is the identity, no variance is 1."""
    supernet = OfaSupernet(space, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for name, tensor in [*supernet.named_parameters(), *supernet.named_buffers()]:
        tensor += 0.2 * torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.1)
    return supernet.eval()
