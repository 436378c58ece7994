"""Mean and variance through layers against closed forms, dense grids over the catalogue, and sampling."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.layers.moments import MPGELU, MomentAct, MomentLinear, propagate
from tests.entries import every_scalar_entry

PAIRS = [(0.0, 1.0), (1.3, 0.25), (-2.0, 4.0), (-3.0, 0.5), (0.4, 1e-4)]


def reference(f, mean, variance, breaks=()):
    """E f and Var f in 30 digits, the variance without cancellation."""
    with mpmath.workdps(30):
        m, s = mpmath.mpf(mean), mpmath.sqrt(mpmath.mpf(variance))
        edges = sorted({-30, -8, 0, 8, 30, *((b - m) / s for b in breaks if abs((b - m) / s) < 30)})

        def over(g):
            return mpmath.quad(lambda z: g(f(m + s * z)) * mpmath.npdf(z), edges)

        first = over(lambda y: y)
        return float(first), float(over(lambda y: (y - first) ** 2))


@pytest.mark.parametrize(("spec", "f", "breaks"), [
    ("relu", lambda x: max(x, 0), (0,)), ("gelu", lambda x: x * mpmath.ncdf(x), ()), ("tanh", mpmath.tanh, ()),
    ("softplus", lambda x: mpmath.log1p(mpmath.exp(x)), ()), ("sign(x)", mpmath.sign, (0,)),
    ("relu(x) + 40", lambda x: max(x, 0) + 40, (0,)),
])  # fmt: skip
@pytest.mark.parametrize(("mean", "variance"), PAIRS)
def test_moments_are_right_to_eleven_digits(spec, f, breaks, mean, variance):
    got = propagate(spec, *(torch.tensor([v], dtype=torch.float64) for v in (mean, variance)))
    want = reference(f, mean, variance, breaks)
    assert float(got[0]) == pytest.approx(want[0], rel=1e-12, abs=1e-15)
    slack = 1e-13 * (want[0] ** 2 + want[1])  # of the second moment
    assert float(got[1]) == pytest.approx(want[1], rel=1e-11, abs=slack)


def test_gelu_has_its_closed_mean():
    """E X Phi(X) = m Phi(m/a) + (v/a) phi(m/a), a = sqrt(1 + v)."""
    m, v = torch.linspace(-4, 4, 33, dtype=torch.float64), torch.linspace(0.01, 6, 33, dtype=torch.float64)
    a = (1.0 + v).sqrt()
    density = torch.exp(-0.5 * (m / a) ** 2) / math.sqrt(2.0 * math.pi)
    want = m * torch.special.ndtr(m / a) + v / a * density
    assert float((propagate("gelu", m, v)[0] - want).abs().max()) < 1e-13


@pytest.mark.parametrize("variance", [1e-6, 1e-10, 1e-16, 1e-30])
def test_narrow_inputs_do_not_cancel(variance):
    """Var f tends to f'(m)^2 v: with 5 + exp the difference of two moments would have lost every digit."""
    mean = torch.tensor([0.3], dtype=torch.float64)
    got = propagate("5 + exp(x)", mean, torch.tensor([variance], dtype=torch.float64))[1]
    want = math.exp(0.6 + variance) * math.expm1(variance)  # of the lognormal
    assert float(got) == pytest.approx(want, rel=1e-9)


