"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hwnas.ofa_supernet.average import MovingAverage


def test_it_forgets_the_start_and_follows_slowly() -> None:
    module = nn.BatchNorm1d(2)
    average = MovingAverage(module, 0.5)
    values = [1.0]
    expected = 1.0
    for step in range(20):
        with torch.no_grad():
            module.weight.fill_(values[-1] + 1)
        values.append(values[-1] + 1)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * values[-1]
        average.update()
    assert average.steps == 20
    assert average.tensors["weight"].tolist() == [pytest.approx(expected, rel=1e-5)] * 2


def test_its_state_has_the_module_s_buffers() -> None:
    module = nn.BatchNorm1d(2)
    average = MovingAverage(module, 0.9)
    module.running_mean.fill_(3)
    with torch.no_grad():
        module.weight.fill_(7)
    state = average.state_dict()
    assert state.keys() == module.state_dict().keys()
    assert state["running_mean"].tolist() == [3, 3]
    assert state["weight"].tolist() == [1, 1]
