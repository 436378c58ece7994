"""Deep random features: the linearised covariance and the ridge error against real features, and exact linear cases."""

from __future__ import annotations

import math

import pytest
import torch

from ogive.derive.kernel_limit import kernel_limit
from ogive.derive.random_features import deep_features
from ogive.derive.wide.feature_readout import readout, slope
from ogive.errors import InputError, ParameterError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_a_linear_stack_is_exact():
    inputs = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]], dtype=torch.float64)
    stack = deep_features("3*x + 2", [4, 5], inputs=inputs, sigma_w=1.3, generator=seeded(0))
    w1, w2 = stack.weights
    across = 3 * w2 @ (3 * w1)
    assert torch.allclose(stack.covariance, across @ inputs @ across.T, rtol=1e-12, atol=1e-13)
    assert torch.allclose(stack.signal, across @ inputs, rtol=1e-12, atol=1e-13)
    assert torch.allclose(stack.mean, 2 + 3 * w2.sum(1) * 2, rtol=1e-12, atol=1e-13)
    assert [layer.k_star for layer in stack.layers] == pytest.approx([0, 0], abs=1e-7)


@pytest.mark.parametrize("spec", ["tanh", "relu", "gelu", "softplus"])
def test_the_statistics_of_real_features(spec):
    """100,000 inputs. Means, variances and the covariance with the inputs are exact in the first layer: 5 standard
    errors. The mean square difference of covariances beside the diagonal holds what is left out, (k2 c^2/2 with c of
    order 1/sqrt(d))^2 and less, and the noise of the sample; together below a tenth of their own mean square."""
    d, samples = 60, 100_000
    stack = deep_features(spec, [40], inputs=d, sigma_w=1.2, generator=seeded(1))
    x = torch.randn(samples, d, generator=seeded(2), dtype=torch.float64)
    f = stack(x)
    error = f.std(0) / math.sqrt(samples)
    assert bool(((f.mean(0) - stack.mean).abs() < 5 * error).all())
    centred = f - f.mean(0)
    squares = centred**2
    error = squares.std(0) / math.sqrt(samples)
    assert bool(((squares.mean(0) - stack.covariance.diagonal()).abs() < 5 * error).all())
    across = centred.T @ x / samples
    error = (squares.mean(0) / samples).sqrt()[:, None]
    # 2,400 values at about one standard error each; products of f and x have a little more.
    assert bool(((across - stack.signal).abs() < 8 * error).all())
    off = ~torch.eye(40, dtype=torch.bool)
    covariance = centred.T @ centred / samples
    left = (covariance - stack.covariance)[off].square().mean()
    assert float(left) < 0.1 * float(stack.covariance[off].square().mean())


