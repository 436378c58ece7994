"""Equilibrium layers: the degree against mpmath, one fixed point from every start, gradients, refusals."""

from __future__ import annotations

import mpmath
import pytest
import torch

import ogive
from ogive.layers.equilibrium import SubDEQ, subhomogeneity


@pytest.mark.parametrize(
    ("spec", "f"),
    [
        ("sigmoid", lambda u: 1 / (1 + mpmath.exp(-u))),
        ("tanh(x) + 1.2", lambda u: mpmath.tanh(u) + mpmath.mpf(1.2)),
        ("tanh(x) + 0.1", lambda u: mpmath.tanh(u) + mpmath.mpf(0.1)),
        ("arctan(x) + 1", lambda u: mpmath.atan(u) + 1),
    ],
)
def test_the_degree_is_the_supremum_of_the_elasticity(spec, f):
    def elasticity(u):
        return u * mpmath.diff(f, u) / f(u)

    with mpmath.workdps(40):
        best = max((mpmath.mpf(k) / 50 for k in range(1, 1500)), key=elasticity)
        top = mpmath.findroot(lambda u: mpmath.diff(elasticity, u), best)
        want = float(elasticity(top))
    got = subhomogeneity(spec)
    assert want * (1 - 1e-14) <= got.mu <= want * (1 + 1e-5)
    assert got.least <= float(f(mpmath.mpf(0))) and got.least > 0


def test_the_degree_of_what_only_approaches_it():
    # softplus: u s(u)/softplus(u) -> 1 at infinity
    assert 1.0 <= subhomogeneity("softplus").mu < 1.0 + 1e-5


@pytest.mark.parametrize("more", [{}, {"act": "sigmoid"}, {"act": "softplus", "power": 0.8},
                                  {"act": "sigmoid", "normalise": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize("size", [0.1, 100.0])
def test_every_start_ends_at_one_point_whatever_the_size_of_the_weights(more, size):
    torch.manual_seed(0)
    layer = SubDEQ(3, 6, dtype=torch.float64, tol=1e-10, **more)
    with torch.no_grad():
        layer.inner.mul_(size)
    drive = torch.relu(layer.outer(torch.randn(4, 3, dtype=torch.float64))).detach()
    ends = []
    for _ in range(20):
        start = 10.0 ** (torch.rand(4, 6, dtype=torch.float64) * 8 - 4)
        z, error = layer.settle(drive, start)
        assert error <= 1e-10
        torch.testing.assert_close(layer.step(z, drive), z, rtol=1e-9, atol=0)
        ends.append(z)
    spread = max(float((z / ends[0] - 1).abs().max()) for z in ends)
    assert spread <= 2.1e-10


def test_weights_of_both_signs_have_several_fixed_points():
    # why |W| is taken: the elasticity of tanh + 1.2 is below 1 on the whole line, and still
    u = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    f = ogive.define("tanh(x) + 1.2")
    assert float((u * ogive.derivative(f)(u) / f(u)).abs().max()) < 1.0
    w = torch.tensor([[2.0, -2.0], [-2.0, 2.0]], dtype=torch.float64)
    ends = []
    for start in ([1.0, 2.0], [2.0, 1.0], [1.0, 1.0]):
        z = torch.tensor(start, dtype=torch.float64)
        for _ in range(500):
            z = f(w @ z) + 0.3
        assert torch.allclose(f(w @ z) + 0.3, z, rtol=1e-12)
        ends.append(z)
    assert all(float((a - b).abs().max()) > 0.5 for a, b in ((ends[0], ends[1]), (ends[0], ends[2])))


def test_gradients_of_the_fixed_point():
    torch.manual_seed(1)
    layer = SubDEQ(3, 4, dtype=torch.float64, tol=1e-13)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    w = layer.inner.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(layer, {"inner": w}, (x,)), (x, w))


def test_it_trains():
    torch.manual_seed(0)
    x = torch.randn(128, 2)
    y = (x[:, :1] * x[:, 1:] > 0).float()
    model = torch.nn.Sequential(SubDEQ(2, 16), torch.nn.Linear(16, 1))
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.4


def test_refusals_name_the_degree():
    with pytest.raises(
        ogive.ParameterError, match=r"degree of softplus on u >= 0 is 1, .* below 1: take a power below"
    ):
        SubDEQ(2, 3, "softplus")
    with pytest.raises(ogive.ParameterError, match=r"exp\(x\) on u >= 0 is inf"):
        SubDEQ(2, 3, "exp(x)")
    with pytest.raises(ogive.ParameterError, match=r"twice, for the normalisation"):
        SubDEQ(2, 3, "softplus", power=0.8, normalise=True)
    for spec in ("tanh", "relu", "x - 1"):
        with pytest.raises(ogive.ParameterError, match="not positive on u >= 0"):
            SubDEQ(2, 3, spec)
    for more, text in (({"power": 0.0}, "power=0.0"), ({"tol": 0.0}, "tol=0.0"), ({"features": 0}, "features=0")):
        with pytest.raises(ogive.ParameterError, match=text):
            SubDEQ(2, **{"features": 3, **more})
    layer = SubDEQ(2, 3)
    with pytest.raises(ogive.InputError, match=r"\(\.\.\., 2\)"):
        layer(torch.zeros(1, 5))
    with pytest.raises(ogive.InputError, match="positive z"):
        layer(torch.zeros(1, 2), start=torch.zeros(3))
    with pytest.raises(ogive.OgiveError, match="after 1 steps"):
        SubDEQ(2, 3, limit=1)(torch.ones(1, 2), start=torch.full((3,), 50.0))


def test_shapes_and_repr():
    layer = SubDEQ(2, 3, "sigmoid", power=0.5)
    assert layer(torch.randn(4, 5, 2)).shape == (4, 5, 3)
    assert layer(torch.empty(0, 2)).shape == (0, 3)
    assert repr(layer).startswith("SubDEQ(\n  sigmoid, degree=0.139232, power=0.5")
