"""A moving average of weights, which generalises better than the last ones where the learning rate is still high."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WARM_UP = 10
"""Steps t weigh at most (1 + t) / (10 + t), so that the random start is forgotten soon (TensorFlow's rule,
`tf.train.ExponentialMovingAverage` with `num_updates`)."""


class MovingAverage:
    """Of a module's parameters; its buffers are taken as they are."""

    def __init__(self, module: nn.Module, decay: float, steps: int = 0) -> None:
        self._module = module
        self._decay = decay
        self.steps = steps
        self.tensors = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in what a step left."""
        decay = min(self._decay, (1 + self.steps) / (WARM_UP + self.steps))
        now = dict(self._module.named_parameters())
        torch._foreach_lerp_(list(self.tensors.values()), [now[name].detach() for name in self.tensors], 1 - decay)
        self.steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The module's, with averaged parameters."""
        return self._module.state_dict() | self.tensors
