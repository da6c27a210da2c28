"""Depthwise convolutions give what torch gives, values and gradients, whatever the shapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.ofa_supernet import depthwise


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 8, 24]),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    kernel=st.sampled_from([1, 3, 5, 7, 9, 11]),
    stride=st.sampled_from([1, 2]),
    last=st.booleans(),
)
def test_equals_torch(
    images: int, channels: int, height: int, width: int, kernel: int, stride: int, last: bool
) -> None:
    """In float64, so that only a wrong sum can differ; channels last or not."""
    generator = torch.Generator().manual_seed(height * width + kernel)
    source = torch.randn(images, channels, height, width, generator=generator, dtype=torch.float64)
    source = source.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator, dtype=torch.float64)
    answers = []
    for convolve in (depthwise.convolve, lambda x, w, s: F.conv2d(x, w, None, s, kernel // 2, 1, channels)):
        inputs = source.clone().requires_grad_(), weight.clone().requires_grad_()
        value = convolve(*inputs, stride)
        toward = torch.arange(value.numel(), dtype=torch.float64).view(value.shape).sin()
        answers.append((value, *torch.autograd.grad(value, inputs, toward)))
    for ours, wanted in zip(*answers, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-10)


def test_gradients_in_float32_are_as_near_as_torch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    source, gradient = (torch.randn(16, 32, 14, 14, generator=generator) for _ in range(2))
    exact = depthwise.weight_gradient(gradient.double(), source.double(), 7)
    weight = torch.zeros(32, 1, 7, 7, requires_grad=True)
    [theirs] = torch.autograd.grad(F.conv2d(source, weight, None, 1, 3, 1, 32), [weight], gradient)
    ours = depthwise.weight_gradient(gradient, source, 7)
    assert (ours - exact).abs().max() < 2 * (theirs - exact).abs().max() + 1e-5 * exact.abs().max()


@pytest.mark.parametrize("frozen", ["source", "weight"])
def test_only_what_is_asked_for(frozen: str) -> None:
    source, weight = torch.randn(2, 4, 9, 9), torch.randn(4, 1, 5, 5)
    (weight if frozen == "source" else source).requires_grad_()
    value = depthwise.convolve(source, weight, 1)
    value.sum().backward()
    assert (source.grad is None) == (frozen == "source")
    assert (weight.grad is None) == (frozen == "weight")
