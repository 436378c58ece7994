"""Gaussian processes of infinitely wide networks: against refits, direct algebra, trained networks and real digits."""

from __future__ import annotations

import math

import pytest
import torch

from ogive.derive.gaussian_process import GaussianProcess
from ogive.derive.kernel_limit import kernel_limit
from ogive.errors import InputError, OgiveError, ParameterError

torch.manual_seed(3)
X = torch.randn(7, 3, dtype=torch.float64)
NEW = torch.randn(4, 3, dtype=torch.float64)
Y = torch.sin(X.sum(1, keepdim=True)) + torch.tensor([0.0, 1.0], dtype=torch.float64)
OPTIONS = {"depth": 2, "sigma_w": 1.3, "sigma_b": 0.2}


def joint(options=OPTIONS):
    both = kernel_limit("gelu", torch.cat([X, NEW]), **options)
    return both.nngp, both.ntk


def test_the_posterior_is_the_conditional_normal_distribution():
    got = GaussianProcess("gelu", X, Y, noise=0.01, **OPTIONS).predict(NEW)
    k, _ = joint()
    s = (k[:7, :7] + 0.01 * torch.eye(7)).inverse()
    torch.testing.assert_close(got.mean, k[7:, :7] @ s @ Y, rtol=1e-7, atol=1e-8)
    want = (k[7:, 7:] - k[7:, :7] @ s @ k[:7, 7:]).diagonal()
    torch.testing.assert_close(got.variance, want, rtol=1e-7, atol=1e-8)
    assert got.classes is None and (got.variance > 0).all()


def test_the_tangent_posterior_is_what_gradient_descent_makes_of_a_random_linear_model():
    # f(w) = f0 + J w trained to the end: f0(q) + t S^-1 (y - f0(x)); f0 is normal with covariance K.
    got = GaussianProcess("gelu", X, Y, kind="ntk", noise=1e-3, **OPTIONS).predict(NEW)
    k, t = joint()
    a = t[7:, :7] @ (t[:7, :7] + 1e-3 * torch.eye(7)).inverse()
    change = torch.cat([-a, torch.eye(4)], 1)
    torch.testing.assert_close(got.mean, a @ Y, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(got.variance, (change @ k @ change.T).diagonal(), rtol=1e-7, atol=1e-8)


def test_trained_wide_networks_are_distributed_as_the_tangent_kernel_says():
    # 150 networks of one hidden layer of 512 erf units; the step is below 2 over the largest eigenvalue, 7.4.
    torch.manual_seed(0)
    count, width = 150, 512
    x, q = X[:4], NEW[:3]
    y = torch.tensor([0.5, -0.3, 0.2, -0.4], dtype=torch.float64)
    w = torch.randn(count, 3, width, dtype=torch.float64, requires_grad=True)
    v = torch.randn(count, width, dtype=torch.float64, requires_grad=True)

    def run(points):
        hidden = torch.erf(points @ w * (1.5 / math.sqrt(3)))
        return (hidden * v[:, None, :]).sum(-1) * (1.5 / math.sqrt(width))

    for _ in range(600):
        loss = 0.5 * ((run(x) - y) ** 2).sum()
        for p, g in zip((w, v), torch.autograd.grad(loss, (w, v))):
            p.data -= 0.2 * g
    assert float(loss.detach()) / count < 1e-3
    got = GaussianProcess("erf(x)", x, y, kind="ntk", noise=0.0, sigma_w=1.5).predict(q)
    final = run(q).detach()
    error = final.std(0) / math.sqrt(count)
    assert ((final.mean(0) - got.mean[:, 0]).abs() < 5 * error + 0.02).all()
    # The standard error of a variance over 150 draws is 12 %; the width adds some per cent.
    assert ((final.var(0) / got.variance - 1).abs() < 0.4).all()
    assert (got.variance > 0.01).all()


def test_leaving_one_out_is_leaving_one_out():
    process = GaussianProcess("gelu", X, Y, noise=0.05, **OPTIONS)
    left = process.leave_one_out()
    shift, divergence = process.distinguishability(NEW)
    with_all = process.predict(NEW)
    for i in range(7):
        kept = [j for j in range(7) if j != i]
        without = GaussianProcess("gelu", X[kept], Y[kept], noise=0.05, **OPTIONS)
        alone = without.predict(X[i : i + 1])
        torch.testing.assert_close(left.mean[i], alone.mean[0], rtol=1e-8, atol=1e-9)
        assert float(left.variance[i]) == pytest.approx(float(alone.variance[0]), rel=1e-7)
        other = without.predict(NEW)
        torch.testing.assert_close(shift[:, i], (other.mean - with_all.mean).norm(dim=1), rtol=1e-7, atol=1e-9)
        for q in range(4):
            p, r = (torch.distributions.Normal(g.mean[q], g.variance[q].sqrt().expand(2)) for g in (with_all, other))
            want = float(torch.distributions.kl_divergence(p, r).sum())
            assert float(divergence[q, i]) == pytest.approx(want, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("spec, kind", [("gelu", "nngp"), ("relu", "ntk")])
def test_digits_are_read(spec, kind):
    from sklearn.datasets import load_digits

    data = load_digits()
    x, labels = torch.from_numpy(data.data), torch.from_numpy(data.target) + 5
    process = GaussianProcess(
        spec, x[:600], labels[:600], kind=kind, noise=1e-3, depth=2, sigma_w=1.4, normalise="input"
    )
    got = process.predict(x[1000:1400])
    assert set(got.classes.tolist()) <= set(range(5, 15))
    # 1-NN, by the nearest direction, for comparison; chance is 10 %.
    unit = torch.nn.functional.normalize(x, dim=1)
    nearest = labels[:600][(unit[1000:1400] @ unit[:600].T).argmax(1)]
    accuracy = float((got.classes == labels[1000:1400]).double().mean())
    assert accuracy > 0.93 and accuracy > float((nearest == labels[1000:1400]).double().mean()) - 0.01
    assert (got.variance > 0).all() and got.error < 1e-10 and "classification" in repr(got)
    assert "10 classes" in repr(process)


def test_what_cannot_be_done_is_said():
    with pytest.raises(ParameterError, match="kind='rbf'"):
        GaussianProcess("relu", X, Y, kind="rbf")
    with pytest.raises(ParameterError, match="noise=-1"):
        GaussianProcess("relu", X, Y, noise=-1)
    with pytest.raises(InputError, match=r"targets are \(3, 2\)"):
        GaussianProcess("relu", X, Y[:3])
    with pytest.raises(InputError, match="two classes"):
        GaussianProcess("relu", X, torch.ones(7, dtype=torch.int64))
    with pytest.raises(InputError, match="not finite"):
        GaussianProcess("relu", X, Y * math.inf)
    with pytest.raises(OgiveError, match=r"noise of .* mends it"):
        GaussianProcess("x", X, Y, noise=0.0)
    with pytest.raises(OgiveError, match="kind='nngp'"):
        GaussianProcess("gelu", X, Y, kind="ntk").leave_one_out()
