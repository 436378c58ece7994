"""Residual blocks: certified contraction, inverse, log-determinants, densities."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive.layers.norm_bound import spectral_bound
from ogive.layers.residual_flow import ResidualBlock


def block(act="lipswish", scale=10.0, seed=0, **more):
    torch.manual_seed(seed)
    made = ResidualBlock(2, (16, 16), act, dtype=torch.float64, **more)
    with torch.no_grad():
        for layer in made.layers:
            layer.weight.mul_(scale)  # far beyond what the bound allows
    return made


def steep(**more):
    """A block near its bound: every weight a copy of the identity, every unit where lipswish is steepest."""
    made = ResidualBlock(2, (16, 16), dtype=torch.float64, **more)
    with torch.no_grad():
        for layer in made.layers:
            n = max(layer.weight.shape) // 2
            eye = torch.eye(2).repeat(n, 1) if layer.weight.shape[1] == 2 else torch.eye(2).repeat(1, n)
            layer.weight.copy_(9.0 * (torch.eye(16) if layer.weight.shape == (16, 16) else eye))
            layer.bias.fill_(2.2)
    return made


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 7), (40, 40)])
def test_the_norm_bound_is_above_and_near(shape):
    for seed in range(5):
        w = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 10.0 ** (
            seed * 3 - 6
        )
        bound, exact = float(spectral_bound(w)), float(torch.linalg.matrix_norm(w, 2))
        assert exact <= bound <= 1.02 * exact
        assert float(spectral_bound(w.float())) >= exact * (1 - 2**-23)
    w = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(spectral_bound, (w,))


@pytest.mark.parametrize("act", ["lipswish", "silu", "elu", "softplus", "tanh", "2*relu(x)"])
def test_the_branch_contracts_by_the_certified_constant(act):
    made = block(act)
    bound = made.lipschitz()
    assert 0 < bound <= 0.97
    x = torch.randn(3000, 2, dtype=torch.float64) * 3
    moved = x + torch.randn_like(x) * 0.01
    ratio = ((made(moved) - moved) - (made(x) - x)).norm(dim=1) / (moved - x).norm(dim=1)
    assert float(ratio.max()) <= bound


def test_slack_of_the_bound_is_small_where_it_can_be():
    # linear weights alone: the map is then as steep as it says
    made = ResidualBlock(3, (), "lipswish", coeff=0.9, dtype=torch.float64)
    with torch.no_grad():
        made.layers[0].weight.copy_(5.0 * torch.eye(3))
    steep = torch.linalg.matrix_norm(made.weights()[0].detach(), 2)
    assert 0.88 < float(steep) <= 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_comes_back(dtype):
    made = block().to(dtype)
    x = torch.randn(200, 2, dtype=dtype) * 4
    error = (made.inverse(made(x)) - x).norm(dim=1).max()
    assert float(error) <= (1e-6 if dtype == torch.float64 else 1e-4)
    with pytest.raises(ogive.OgiveError, match="after 2 steps"):
        made.inverse(made(x), limit=2)


def test_gradients_pass_through_the_inverse():
    made = block(coeff=0.8)
    y = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: made.inverse(v, 1e-13), (y,))


def test_log_determinants():
    made = steep(coeff=0.6, estimate="exact")
    x = torch.randn(6, 2, dtype=torch.float64)
    y, exact = made.with_log_det(x)
    torch.testing.assert_close(y, made(x))
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda v: made(v[None])[0], row) for row in x])
    torch.testing.assert_close(exact, torch.linalg.slogdet(jacobian).logabsdet)
    # The roulette is unbiased: the mean of many is within four of its own standard errors.
    made.estimate = "roulette"
    made.eval()
    draws = torch.stack([made.with_log_det(x.repeat(500, 1))[1].reshape(500, 6).mean(0) for _ in range(60)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert bool(((draws.mean(0) - exact).abs() <= 4 * error).all())
    assert bool((error < 0.05).all())


def test_the_estimate_notices_a_wrong_series():
    # A law that cannot fail is no law: without the division by the chance of a term the mean is off.
    made = steep(coeff=0.9, estimate="exact")
    x = torch.randn(6, 2, dtype=torch.float64)
    exact = made.with_log_det(x)[1].detach()
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda v: made(v[None])[0], row) for row in x])
    j = jacobian - torch.eye(2, dtype=torch.float64)
    two = torch.stack([torch.trace(m) - 0.5 * torch.trace(m @ m) for m in j])
    assert float((two - exact).abs().max()) > 0.1


def test_parameters_learn_from_the_log_determinant():
    made = block(scale=1.0, estimate="roulette", samples=3)
    x = torch.randn(32, 2, dtype=torch.float64)
    y, log_det = made.with_log_det(x)
    (0.5 * y.square().sum(1) - log_det).mean().backward()
    assert all(float(m.weight.grad.abs().max()) > 0 for m in made.layers)


def test_a_flow_learns_a_density():
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(ResidualBlock(2, (16,), estimate="exact") for _ in range(2))
    optimiser = torch.optim.Adam(blocks.parameters(), 0.02)
    losses = []
    for _ in range(60):
        x = 2.0 * torch.randint(0, 2, (128, 2)) - 1.3 + 0.6 * torch.rand(128, 2)  # four squares
        total = torch.zeros(128)
        for made in blocks:
            x, log_det = made.with_log_det(x)
            total = total + log_det
        loss = (0.5 * x.square().sum(1) + math.log(2 * math.pi) - total).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) / 10 < losses[0] - 0.1


def test_bad_input():
    for more, text in (({"coeff": 1.0}, "coeff=1.0"), ({"estimate": "guess"}, "estimate='guess'"),
                       ({"act": "x*x"}, "unbounded"), ({"hidden": (0,)}, "widths"), ({"act": "sign"}, "unbounded")):  # fmt: skip
        with pytest.raises(ogive.ParameterError, match=text):
            ResidualBlock(2, **more)
    with pytest.raises(ogive.InputError, match=r"\(\.\.\., 2\)"):
        ResidualBlock(2)(torch.zeros(4, 3))
    with pytest.raises(ogive.ParameterError, match="learned"):
        ResidualBlock(2, act="swish", beta=ogive.learn())
