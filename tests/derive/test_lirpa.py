"""Inside auto_LiRPA, where it is installed: sound and no wider than its own relaxation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ogive.errors import OgiveError


class _Silu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


def _net(act):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, 3))


def test_the_operation_is_bounded_by_our_lines():
    pytest.importorskip("auto_LiRPA")
    from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

    from ogive.derive.lirpa import lirpa

    torch.manual_seed(1)
    x = torch.randn(2, 4)
    near = x[:, None] + (torch.rand(2, 4000, 4) * 2 - 1) * 0.3
    width = {}
    for act in (lambda: lirpa("silu"), _Silu, lambda: lirpa("golu")):
        model = _net(act)
        options = {"optimize_bound_args": {"iteration": 10}}
        bounded = BoundedModule(model, x, bound_opts=options, device="cpu")
        inputs = BoundedTensor(x, PerturbationLpNorm(norm=math.inf, eps=0.3))
        y = model(near)
        for method in ("IBP", "CROWN", "CROWN-Optimized"):
            low, high = bounded.compute_bounds(x=(inputs,), method=method)
            assert (y.amin(1) >= low - 1e-5).all() and (y.amax(1) <= high + 1e-5).all(), method
            width.setdefault(method, []).append(float((high - low).mean()))
    for ours, theirs, _ in width.values():
        assert ours <= theirs
    assert width["CROWN-Optimized"][0] <= width["CROWN"][0]


def test_without_it_the_error_says_what_to_install():
    from ogive.derive import lirpa as module

    try:
        import auto_LiRPA  # noqa: F401
    except ImportError:
        with pytest.raises(OgiveError, match="pip install"):
            module.lirpa("silu")
        return
    assert "silu" in repr(module.lirpa("silu"))
