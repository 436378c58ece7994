"""Tailoring: the conditions held by 30-digit quadrature of the function written out afresh, and what cannot be had."""

from __future__ import annotations

import copy
import math
import pickle

import mpmath
import pytest
import torch

import ogive
from ogive.derive.depth_gains import depth_gains
from ogive.derive.tailor import tailor, tailoring
from ogive.derive.wide.network import Network, Step
from ogive.derive.wide.subnets import Residual, largest, through
from ogive.derive.wide.two_slopes import two_slope_map

# f, f', f'' as mpmath and break points of f
MP = {
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2, lambda x: -2 * mpmath.tanh(x) * mpmath.sech(x) ** 2, []),
    "softplus": (
        lambda x: mpmath.log1p(mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x)),
        lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2, [],
    ),
    "gelu": (
        lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x),
        lambda x: (2 - x * x) * mpmath.npdf(x), [],
    ),
    "elu": (
        lambda x: x if x > 0 else mpmath.expm1(x), lambda x: mpmath.mpf(1) if x > 0 else mpmath.exp(x),
        lambda x: mpmath.mpf(0) if x > 0 else mpmath.exp(x), [0],
    ),
    "selu": (
        lambda x: mpmath.mpf(1.0507009873554805) * (x if x > 0 else mpmath.mpf(1.6732632423543772) * mpmath.expm1(x)),
        lambda x: mpmath.mpf(1.0507009873554805) * (1 if x > 0 else mpmath.mpf(1.6732632423543772) * mpmath.exp(x)),
        None, [0],
    ),
    "softsign": (
        lambda x: x / (1 + abs(x)), lambda x: (1 + abs(x)) ** -2, lambda x: -2 * mpmath.sign(x) * (1 + abs(x)) ** -3, [0],
    ),
    "cos(x)": (mpmath.cos, lambda x: -mpmath.sin(x), lambda x: -mpmath.cos(x), []),
}  # fmt: skip


def quad(g, cut):
    ends = sorted({-13, -6, -2, 0, 2, 6, 13, *(c for c in cut if abs(c) < 13)})
    return mpmath.quad(lambda z: g(z) * mpmath.npdf(z), ends)


def conditions(spec, got):
    """Q(1), Q'(1), C(0), C'(1), C''(1) of the tailored function by mpmath."""
    f, slope, curve, breaks = MP[spec]
    a, b, c, d = map(mpmath.mpf, (got.alpha, got.beta, got.gamma, got.delta))
    cut = [(x - b) / a for x in breaks]
    q = quad(lambda z: (c * (f(a * z + b) + d)) ** 2, cut)
    rate = quad(lambda z: c * c * (f(a * z + b) + d) * a * slope(a * z + b) * z, cut)
    zero = quad(lambda z: c * (f(a * z + b) + d), cut) ** 2
    steep = quad(lambda z: (c * a * slope(a * z + b)) ** 2, cut)
    bend = quad(lambda z: (c * a * a * curve(a * z + b)) ** 2, cut) if curve else None
    return q, rate, zero, steep, bend


@pytest.mark.parametrize("depth", [3, 50])
@pytest.mark.parametrize("spec", MP)
def test_deep_kernel_shaping(spec, depth):
    got = tailoring(spec, "dks", depth=depth, zeta=1.5)
    assert got.residual < 1e-12
    with mpmath.workdps(30):
        q, rate, zero, steep, _ = conditions(spec, got)
        assert abs(q - 1) < 1e-12 and abs(rate - 1) < 1e-11 and abs(zero) < 1e-12
        assert abs(steep**depth - 1.5) < 1e-10
    if depth == 50:
        assert got.target == pytest.approx(1.5 ** (1 / 50), rel=1e-14)


@pytest.mark.parametrize("spec", [s for s in MP if s != "selu"])
def test_tat(spec):
    got = tailoring(spec, "tat", depth=30, tau=0.3)
    assert got.residual < 1e-12
    with mpmath.workdps(30):
        q, rate, _, steep, bend = conditions(spec, got)
        assert abs(q - 1) < 1e-12 and abs(rate - 1) < 1e-11 and abs(steep - 1) < 1e-12
        assert abs(30 * bend - 0.3) < 1e-11


class Theirs:
    """The largest value as dks writes it for its residual network: it does not look into the branches of later blocks."""

    def largest(self, x, r):
        inside = r(r(r(x)))
        for count in (3, 4, 23, 3):
            for j in range(count):
                x = 0.36 * (r(x) if j == 0 else x) + 0.64 * r(r(r(x)))
        return max(r(x), inside)


BLOCKS = [Residual(3, branch=0.8, skip=0.6, shortcut=1 if j == 0 else 0) for k in (3, 4, 23, 3) for j in range(k)]


