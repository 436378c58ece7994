"""Rationals in the place of activations, and low-rank changes of them as all that trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ogive import get
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.tuning import GroupRational, fitted_rational, nora

DRAW = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("name", "spread", "most"), [("silu", 1.0, 1e-5), ("gelu", 1.0, 2e-3), ("tanh", 1.0, 1e-4),
                                                      ("silu", 3.0, 2e-3), ("softplus", 2.0, 1e-3), ("relu", 1.0, 0.03)])  # fmt: skip
def test_the_fit_is_near_under_the_inputs(name, spread, most):
    x = spread * torch.randn(20_000, generator=DRAW, dtype=torch.float64)
    fit = fitted_rational(get(name), x)
    held = spread * torch.randn(5000, generator=DRAW, dtype=torch.float64).clamp(-3.5, 3.5)
    want = get(name)(held)
    error = float((fit(held) - want).square().mean().sqrt() / want.square().mean().sqrt())
    assert error < most
    assert fit.error < most
    a, b = np.array(fit.upper), np.array(fit.lower)
    v = held.numpy()
    byhand = np.polynomial.polynomial.polyval(v, a) / (1 + np.abs(np.polynomial.polynomial.polyval(v, [0, *b])))
    np.testing.assert_allclose(fit(held).numpy(), byhand, rtol=1e-9, atol=1e-12)


def test_the_fit_follows_the_inputs():
    """Far from 0 GELU is a line; there the fit is much nearer than where it bends."""
    x = torch.randn(5000, generator=DRAW, dtype=torch.float64)
    assert fitted_rational(get("gelu"), 0.3 * x + 4.0).error < 0.1 * fitted_rational(get("gelu"), 3 * x).error


def net_and_data(act=nn.GELU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 256), act(), nn.Linear(256, 256), act(), nn.Linear(256, 4)), torch.randn(300, 16)


@pytest.mark.parametrize("act", [nn.GELU, nn.SiLU, nn.Tanh, nn.ReLU, nn.Hardswish])
def test_nothing_moves_at_first_and_little_trains(act):
    net, x = net_and_data(act)
    before, asked = net(x), [p.requires_grad for p in net.parameters()]
    report = nora(net, x, groups=8, rank=2, time=False)
    assert float((net(x) - before).detach().norm() / before.detach().norm()) < 1e-3
    free = sum(p.numel() for p in net.parameters() if p.requires_grad)
    # U and V of numerator and denominator: rank (groups + 6) + rank (groups + 4) a site
    assert free == 2 * (2 * 14 + 2 * 12) == report["parameters that train"].after
    assert free / sum(p.numel() for p in net.parameters()) < 0.01
    report.undo()
    assert torch.equal(net(x), before)
    assert [p.requires_grad for p in net.parameters()] == asked


def test_the_changes_have_the_rank_and_stay_in_their_group():
    net, x = net_and_data(nn.SiLU)
    nora(net, x, groups=8, rank=2, time=False)
    rational = net[1]
    assert isinstance(rational, GroupRational)
    h = net[0](x).detach()
    before = rational(h)
    nn.init.normal_(rational.up_u)
    nn.init.normal_(rational.low_u)
    upper, lower = rational.coefficients()
    assert int(torch.linalg.matrix_rank((upper - rational.upper).detach() / rational.scales)) == 2
    j = 3
    part = slice(j * 32, (j + 1) * 32)
    t = h[:, part]
    p = sum(upper[j, k] * t**k for k in range(6))
    q = sum(lower[j, k] * t ** (k + 1) for k in range(4))
    torch.testing.assert_close(rational(h)[:, part], p / (1 + q.abs()), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        rational.up_u.zero_()
        rational.low_u.zero_()
        rational.up_u[5] = 1.0
    moved = (rational(h) - before).abs().amax(0).detach()
    assert bool((moved[5 * 32 : 6 * 32] > 0).all())
    assert float(moved[: 5 * 32].max()) == float(moved[6 * 32 :].max()) == 0.0


def test_training_them_lowers_a_loss_and_leaves_the_weights():
    net, x = net_and_data()
    y = (x[:, 0].abs() > 0.7).long()
    nora(net, x, groups=16, rank=2, time=False)
    frozen = {n: p.clone() for n, p in net.named_parameters() if not p.requires_grad}
    adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(60):
        loss = functional.cross_entropy(net(x), y)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert len(frozen) == 6
    assert all(torch.equal(p, frozen[n]) for n, p in net.named_parameters() if n in frozen)


def test_convolutions_have_their_channels_in_dimension_one_and_functions_are_found():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3), nn.Linear(8, 3)

        def forward(self, x):
            x = functional.silu(self.b(functional.gelu(self.a(x))))
            return self.c(x.mean((2, 3)))

    torch.manual_seed(0)
    net, x = Net(), torch.randn(8, 3, 9, 9)
    before = net(x)
    report = nora(net, x, groups=8, time=False)
    found = [m for m in net.modules() if isinstance(m, GroupRational)]
    assert [(m.dim, m.channels, m.groups) for m in found] == [(1, 12, 4), (1, 8, 8)]
    assert report["relative change"].after < 1e-3
    torch.testing.assert_close(net(x), before, rtol=1e-2, atol=1e-3)


def test_half_precision_keeps_its_dtype():
    fit = fitted_rational(get("silu"), torch.randn(1000, generator=DRAW, dtype=torch.float64))
    module = GroupRational(fit, 8, 2, 1)
    x = torch.randn(5, 8).bfloat16()
    assert module(x).dtype == torch.bfloat16
    torch.testing.assert_close(module(x).float(), functional.silu(x.float()), rtol=2e-2, atol=1e-2)


def test_what_is_refused():
    net, x = net_and_data()
    with pytest.raises(ParameterError, match="groups=0"):
        nora(net, x, groups=0)
    with pytest.raises(OgiveError, match="no activation to change"):
        nora(nn.Linear(16, 2), x)
    with pytest.raises(InputError, match="inputs that vary"):
        fitted_rational(get("gelu"), torch.zeros(100))
    with pytest.raises(OgiveError, match="not finite"):
        nora(net, torch.full((30, 16), torch.nan))
    with pytest.raises(ParameterError, match="groups divide channels"):
        GroupRational(fitted_rational(get("silu"), torch.randn(100)), 8, 3, 1)