def test_an_input_without_variance_goes_through_the_function():
    mean = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    first, spread = propagate("tanh", mean, variance)
    assert first.tolist()[::2] == pytest.approx(torch.tanh(mean.detach()).tolist()[::2], rel=1e-15)
    assert spread[::2].tolist() == [0.0, 0.0] and spread[1].item() > 0.1
    (slope,) = torch.autograd.grad(first.sum(), mean)
    assert slope[::2].tolist() == pytest.approx((1 - torch.tanh(mean.detach()) ** 2)[::2].tolist(), rel=1e-12)
    still = propagate("tanh", mean, torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(still[0], torch.tanh(mean), rtol=1e-15) and still[1].tolist() == [0.0] * 3


@pytest.mark.parametrize("spec", ["gelu", "relu", "tanh", "sin(5*x)"])
def test_gradients_by_mean_and_variance(spec):
    mean = torch.tensor([-1.0, 0.2, 3.0], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([0.3, 2.0, 1e-3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, v: propagate(spec, m, v), (mean, variance), eps=1e-7, atol=1e-6)


def test_gradients_by_a_parameter_shapes_and_dtypes():
    beta = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    mean, variance = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda b: propagate("swish", mean, variance, beta=b), (beta,), atol=1e-6)
    first, spread = propagate("swish", mean.float(), variance.float())
    assert first.shape == spread.shape == (2, 3) and first.dtype == spread.dtype == torch.float32


@every_scalar_entry
def test_every_entry_against_a_dense_grid(entry):
    """800,001 points of the normal density out to 38 standard deviations: 1e-4, variances 1e-3."""
    mean, variance = 0.4, 1.7
    z = torch.linspace(-38, 38, 800_001, dtype=torch.float64)
    weight = torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) * (76 / 800_000)
    try:
        first, spread = propagate(entry, *(torch.tensor([v], dtype=torch.float64) for v in (mean, variance)))
    except OgiveError as reason:
        assert "infinite" in str(reason) or "converge" in str(reason), reason
        return
    with torch.no_grad():
        y = entry(mean + math.sqrt(variance) * z)
    m = float((y * weight).sum())
    v = float(((y - m) ** 2 * weight).sum())
    size = math.sqrt(m * m + v) + 1e-300
    assert abs(float(first) - m) < 1e-4 * size
    assert abs(float(spread) - v) < 1e-3 * size * size


def test_a_linear_layer_with_normal_weights():
    """Var sum w x = sum E w^2 E x^2 - (E w E x)^2, by the definition of the variance of a product."""
    torch.manual_seed(0)
    layer = MomentLinear(5, 3, variance=0.4).double()
    with torch.no_grad():
        layer.log_weight.add_(torch.randn(3, 5))
        layer.bias.add_(torch.randn(3))
    mean, variance = torch.randn(7, 5, dtype=torch.float64), torch.rand(7, 5, dtype=torch.float64)
    first, spread = layer(mean, variance)
    w2 = layer.weight**2 + layer.log_weight.exp()
    want = (mean**2 + variance) @ w2.T - (mean**2) @ (layer.weight**2).T + layer.log_bias.exp()
    assert torch.allclose(first, mean @ layer.weight.T + layer.bias) and torch.allclose(spread, want)
    plain = MomentLinear(5, 3, bias=False)
    assert plain.bias is None and plain(mean.float(), variance.float())[1].min() > 0


def test_a_network_agrees_with_sampled_ones():
    torch.manual_seed(0)
    one, two, act = MomentLinear(6, 40, variance=0.3), MomentLinear(40, 1, variance=0.3), MomentAct("gelu")
    x = torch.randn(4, 6)
    with torch.no_grad():
        mean, variance = two(*act(*one(x, torch.zeros_like(x))))
        draws = []
        for _ in range(4000):
            h = x
            for layer in (one, two):
                w = layer.weight + (0.5 * layer.log_weight).exp() * torch.randn_like(layer.weight)
                b = layer.bias + (0.5 * layer.log_bias).exp() * torch.randn_like(layer.bias)
                h = h @ w.T + b
                h = nn.functional.gelu(h) if layer is one else h
            draws.append(h)
    sampled = torch.stack(draws)
    assert torch.allclose(sampled.mean(0), mean, atol=5.0 * float(variance.max().sqrt()) / math.sqrt(4000))
    assert torch.allclose(sampled.var(0), variance, rtol=0.12)


def test_it_learns_means_and_variances():
    """Regression by the normal likelihood: noise that grows with x is found."""
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 64)[:, None]
    y = torch.sin(2 * x) + (0.05 + 0.3 * (x > 0)) * torch.randn_like(x)
    one, two, act = MomentLinear(1, 24), MomentLinear(24, 1), MPGELU()
    step = torch.optim.Adam([*one.parameters(), *two.parameters()], 0.03)
    losses = []
    for _ in range(400):
        mean, variance = two(*act(*one(x, torch.zeros_like(x))))
        loss = nn.functional.gaussian_nll_loss(mean, y, variance)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    variance = variance.detach()
    assert float(variance[x[:, 0] > 0.5].mean()) > 2.0 * float(variance[x[:, 0] < -0.5].mean())


def test_mp_gelu_is_gelu_without_variance_and_scales_the_rest():
    mean = torch.linspace(-3, 3, 13, dtype=torch.float64)
    first, spread = MPGELU()(mean, torch.zeros_like(mean))
    assert torch.allclose(first, nn.functional.gelu(mean), atol=1e-15) and not spread.any()
    first, spread = MPGELU()(mean, torch.full_like(mean, 3.0))
    gate = torch.tensor([float(mpmath.ncdf(float(m) / 2)) for m in mean], dtype=torch.float64)
    assert torch.allclose(first, gate * mean) and torch.allclose(spread, 3.0 * gate**2)


def test_bad_input():
    one = torch.ones(2)
    with pytest.raises(ParameterError, match="relu: the variance takes finite numbers from 0; its least is -1"):
        propagate("relu", one, -one)
    with pytest.raises(ParameterError, match=r"mean \(2,\) and variance \(3,\) do not broadcast"):
        propagate("relu", one, torch.ones(3))
    with pytest.raises(InputError, match="variance is float; it takes a floating tensor"):
        propagate("relu", one, 1.0)
    with pytest.raises(InputError, match="MomentAct of glu: it takes 2 inputs"):
        MomentAct("glu")
    with pytest.raises(OgiveError, match="infinite"):
        propagate("exp(x**2)", one, one)
    with pytest.raises(ParameterError, match="MomentLinear: variance=0"):
        MomentLinear(2, 2, variance=0.0)
    with pytest.raises(InputError, match=r"MomentLinear\(3, 2\): the mean has shape \(4, 2\)"):
        MomentLinear(3, 2)(torch.ones(4, 2), torch.ones(4, 2))