@pytest.mark.parametrize(
    ("spec", "method", "want"),
    [
        # alpha, beta, delta, gamma as dks's own tests expect them for a 101-layer residual network
        ("softplus", "dks", (0.18761008167, 0.40688063442, -0.92134661514, 8.87867254342)),
        ("tanh", "dks", (0.07461073058, 0.55669152000, -0.50343787687, 18.00263596444)),
        ("gelu_tanh", "dks", (0.07036271496, 0.25868372486, -0.15758328107, 20.24957330519)),
        ("softplus", "tat", (0.15011489795, 0.53745999011, -0.99648101447, 10.54880187881)),
        ("tanh", "tat", (0.05802052186, 0.52186398041, -0.47964307044, 22.36066261763)),
        ("leaky_relu", "tat", (1.0, 0.0, 0.0, 1.19699654978)),
    ],
)
def test_parameters_published_with_dks(spec, method, want):
    got = tailoring(spec, method, graph=Theirs(), zeta=1.2, tau=0.2, eta=0.75)
    # dks stops its bisection at 1e-8 of the network's slope; gamma feels that most.
    assert (got.alpha, got.beta, got.delta, got.gamma) == pytest.approx(want, rel=6e-8)


def test_leaky_relu():
    got = tailoring("leaky_relu", "tat", depth=20, eta=0.9)
    a = got.activation.defaults["negative_slope"]
    c = 0.0
    for _ in range(20):
        # the arc-cosine kernel of a leaky rectifier, as Cho and Saul write it
        relu = (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c) / math.pi
        c = ((1 - a) ** 2 * relu + 2 * a * c) / (1 + a * a)
    assert c == pytest.approx(0.9, rel=1e-12)
    assert got.gamma == pytest.approx(math.sqrt(2 / (1 + a * a)), rel=1e-12)
    assert got.activation(-2.0) == pytest.approx(-2 * a * got.gamma) and got.activation(2.0) == pytest.approx(
        2 * got.gamma
    )
    shaped = tailoring("leaky_relu", "dks", graph=Theirs(), zeta=1.2)
    # dks: negative_slope 0.87612570735, output scale 1.06518326821, shift -0.04941869300
    assert shaped.gamma == pytest.approx(1.06518326821, rel=1e-8) and shaped.delta == pytest.approx(
        -0.049418693, rel=1e-6
    )
    assert shaped.activation(-1e8) / shaped.activation(1e8) == pytest.approx(-0.87612570735, rel=1e-7)
    for c in (-1.0, -0.5, 0.3, 1.0):
        assert two_slope_map(c, 1.0) == c
    assert two_slope_map(1.0, 0.2) == 1.0


def test_relu_has_one_number_free():
    got = tailoring("relu", "dks", graph=Theirs(), zeta=1.2, slope=None)
    assert got.residual < 1e-12 and got.beta == 1.0
    assert (got.alpha, got.gamma) == pytest.approx((0.36854, 2.7217), rel=1e-4)
    # C'(1) = gamma^2 alpha^2 P(alpha z + 1 > 0)
    share = 0.5 * math.erfc(-1 / got.alpha / math.sqrt(2))
    assert (got.gamma * got.alpha) ** 2 * share == pytest.approx(got.target, rel=1e-12)


def test_the_result_has_every_right_of_an_entry():
    act = tailor("tanh", depth=20)
    x = torch.linspace(-4, 4, 33, dtype=torch.float64, requires_grad=True)
    p = act.defaults
    want = p["gamma"] * (torch.tanh(p["alpha"] * x + p["beta"]) + p["delta"])
    assert torch.allclose(act(x), want, rtol=1e-13)
    assert torch.autograd.gradcheck(act, x)
    assert torch.equal(pickle.loads(pickle.dumps(act))(x), act(x)) and copy.deepcopy(act) is act
    module = ogive.Act(act, gamma=ogive.learn("layer"))
    module(x).sum().backward()
    assert [n for n, _ in module.named_parameters()] and next(module.parameters()).grad is not None
    assert ogive.gain(act).forward == pytest.approx(1.0, rel=1e-13)  # Q(1) = 1
    assert ogive.derivative(act)(0.3) == pytest.approx(
        p["gamma"] * p["alpha"] / math.cosh(p["alpha"] * 0.3 + p["beta"]) ** 2
    )
    # swish has a beta of its own: it is a number in the formula now, and the parameter is the new one.
    sharp = tailor("swish", depth=5, beta=2.0)
    assert "sigmoid(2*(" in str(sharp) and sharp.defaults["beta"] != 2.0


