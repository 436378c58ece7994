"""Kernels of infinitely wide networks: closed forms at 30 digits, real wide networks, and tables held to quadrature."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import pytest
import torch

from ogive.derive.integrals.bundle import Bundle
from ogive.derive.integrals.dual_table import DualTable
from ogive.derive.kernel_limit import kernel_limit
from ogive.derive.moments import hermite, moment
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import get, scalar
from tests.entries import every_scalar_entry

pi = mpmath.pi


def _relu(a, b, k):
    root = mpmath.sqrt(a * b)
    angle = mpmath.acos(min(k / root, mpmath.mpf(1)))
    return root * (mpmath.sin(angle) + (pi - angle) * mpmath.cos(angle)) / (2 * pi)


def _gelu(a, b, k):
    # By parts from E[u v Phi(u) Phi(v)]; E phi(u) phi(v) is the density of N(0, 1 + K) at 0.
    spread = (1 + a) * (1 + b) - k * k
    both = mpmath.mpf(1) / 4 + mpmath.asin(k / mpmath.sqrt((1 + a) * (1 + b))) / (2 * pi)
    return k * both + (a * b - k * k * (1 - 1 / (1 + a) - 1 / (1 + b))) / (2 * pi * mpmath.sqrt(spread))


# E f(u) f(v) for variances a, b and covariance k, from the literature (Cho and Saul, Williams) or by hand; E f'(u) f'(v)
# is its derivative by k (Price's theorem).
CLOSED = {
    "relu": _relu,
    "gelu": _gelu,
    "erf(x)": lambda a, b, k: 2 / pi * mpmath.asin(2 * k / mpmath.sqrt((1 + 2 * a) * (1 + 2 * b))),
    "sin(x)": lambda a, b, k: mpmath.exp(-(a + b) / 2) * mpmath.sinh(k),
    "exp(x)": lambda a, b, k: mpmath.exp((a + b) / 2 + k),
}
X = torch.tensor([[1.0, 0.2, -0.3], [0.9, -0.5, 0.4], [-0.3, 1.4, 0.8], [0.99, 0.21, -0.31]], dtype=torch.float64)
VARIANTS = [
    {"depth": 1},
    {"depth": 3, "sigma_b": 0.3},
    {"depth": 3, "sigma_b": 0.2, "skip": 0.8, "branch": 0.7},
    {"depth": 3, "sigma_b": 0.2, "normalise": "layer"},
    {"depth": 2, "sigma_b": 0.2, "normalise": "layer", "skip": 0.9, "branch": 0.5},
    {"depth": 2, "normalise": "input"},
]


def reference(closed, x, y, depth, sigma_w, sigma_b=0, skip=0, branch=1, normalise="none"):
    """K and T of two inputs, and the variance of the first, at 30 digits."""
    x, y = ([mpmath.mpf(float(v)) for v in t] for t in (x, y))
    if normalise == "input":
        x, y = ([v * mpmath.sqrt(len(t)) / mpmath.norm(t) for v in t] for t in (x, y))
    w, bias = mpmath.mpf(sigma_w) ** 2, mpmath.mpf(sigma_b) ** 2
    a, b, k = (w * mpmath.fdot(s, t) / len(x) + bias for s, t in ((x, x), (y, y), (x, y)))
    t = k
    for layer in range(depth):
        s, r = (mpmath.mpf(skip) ** 2, mpmath.mpf(branch) ** 2) if layer + 1 < depth else (0, 1)
        scale = (a, b) if normalise == "layer" else (mpmath.mpf(1), mpmath.mpf(1))
        p, q, c = a / scale[0], b / scale[1], k / mpmath.sqrt(scale[0] * scale[1])
        slope = mpmath.diff(lambda v, p=p, q=q: closed(p, q, v), c)
        new = r * (bias + w * closed(p, q, c))
        t = s * t + new + r * w * slope * t / mpmath.sqrt(scale[0] * scale[1])
        k = s * k + new
        a, b = (s * v + r * (bias + w * closed(u, u, u)) for v, u in ((a, p), (b, q)))
    return k, t, a


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("spec", CLOSED)
def test_closed_forms_agree_to_1e_12(spec, options):
    sigma_w = 0.5 if spec == "exp(x)" else 1.3
    got = kernel_limit(spec, X, sigma_w=sigma_w, **options)
    assert got.path == "exact"
    with mpmath.workdps(30):
        for i, j in ((0, 1), (0, 2), (1, 2), (0, 3)):
            k, t, a = reference(CLOSED[spec], X[i], X[j], sigma_w=sigma_w, **options)
            assert abs(float(got.x_variance[i]) - a) <= 1e-13 * a
            scale = math.sqrt(got.x_variance[i] * got.x_variance[j])
            assert abs(float(got.nngp[i, j]) - k) <= 1e-12 * scale
            assert abs(float(got.nngp[i, j]) - k) <= got.error_nngp * scale + 1e-14 * scale
            scale = math.sqrt(got.ntk[i, i] * got.ntk[j, j])
            assert abs(float(got.ntk[i, j]) - t) <= 1e-12 * scale
            assert abs(float(got.ntk[i, j]) - t) <= got.error_ntk * scale + 1e-14 * scale
    assert torch.equal(got.nngp, got.nngp.T) and torch.equal(got.nngp.diagonal(), got.x_variance)


def test_the_tangent_of_relu_on_one_input_grows_by_its_length_with_every_layer():
    got = kernel_limit("relu", X, depth=5, sigma_w=2**0.5)
    torch.testing.assert_close(got.ntk.diagonal(), 6 * got.x_variance, rtol=1e-13, atol=0)


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy(data.data) / 16, torch.from_numpy(data.target)


def test_a_table_on_real_data_is_the_arc_cosine_kernel(digits):
    x = digits[0][:700]
    got = kernel_limit("relu", x, depth=2, sigma_w=2**0.5)
    assert got.path == "interpolated" and got.pairs < 1000
    k, q = 2 * x @ x.T / 64, 2 * (x * x).sum(1) / 64
    t, size = k.clone(), (q[:, None] * q).sqrt()
    for _ in range(2):
        c = (k / size).clamp(-1, 1)
        c.fill_diagonal_(1.0)
        angle = torch.arccos(c)
        k = size * (torch.sin(angle) + (math.pi - angle) * c) / math.pi
        t = k + t * (1 - angle / math.pi)
    assert float(((got.nngp - k) / size).abs().max()) < 1e-12
    # arccos turns a rounding of c near 1 into its root.
    far = c < 1 - 1e-6
    assert float(((got.ntk - t) / size).abs()[far].max()) < 3e-12


@pytest.mark.parametrize(
    "spec, options",
    [
        ("tanh", {"depth": 2, "normalise": "input"}),
        ("hardtanh", {"depth": 2, "normalise": "input"}),
        ("relu(x - 0.5)", {"depth": 3, "normalise": "layer", "skip": 1.0, "branch": 0.4}),
        ("tanh", {"depth": 1}),
        ("hardtanh", {"depth": 1}),
    ],
    ids=str,
)
def test_tables_are_as_good_as_they_say(digits, spec, options):
    x = digits[0][:40]
    table = kernel_limit(spec, x, x[:8], sigma_w=1.4, sigma_b=0.1, exact=False, **options)
    exact = kernel_limit(spec, x[8:16], x[:8], sigma_w=1.4, sigma_b=0.1, exact=True, **options)
    scale = (exact.x_variance[:, None] * exact.y_variance).sqrt()
    off = ((table.nngp[8:16] - exact.nngp).abs() / scale).max()
    assert off <= 30 * table.error_nngp
    off_t = ((table.ntk[8:16] - exact.ntk).abs() / exact.ntk.abs().max()).max()
    assert off_t <= 30 * table.error_ntk
    if "normalise" in options or spec == "tanh":  # one length, or no break points
        assert off < 1e-12 and off_t < 3e-12 and table.error_nngp < 1e-11


def test_a_table_says_where_break_points_and_unequal_lengths_meet():
    act = get("hardtanh")
    table = DualTable(act, 1, (0.0, 1.0), (0.6, 1.5), budget=2000)
    assert 1e-7 < table.tail < 1e-1  # |u - v| in the corner
    assert DualTable(act, 1, (0.0, 1.0), (1.0, 1.0)).tail < 1e-12


def test_the_same_input_in_both_sets_is_found():
    got = kernel_limit("relu", X, X[1:3] * 1.0, depth=4, sigma_w=1.4, exact=False)
    alone = kernel_limit("relu", X, depth=4, sigma_w=1.4)
    torch.testing.assert_close(got.ntk[[1, 2], [0, 1]], alone.ntk.diagonal()[1:3], rtol=1e-14, atol=0)
    assert got.y_variance.tolist() == pytest.approx(alone.x_variance[1:3].tolist(), rel=1e-15)


class Wide(torch.nn.Module):
    """A real network: linear layers of one width with weights sigma_w/sqrt(fan_in) times a parameter."""

    def __init__(self, f, width, depth, sigma_w, sigma_b, skip, branch, norm):
        super().__init__()
        sizes = [X.shape[1], *[width] * depth, 1]
        self.w = torch.nn.ParameterList(torch.randn(o, i) for i, o in pairwise(sizes))
        self.b = torch.nn.ParameterList(torch.randn(o) for o in sizes[1:])
        self.f, self.sigma, self.branches = f, (sigma_w, sigma_b), (skip, branch)
        self.norm = torch.nn.LayerNorm(width, eps=0.0, elementwise_affine=False) if norm else torch.nn.Identity()

    def forward(self, x):
        h = x
        for i, (w, b) in enumerate(zip(self.w, self.b)):
            into = self.f(self.norm(h)) if i else h
            new = into @ w.T * (self.sigma[0] / math.sqrt(w.shape[1])) + self.sigma[1] * b
            h = self.branches[0] * h + self.branches[1] * new if 0 < i < len(self.w) - 1 else new
        return h[:, 0]


@pytest.mark.parametrize(
    "spec, f, options",
    [
        ("gelu", torch.nn.functional.gelu, {"skip": 0.0, "branch": 1.0, "norm": False}),
        ("relu", torch.relu, {"skip": 0.9, "branch": 0.6, "norm": False}),
        ("tanh", torch.tanh, {"skip": 0.0, "branch": 1.0, "norm": True}),
    ],
)
def test_real_wide_networks_have_these_kernels(spec, f, options):
    # 300 networks of width 256: the mean tangent kernel is off by its standard error and by a bias of order depth/width.
    width, depth, count = 256, 2, 300
    torch.manual_seed(0)
    outputs, tangents = [], []
    for _ in range(count):
        net = Wide(f, width, depth, 1.3, 0.2, **options)
        y = net(X.float())
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(v, net.parameters(), retain_graph=True)]) for v in y
        ]
        jacobian = torch.stack(rows).double()
        tangents.append(jacobian @ jacobian.T)
        outputs.append(y.detach().double())
    got = kernel_limit(
        spec, X, depth=depth, sigma_w=1.3, sigma_b=0.2, skip=options["skip"], branch=options["branch"],
        normalise="layer" if options["norm"] else "none",
    )  # fmt: skip
    measured = torch.stack(tangents)
    spread = measured.std(0) / math.sqrt(count)
    scale = got.ntk.diagonal().sqrt()
    assert ((measured.mean(0) - got.ntk).abs() <= 5 * spread + 4 * depth / width * scale * scale[:, None]).all()
    assert float((spread / (scale * scale[:, None])).max()) < 0.015  # so the band is 7 % and 3 %
    products = torch.stack([y[:, None] * y for y in outputs])
    assert ((products.mean(0) - got.nngp).abs() <= 5 * products.std(0) / math.sqrt(count)).all()


def test_what_cannot_be_done_is_said():
    with pytest.raises(ParameterError, match="depth=0"):
        kernel_limit("relu", X, depth=0)
    with pytest.raises(ParameterError, match="normalise='batch'"):
        kernel_limit("relu", X, normalise="batch")
    with pytest.raises(InputError, match=r"y is \(3,\)"):
        kernel_limit("relu", X, X[0])
    with pytest.raises(InputError, match=r"\(4, 3\) and \(4, 2\)"):
        kernel_limit("relu", X, X[:, :2])
    with pytest.raises(InputError, match="row 1 is zero"):
        kernel_limit("relu", torch.tensor([[1.0], [0.0]]))
    with pytest.raises(InputError, match="not finite"):
        kernel_limit("relu", torch.tensor([[math.nan]]))
    with pytest.raises(OgiveError, match="variance of a pre-activation after layer"):
        kernel_limit("relu", X, depth=4, sigma_w=1e-60)
    with pytest.raises(OgiveError, match="infinite"):
        kernel_limit("exp(x)", X, depth=4, sigma_w=2.0)
    with pytest.raises(ParameterError, match="sigma_w"):
        kernel_limit("relu", X, sigma_w=0.0)
    without = kernel_limit("relu", X, tangent=False)
    assert without.ntk is None and without.error_ntk is None and without.to_dict()["ntk"] is None
    assert kernel_limit("relu", torch.zeros(2, 3), sigma_b=1.0).nngp.tolist() == [[1.5, 1.5], [1.5, 1.5]]


@every_scalar_entry
def test_every_entry_has_the_kernels_of_its_hermite_series(entry):
    # K = sum a_k^2 c^k, and by Price's theorem T = K + sum k a_k^2 c^k where f has no jumps; |c| = 1/2 ends both at 1e-15.
    angles = torch.tensor([0.0, math.pi / 3, 2 * math.pi / 3], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], 1)
    bundle = Bundle(entry, scalar(entry, "a test", {})[1])
    smooth = entry.backward is None and not bundle.jumps
    try:
        a = hermite(entry, 60)[0]
    except OgiveError:
        with pytest.raises(OgiveError):
            kernel_limit(entry, x, normalise="input")
        return
    try:
        got = kernel_limit(entry, x, normalise="input", exact=False, tangent=smooth)
    except OgiveError:
        with pytest.raises(OgiveError):  # a slope whose square has no mean
            moment(entry, 0, 2)
        return
    degree = torch.arange(61)
    for j, c in ((1, 0.5), (2, -0.5)):
        terms = a * a * c**degree
        scale = float(got.x_variance[0])
        assert abs(float(got.nngp[0, j] - terms.sum())) <= 1e-11 * scale
        if smooth:
            want = float((terms * (1 + degree)).sum())
            assert abs(float(got.ntk[0, j]) - want) <= 1e-10 * float(got.ntk[0, 0])