@pytest.mark.parametrize("of", ["inputs", "features"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("spec", ["tanh", "relu", "erf"])
def test_the_ridge_error_of_real_features(spec, depth, of):
    """16 sets of 160 examples, 800 fresh ones each: within 4.5 standard errors and 4% for what is of order 1/width
    (measured below 3% at this width)."""
    d, p, samples, ridge, noise, repeats = 100, 150, 160, 0.02, 0.1, 16
    g = seeded(450 + depth)
    stack = deep_features(spec, [p] * depth, inputs=d, sigma_w=1.4, generator=g)
    target = torch.randn(d if of == "inputs" else p, generator=g, dtype=torch.float64)
    target = target / target.norm()
    predicted = stack.ridge(samples, ridge, target=target, noise=noise, of=of)
    tests, trains = [], []
    for _ in range(repeats):
        x = torch.randn(samples + 800, d, generator=g, dtype=torch.float64)
        f = stack(x)
        y = (x if of == "inputs" else f) @ target
        y = y + math.sqrt(noise) * torch.randn(len(y), generator=g, dtype=torch.float64)
        middle, level = f[:samples].mean(0), y[:samples].mean()
        f, y = f - middle, y - level
        known, seen = f[:samples], y[:samples]
        w = torch.linalg.solve(known.T @ known / samples + ridge * torch.eye(p, dtype=torch.float64),
                               known.T @ seen / samples)  # fmt: skip
        trains.append(float((known @ w - seen).square().mean()))
        tests.append(float((f[samples:] @ w - y[samples:]).square().mean()))
    for got, want in ((tests, predicted.test), (trains, predicted.train)):
        sample = torch.tensor(got)
        error = float(sample.std()) / math.sqrt(repeats)
        assert abs(float(sample.mean()) - want) < 4.5 * error + 0.04 * want, (float(sample.mean()), error, want)


def test_ridge_regression_on_the_inputs_themselves():
    # One layer that is an isotropic rotation in the limit: O = 1 to the order of p/d, and with a great ridge nothing is
    # learned; with few features and many examples the error is the floor (1 + p/n).
    stack = deep_features("x", [20], inputs=400, generator=seeded(0))
    target = torch.randn(400, generator=seeded(1), dtype=torch.float64)
    target /= target.norm()
    asleep = stack.ridge(100, 1e9, target=target, noise=0.3)
    assert asleep.test == pytest.approx(1.3, rel=1e-6)
    # Of ordinary least squares E test = floor n/(n - p), n without the intercept's one.
    awake = stack.ridge(10_001, 1e-12, target=target, noise=0.3)
    assert awake.test == pytest.approx(awake.floor * 10_000 / (10_000 - 20), rel=1e-9)
    assert awake.train == pytest.approx(awake.floor * (10_000 - 20) / 10_000, rel=1e-9)


def test_a_target_in_the_features_has_only_noise_for_a_floor():
    stack = deep_features("tanh", [30], inputs=50, generator=seeded(0))
    target = torch.ones(30, dtype=torch.float64)
    got = stack.ridge(100, 0.1, target=target, noise=0.2, of="features")
    assert got.floor == pytest.approx(0.2, rel=1e-12)
    assert got.variance == pytest.approx(float(stack.covariance.sum()) + 0.2, rel=1e-12)


def test_the_read_out_of_the_kernel_falls_as_the_root_of_the_features():
    """The averaged read-out of one layer is a mean of independent features, so its mean square error falls as 1/n
    exactly. Over 16 networks of each of 4 sizes the slope has a standard deviation of about 0.05 (from the spread of
    single errors, some half of them, over sqrt(16) and the log range 1.9); four of these."""
    g = seeded(464)
    x = torch.randn(40, 8, generator=g, dtype=torch.float64)
    x = x * (math.sqrt(8) / x.norm(dim=1, keepdim=True))
    y = torch.tanh(x[:, 0]) * x[:, 1]
    for spec in ("relu", "tanh", "sin(x)"):
        got = readout(spec, x[:25], y[:25], x[25:], [32, 128, 512, 2048], sigma_b=0.2, repeats=16, generator=g)
        assert got.slopes[0] == pytest.approx(-0.5, abs=0.2)
        assert got.slopes[1] < -0.3
        assert got.fitted[-1] < 0.2
        # E (sum a f f'/n - g)^2 is at most 3 norm^2 K/n for normal features, which the activation's fourth moment
        # raises; the constant is its root.
        assert 0.05 < got.constant < 6.0


def test_the_norm_is_that_of_the_kernel():
    x = torch.tensor([[1.0, 0.2], [-0.4, 0.9], [0.3, -1.1]])
    y = torch.tensor([1.0, -0.5, 0.2])
    got = readout("gelu", x, y, x, [8, 16], depth=2, sigma_w=1.4, noise=1e-6, repeats=1, generator=seeded(0))
    k = kernel_limit("gelu", x, depth=2, sigma_w=1.4).nngp
    # Nearly without noise the function passes through the targets: y K^-1 y.
    assert got.norm**2 == pytest.approx(float(y.double() @ torch.linalg.solve(k, y.double())), rel=1e-3)
    assert got.size == pytest.approx(float(y.square().mean().sqrt()), rel=1e-3)


def test_slope_of_a_power():
    assert slope([1, 10, 100], [2.0, 2.0e-2, 2.0e-4]) == pytest.approx(-2.0, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: deep_features("tanh", [], inputs=3), ParameterError, r"widths=\[\]"),
        (lambda: deep_features("tanh", [3], inputs=3, sigma_w=0.0), ParameterError, "sigma_w=0.0"),
        (lambda: deep_features("tanh", [3], inputs=0), InputError, "number of inputs"),
        (lambda: deep_features("tanh", [3], inputs=-torch.eye(2)), InputError, "eigenvalue below 0"),
        (lambda: deep_features("tanh", [3], inputs=torch.ones(2, 3)), InputError, r"\(2, 3\)"),
        (lambda: deep_features("glu", [3], inputs=2), InputError, "2 inputs"),
        (lambda: deep_features("tanh", [3], inputs=2).ridge(1, 0.1, target=torch.ones(2)), ParameterError, "samples=1"),
        (lambda: deep_features("tanh", [3], inputs=2).ridge(9, 0.0, target=torch.ones(2)), ParameterError, "ridge=0.0"),
        (lambda: deep_features("tanh", [3], inputs=2).ridge(9, 0.1, target=torch.ones(3)), InputError, r"\(3,\)"),
        (
            lambda: deep_features("tanh", [3], inputs=2).ridge(9, 0.1, target=torch.ones(2), of="x"),
            ParameterError,
            "of='x'",
        ),
        (lambda: readout("relu", torch.ones(2, 2), torch.ones(3), torch.ones(1, 2), [2, 4]), InputError, r"\(3,\)"),
        (lambda: readout("relu", torch.ones(2, 2), torch.ones(2), torch.ones(1, 2), [4, 2]), ParameterError, "ascend"),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_results_are_json():
    import json

    got = deep_features("tanh", [3], inputs=2).ridge(9, 0.1, target=torch.ones(2))
    assert json.loads(json.dumps(got.to_dict()))["samples"] == 9 and "9 samples" in repr(got)