def test_a_tailored_network_keeps_its_kernel():
    """A 40-layer network of width 600, two inputs at right angles, 6 draws: with tanh as it is they end parallel; tailored
    by DKS with zeta = 1.5 the correlation of the limit is C applied 40 times to 0, which is 0, with fluctuations of
    sqrt(sum of 40 draws/600) = 0.26 at most; tailored by TAT it goes where its own dual activation takes it."""
    g = torch.Generator().manual_seed(5)

    def run(act, scale):
        found = []
        for _ in range(6):
            h = torch.eye(2, 600, dtype=torch.float64) @ torch.randn(600, 600, generator=g, dtype=torch.float64)
            for _ in range(40):
                h = act(h) @ torch.randn(600, 600, generator=g, dtype=torch.float64) * (scale / math.sqrt(600))
            found.append(float(torch.nn.functional.cosine_similarity(h[0], h[1], dim=0)))
            sizes.append(float((h**2).mean()))
        return sum(found) / 6

    sizes = []
    relu = run(ogive.get("relu"), math.sqrt(2))
    sizes = []
    shaped = run(tailor("tanh", depth=40), 1.0)
    assert relu > 0.85
    assert abs(shaped) < 0.3
    assert 0.6 < sum(sizes) / len(sizes) < 1.6


def test_subnetworks():
    def double(y):
        return 2 * y

    assert through([1, Residual(2, branch=0.6, skip=0.8)], 1.0, double) == pytest.approx(2 * (0.36 * 4 + 0.64))
    # Inside a branch it can be steeper than after the sum that dilutes it, the more so behind other layers.
    assert largest([Residual(5, branch=0.1, skip=1.0)], 1.0, double) == 32.0
    assert largest([1, Residual([1, Residual(4, branch=0.1, skip=1.0)], branch=0.1, skip=1.0)], 1.0, double) == 64.0
    # Nearly the same as what dks takes, and never less.
    for s in (1.001, 1.01, 1.1):
        ours, theirs = largest([*BLOCKS, 1], 1.0, lambda y, s=s: s * y), Theirs().largest(1.0, lambda y, s=s: s * y)
        assert theirs <= ours <= theirs * s**2
    # depth and a chain of the same length are the same network
    a, b = tailoring("tanh", depth=7), tailoring("tanh", graph=[3, [4]])
    assert a.alpha == pytest.approx(b.alpha, rel=1e-9)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(3))

    def forward(self, x):
        h = x
        for layer in self.layers:
            h = layer(torch.tanh(h))
        return 0.6 * x + 0.8 * h


class Gated(Block):
    def forward(self, x):
        return torch.sigmoid(self.layers[0](x)) * self.layers[1](x)


