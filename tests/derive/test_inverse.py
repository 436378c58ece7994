"""Inverses against mpmath, by hand-written formulas; branches, closed forms, gradients, what is refused."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

import ogive
from ogive.derive.branches import branches
from ogive.derive.inverse import Inverse, inverse
from ogive.derive.log_slope import log_abs_slope
from ogive.derive.solving.undo import stretch, undo
from ogive.parse import parse

INF = math.inf


def mp(f):
    return lambda x: f(mpmath.mpf(x))


# name, a point of the branch, f in mpmath, places of y in its image
KNOWN = {
    "tanh": (0.0, mp(mpmath.tanh), [-0.999999999, -0.3, 1e-12, 0.7, 1 - 1e-15]),
    "sigmoid": (0.0, mp(lambda x: 1 / (1 + mpmath.exp(-x))), [1e-280, 1e-20, 0.25, 0.5 + 1e-14, 1 - 2**-53]),
    "softplus": (0.0, mp(lambda x: mpmath.log1p(mpmath.exp(x))), [1e-200, 1e-5, 0.6931471805599453, 0.7, 30.0, 1e10]),
    "silu": (1.0, mp(lambda x: x / (1 + mpmath.exp(-x))), [-0.2784645427610738, -0.27, -1e-9, 0.5, 1e5]),
    "gelu": (-3.0, mp(lambda x: x * mpmath.ncdf(x)), [-0.16997120747990, -0.1, -1e-3, -1e-50]),
    "mish": (1.0, mp(lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))), [-0.3088434130172504, 0.0, 1e-6, 3.0]),
    "erf": (0.0, mp(mpmath.erf), [-0.999, 1e-100, 0.5, 1 - 1e-14]),
    "elu": (0.0, mp(lambda x: x if x > 0 else mpmath.expm1(x)), [-1 + 1e-15, -0.5, -1e-17, 2.0]),
    "arctan": (0.0, mp(mpmath.atan), [-1.5707963267948966, 0.1, 1.57]),
    "x + sin(x)": (0.0, mp(lambda x: x + mpmath.sin(x)), [3.141592653589793, 1.0, 1e6, -7.7]),
    "x**5 + x": (0.0, mp(lambda x: x**5 + x), [-1e100, -1e-30, 0.3, 7.0]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_within_a_unit_in_the_last_place(name):
    at, f, places = KNOWN[name]
    found = inverse(name, at=at)
    sign = 1 if found.branch.rising else -1
    # float32 is a number of its own: its reference is the y that the rounding to float32 left
    for dtype in (torch.float64, torch.float32):
        y = torch.tensor(places, dtype=dtype)
        low, high = found.branch.low, found.branch.high
        y = y[(y.abs() > 1e-290) & (y.abs() > torch.finfo(dtype).tiny) & (y.double() > low) & (y.double() < high)]
        x = found(y)
        assert x.dtype == dtype and torch.isfinite(x).all()
        below, above = (
            torch.nextafter(x, torch.tensor(-INF, dtype=dtype)),
            torch.nextafter(x, torch.tensor(INF, dtype=dtype)),
        )
        with mpmath.workdps(700):
            for a, b, v in zip(below.tolist(), above.tolist(), y.tolist()):
                assert sign * f(a) <= sign * mpmath.mpf(v) <= sign * f(b), (name, dtype, v)


def test_sixteen_bit_inputs_round_once():
    y = torch.linspace(-0.9, 0.9, 37, dtype=torch.bfloat16)
    assert torch.equal(inverse("tanh")(y), torch.atanh(y.double()).to(torch.bfloat16))


def test_branches_of_silu():
    found = branches("silu")
    with mpmath.workdps(40):
        turn = mpmath.findroot(lambda x: mpmath.diff(lambda t: t / (1 + mpmath.exp(-t)), x), -1.28)
    assert [b.rising for b in found] == [False, True]
    assert found[0].hi == found[1].lo == pytest.approx(float(turn), rel=1e-15)
    assert found[0].lo == -INF and found[1].hi == INF and found[1].high == INF
    assert found[1].low == -0.2784645427610738
    assert found[0].attained == (True, False) and found[1].attained == (True, False)
    assert not found.bijective


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("relu6", [(0.0, 6.0, True)]),
        ("softplus", [(-INF, INF, True)]),
        ("-x", [(-INF, INF, False)]),
        ("x**3", [(-INF, INF, True)]),  # an inflection with slope 0 does not end a branch
        ("abs(x - 1)", [(-INF, 1.0, False), (1.0, INF, True)]),
        ("x + 0.001*sign(x)", [(-INF, -5e-324, True), (5e-324, INF, True)]),  # a jump does
        ("x + sin(x)", [(-INF, INF, True)]),
        ("heaviside", []),
    ],
)
def test_branches_end_where_they_should(spec, want):
    assert [(b.lo, b.hi, b.rising) for b in branches(spec)] == want


def test_a_periodic_function_has_the_branches_of_one_period_and_its_turns():
    once, later = branches("sin(x)"), branches("sin(x)", turn=2)
    assert once.period == pytest.approx(2 * math.pi)
    assert [(b.lo, b.hi) for b in once] == [
        pytest.approx((math.pi / 2, 1.5 * math.pi)),
        pytest.approx((1.5 * math.pi, 2.5 * math.pi)),
    ]
    assert [b.lo - a.lo for a, b in zip(once, later)] == pytest.approx([4 * math.pi] * 2)
    y = torch.tensor([0.3], dtype=torch.float64)
    near, far = inverse("sin(x)", 1)(y), inverse("sin(x)", 1, turn=2)(y)
    assert float(far - near) == pytest.approx(4 * math.pi, rel=1e-15)


def test_what_is_flat_is_said():
    found = branches("relu6")
    assert [(f.lo, f.hi, f.value) for f in found.flats] == [(-INF, 0.0, 0.0), (6.0, INF, 6.0)]
    with pytest.raises(ogive.InputError, match=r"relu: it is 0 all over \(-inf, 0\], so there is no inverse there"):
        inverse("relu")
    with pytest.raises(ogive.InputError, match=r"relu at -1: it is 0 all over"):
        inverse("relu", at=-1.0)
    with pytest.raises(ogive.ParameterError, match=r"heaviside.*branch=0.*no inverse"):
        inverse("heaviside", 0)


def test_closed_forms():
    forms = {
        "softplus": "y + log(-expm1(-y))", "elu": "where(y > 0, y, log1p(y))", "sigmoid": "log(y/(1 - y))",
        "hardswish": "where(y > 3, y, 0.5*(sqrt(9 + 24*y) - 3))", "softsign": "y/(1 - abs(y))",
        "squareplus": "y - 1/y", "symlog": "where(y > 0, expm1(y), -expm1(-y))", "gompertz": "-log(-log(y))",
    }  # fmt: skip
    for name, text in forms.items():
        found = inverse(name, at=1.0)
        assert str(found.formula.written) == text
    assert inverse("gelu", at=1.0).formula is None
    assert "Newton" in repr(inverse("gelu", at=1.0))
    assert inverse("elu", alpha=2.0).formula.written == parse("where(y > 0, y, log1p(0.5*y))", ("y",))


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [("x/sqrt(4 + x**2)", 0.0, INF), ("(2*x + 1)/(x + 3)", -3.0, INF), ("x*x - 3*x", 1.5, INF),
     ("tanh(x)**2 + tanh(x)", 0.0, INF), ("cos(x)", 3.2, 6.2), ("2**x", -INF, INF), ("cosh(x)", -INF, 0.0)],
)  # fmt: skip
def test_undone_step_by_step(text, lo, hi):
    expr = parse(text)
    back = undo(expr, "x", [stretch(lo, hi)])
    x = stretch(lo, hi).points
    f, g = ogive.define(text), ogive.Activation(back, ("y",))
    torch.testing.assert_close(g(f(x)), x, rtol=1e-10, atol=1e-10)


def test_outside_the_image():
    y = torch.tensor([-1.5, 0.5, 1.5])
    with pytest.raises(ogive.InputError, match=r"tanh: y = -1\.5 is outside the image .*\(-1, 1\)"):
        inverse("tanh")(y)
    got = inverse("tanh", outside="nan")(y)
    assert got.isnan().tolist() == [True, False, True]
    assert inverse("tanh", outside="clamp")(y)[[0, 2]].tolist() == [-INF, INF]
    assert inverse("relu6", 0, outside="clamp")(y)[[0]].tolist() == [0.0]
    # limits that are not reached, and values that f itself has rounded to the limit
    assert inverse("tanh")(1.0) == INF and inverse("sigmoid")(0.0) == -INF
    least = ogive.get("silu")(torch.tensor([-1.2784645427610738]))
    assert inverse("silu", 1)(least).item() == pytest.approx(-1.2784645, rel=1e-3)
    assert math.isnan(inverse("tanh")(math.nan))


@pytest.mark.parametrize("spec", ["tanh", "softplus", "silu", "x + 0.5*sin(x)"])
def test_gradients_of_every_order(spec):
    found = inverse(spec, at=0.4)
    y = ogive.get(spec)(torch.tensor([0.4, 0.9, 1.7], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(found, (y,))
    assert torch.autograd.gradgradcheck(found, (y,))
    (first,) = torch.autograd.grad(found(y).sum(), y, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), y, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), y)
    with mpmath.workdps(40):
        f = {"tanh": mpmath.atanh, "softplus": lambda v: mpmath.log(mpmath.expm1(v))}.get(spec)
        if f is not None:
            want = [float(mpmath.diff(f, mpmath.mpf(v), 3)) for v in y.tolist()]
            assert third.tolist() == pytest.approx(want, rel=1e-10)


def test_gradients_reach_parameters():
    alpha = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([-0.5, -0.2, 1.0], dtype=torch.float64, requires_grad=True)

    def run(y, alpha):
        return inverse("elu", alpha=alpha)(y)

    assert torch.autograd.gradcheck(run, (y, alpha))
    assert torch.autograd.gradgradcheck(run, (y, alpha))
    with pytest.raises(ogive.ParameterError, match="alpha has 2 values"):
        inverse("elu", alpha=torch.ones(2))


def test_function_transforms():
    found = inverse("softplus")
    y = torch.rand(4, 3, dtype=torch.float64) + 0.1
    torch.testing.assert_close(torch.func.vmap(found)(y), found(y))
    each = torch.func.vmap(torch.func.grad(lambda v: found(v).sum()))(y)
    torch.testing.assert_close(each, 1.0 / torch.sigmoid(found(y)))
    _, tangent = torch.func.jvp(found, (y,), (torch.ones_like(y),))
    torch.testing.assert_close(tangent, each)


def test_shapes_dtypes_and_numbers():
    found = inverse("softplus")
    for shape in ((), (0,), (2, 3), (2, 3, 4)):
        y = torch.rand(shape) + 0.1
        assert found(y).shape == y.shape
    strided = torch.rand(6, 4).t()[::2] + 0.1
    torch.testing.assert_close(found(strided), found(strided.contiguous()))
    assert isinstance(found(0.5), float)
    with pytest.raises(ogive.InputError, match="floating"):
        found(torch.tensor([1, 2]))


def test_the_logarithm_of_the_slope_survives_the_slope():
    x = torch.tensor([-1000.0, -30.0, 0.3, 800.0], dtype=torch.float64)
    for name, exact in {
        "tanh": lambda v: -2 * mpmath.log(mpmath.cosh(v)),
        "sigmoid": lambda v: -2 * mpmath.log(2 * mpmath.cosh(v / 2)),
        "softplus": lambda v: -mpmath.log1p(mpmath.exp(-v)),
        "Phi(x)": lambda v: -v * v / 2 - mpmath.log(2 * mpmath.pi) / 2,
    }.items():
        with mpmath.workdps(900):
            want = [float(exact(mpmath.mpf(v))) for v in x.tolist()]
        assert log_abs_slope(name)(x).tolist() == pytest.approx(want, rel=1e-14), name
    inner = x[1:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(log_abs_slope("tanh"), (inner,))
    y = torch.tensor([0.2, 0.9], dtype=torch.float64)
    back, log_slope = inverse("tanh").with_log_slope(y)
    torch.testing.assert_close(log_slope, -torch.log1p(-y * y))
    torch.testing.assert_close(inverse("tanh").log_abs_slope(back), -log_slope)


def test_bad_input():
    with pytest.raises(ogive.InputError, match=r"swiglu.*2 inputs"):
        inverse("swiglu")
    with pytest.raises(ogive.ParameterError, match="outside='wrap'"):
        inverse("tanh", outside="wrap")
    with pytest.raises(ogive.ParameterError, match=r"silu: branch=2; .*branch 0 falls on \(-inf, -1\.278"):
        inverse("silu", 2)
    with pytest.raises(ogive.ParameterError, match="give one of the two"):
        inverse("silu", 1, at=0.0)
    with pytest.raises(ogive.ParameterError, match="alpha"):
        inverse("elu", alpha=-1.0)


def test_repr_and_dict():
    found = inverse("leaky_relu", negative_slope=0.5)
    assert isinstance(found, Inverse)
    assert repr(found) == (
        "Inverse(leaky_relu, negative_slope=0.5 rises on (-inf, inf), image (-inf, inf): x = where(y > 0, y, 2*y))"
    )
    told = found.to_dict()
    assert told["formula"] == "where(y > 0, y, 2*y)" and told["branch"]["rising"] is True
    assert branches("relu").to_dict()["flats"][0]["value"] == 0.0