def test_the_network_of_a_model():
    from ogive.surgery.network import network_of

    model = torch.nn.Sequential(torch.nn.Linear(5, 16), Block(), Block(), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    network = network_of(model, torch.randn(4, 5))
    assert network.layers == 7
    for r in (lambda y: 1.01 * y, lambda y: 1.5 * y, lambda y: y + 0.1):
        assert network.largest(1.0, r) == pytest.approx(
            largest([*[Residual(3, branch=0.8, skip=0.6)] * 2, 1], 1.0, r), rel=1e-12
        )
    assert tailoring("tanh", graph=network).residual < 1e-12
    with pytest.raises(ogive.InputError, match="no nonlinearity"):
        network_of(torch.nn.Linear(3, 3), torch.randn(2, 3))
    with pytest.raises(ogive.InputError, match="multiplies two branches"):
        network_of(Gated(), torch.randn(2, 16))


def test_networks_are_checked():
    assert Network((Step("input"), Step("map", (0,)), Step("sum", (0, 1)))).largest(1.0, lambda y: 3 * y) == 3.0
    # A normalisation gives variance 1 whatever came in: half and half, where it would be 1 to 100.
    scaled = Network((Step("input"), Step("same", (0,), 100.0), Step("same", (1,), unit=True), Step("map", (0,)),
                      Step("sum", (2, 3)), Step("map", (4,))))  # fmt: skip
    assert scaled.largest(1.0, lambda y: 3 * y) == 6.0
    for steps in ((Step("map", ()),), (Step("input"), Step("sum", ())), (Step("input"), Step("same", (1,)))):
        with pytest.raises(ogive.InputError, match="earlier steps"):
            Network(steps)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: tailor("tanh"), ogive.ParameterError, "depth=..., or graph="),
        (lambda: tailor("tanh", depth=3, graph=3), ogive.ParameterError, "not both"),
        (lambda: tailor("tanh", depth=0), ogive.ParameterError, "depth=0"),
        (lambda: tailor("tanh", "eoc", depth=3), ogive.ParameterError, "method='eoc'"),
        (lambda: tailor("tanh", depth=3, zeta=1.0), ogive.ParameterError, "zeta=1.0"),
        (lambda: tailor("tanh", "tat", depth=3, tau=-1), ogive.ParameterError, "tau=-1"),
        (lambda: tailor("leaky_relu", "tat", depth=3, eta=1.0), ogive.ParameterError, "eta=1.0"),
        (lambda: tailor("leaky_relu", "tat", depth=1, eta=0.9), ogive.ParameterError, "eta: 0.9 is out of reach"),
        (lambda: tailor("relu", depth=9), ogive.OgiveError, "relu.*slope=None"),
        (lambda: tailor("relu", "tat", depth=9), ogive.OgiveError, "relu.*leaky_relu"),
        (lambda: tailor("selu", "tat", depth=9), ogive.OgiveError, "selu.*jumps at 0.*dks"),
        (lambda: tailor("heaviside", depth=9), ogive.OgiveError, "jumps at 0"),
        (lambda: tailor("sign", depth=9), ogive.InputError, "surrogate"),
        (lambda: tailor("square", depth=9), ogive.OgiveError, "square.*nearest"),
        (lambda: tailor("tanh", graph="3"), ogive.InputError, "'3'"),
        (lambda: tailor("tanh", graph=[2, -1]), ogive.ParameterError, "-1 layers"),
        (lambda: Residual(2, branch=0.0, skip=0.0), ogive.ParameterError, "both 0"),
        (lambda: Residual(2, branch=math.nan), ogive.ParameterError, "branch=nan"),
    ],
)
def test_bad_input(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_results_are_json():
    import json

    assert json.loads(json.dumps(tailoring("tanh", depth=9).to_dict()))["method"] == "dks"


@pytest.mark.parametrize(("spec", "power"), [("tanh", 0.5), ("gelu", 1.0), ("softplus", 0.0)])
def test_depth_gains_bound_the_growth_of_the_gradient(spec, power):
    got = depth_gains(spec, 12, growth=2.0, power=power)
    f, slope, _, _ = MP[spec]
    total = mpmath.mpf(1)
    with mpmath.workdps(30):
        for number in (1, 7, 12):
            assert got.scales[number - 1] == pytest.approx(got.scales[0] * number**-power, rel=1e-14)
            assert got.layer(number)(0.7) == pytest.approx(
                float(f(mpmath.mpf(got.scales[number - 1]) * 0.7)), rel=1e-13
            )
        for scale in sorted(set(got.scales)):
            a = mpmath.mpf(scale)
            mean, square = quad(lambda z, a=a: f(a * z), []), quad(lambda z, a=a: f(a * z) ** 2, [])
            steep = quad(lambda z, a=a: (a * slope(a * z)) ** 2, []) / (square - mean**2)
            total *= steep ** got.scales.count(scale)
    assert float(total) == pytest.approx(2.0, rel=1e-9)
    assert got.growth == pytest.approx(2.0, rel=1e-12)


def test_shaped_gradients_of_batch_normalised_networks():
    """60 layers, width 128, 128 samples, orthogonal weights: the norm of the gradient at the first layer over that at the
    last explodes for tanh (134 to 151 over five seeds) and does not when shaped (1.25)."""
    g = torch.Generator().manual_seed(1)

    def ratio(acts):
        x = torch.randn(128, 128, generator=g, dtype=torch.float64).requires_grad_()
        h, kept = x, []
        for act in acts:
            q = torch.linalg.qr(torch.randn(128, 128, generator=g, dtype=torch.float64)).Q
            h = act(h) @ q
            h = (h - h.mean(0)) / h.std(0, unbiased=False)
            kept.append(h)
        grads = torch.autograd.grad(
            (kept[-1] * torch.randn(128, 128, generator=g, dtype=torch.float64)).sum(), [kept[0], kept[-2]]
        )
        return float(grads[0].norm() / grads[1].norm())

    shaped = depth_gains("tanh", 60, growth=1.5)
    plain, better = ratio([ogive.get("tanh")] * 60), ratio([shaped.layer(k) for k in range(1, 61)])
    assert plain > 50 * better and better < 2


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: depth_gains("relu", 9), ogive.OgiveError, "relu.*same at every scale"),
        (lambda: depth_gains("heaviside", 9), ogive.OgiveError, "jumps at 0"),
        (lambda: depth_gains("sign", 9), ogive.InputError, "surrogate"),
        (lambda: depth_gains("tanh", 0), ogive.ParameterError, "depth=0"),
        (lambda: depth_gains("tanh", 5, growth=1.0), ogive.ParameterError, "growth=1.0"),
        (lambda: depth_gains("tanh", 5, power=-1), ogive.ParameterError, "power=-1"),
        (lambda: depth_gains("tanh", 5).layer(6), ogive.ParameterError, "layers 1 to 5"),
    ],
)
def test_bad_depth_gains(call, error, said):
    with pytest.raises(error, match=said):
        call()
