"""Images and lines of single activations: exact where they can be, tight where they must be, differentiable."""

from __future__ import annotations

import math

import pytest
import torch

import ogive
from ogive.derive.bounds import Lines, bounds, support_lines
from ogive.derive.image import image
from ogive.derive.lines.soundness import audit, intervals
from ogive.errors import InputError, ParameterError

BOXES = [(-1.0, 1.0), (-3.0, 3.0), (-4.0, -0.5), (0.5, 4.0), (-6.0, 1.0)]
INF = math.inf


def ends(boxes=BOXES, dtype=torch.float64):
    lo, hi = zip(*boxes)
    return torch.tensor(lo, dtype=dtype), torch.tensor(hi, dtype=dtype)


def hull_at(name, lo, hi, m, sign):
    """The concave hull of sign * f on [lo, hi] at m: the highest chord over it, from 1601 points a side."""
    f = ogive.get(name)
    left, right = (torch.linspace(a, b, 1601, dtype=torch.float64) for a, b in ((lo, m), (m, hi)))
    y, z = sign * f(left), sign * f(right)
    share = (m - left[:, None]) / (right[None, :] - left[:, None])
    chords = y[:, None] + share * (z[None, :] - y[:, None])
    return max(float(chords[torch.isfinite(chords)].max()), sign * f(m))


@pytest.mark.parametrize(
    "name", ["silu", "gelu", "mish", "tanh", "softsign", "sine", "snake", "elu", "relu", "exp(-x*x)", "x*x"]
)
@pytest.mark.parametrize("share", [0.5, 0.2, 0.85])
def test_lines_touch_the_hull_at_the_point_asked_for(name, share):
    lo, hi = ends()
    at = lo + share * (hi - lo)
    lines = bounds(name, lo, hi, at=at)
    for i, (a, b) in enumerate(BOXES):
        m = float(at[i])
        over = float(lines.upper(at)[i]) - hull_at(name, a, b, m, 1)
        under = -float(lines.lower(at)[i]) - hull_at(name, a, b, m, -1)
        # the reference itself is short by at most |f''| h^2 / 8 with h = 7/1600, about 5e-6 for the steepest here
        assert -1e-12 < over < 1e-5 and -1e-12 < under < 1e-5, (name, a, b)


def test_the_image_is_exact_to_fifteen_digits():
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 40
    lo, hi = ends()
    low, high = image("silu", lo, hi)
    at = mpmath.findroot(lambda x: 1 + mpmath.exp(-x) + x * mpmath.exp(-x), -1.28)  # silu' = 0

    def silu(x):
        return x / (1 + mpmath.exp(-mpmath.mpf(x)))

    for i, (a, b) in enumerate(BOXES):
        points = [silu(a), silu(b), *([silu(at)] if a < at < b else [])]
        for got, want, side in ((low[i], min(points), -1), (high[i], max(points), 1)):
            assert 0 <= side * (mpmath.mpf(float(got)) - want) <= 3e-13 * (1 + abs(want))


def test_a_single_point_has_its_value_for_an_image():
    x = torch.tensor([-2.0, 0.0, 0.3, 7.0])
    for name in ("relu", "silu", "sine", "step", "sqrt(abs(x))"):
        low, high = image(name, x, x)
        y = ogive.get(name)(x.double())
        assert (low.double() <= y).all() and (high.double() >= y).all()
        assert ((high - low) <= 2.5e-7 * (y.abs() + 1e-30)).all(), name


@pytest.mark.parametrize(("name", "lo", "hi", "low", "high"), [
    ("silu", -INF, INF, -0.2784645427610738, INF),
    ("silu", -INF, -5.0, -0.03346425462142428, 0.0),
    ("tanh", -INF, INF, -1.0, 1.0),
    ("tanh", 1.0, INF, 0.7615941559557649, 1.0),
    ("exp(-x*x)", -INF, 1.0, 0.0, 1.0),
    ("sine", -INF, INF, -1.0, 1.0),
    ("relu", -INF, -1.0, 0.0, 0.0),
])  # fmt: skip
def test_infinite_ends(name, lo, hi, low, high):
    a, b = torch.tensor([lo], dtype=torch.float64), torch.tensor([hi], dtype=torch.float64)
    got = [float(t) for t in image(name, a, b)]
    assert got == pytest.approx([low, high], abs=1e-12) and got[0] <= low and got[1] >= high
    lines = bounds(name, a, b)
    assert float(lines.lower_slope) == float(lines.upper_slope) == 0.0
    assert (float(lines.lower_intercept), float(lines.upper_intercept)) == tuple(got)


def test_what_cannot_be_bounded_is_bounded_by_infinity():
    lo, hi = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1e4])
    low, high = image("exp(x)", lo, hi)
    assert high.tolist()[1] == INF and low[1] <= 1.0
    pole = image("1/x", lo[:1], hi[:1])
    assert [float(t) for t in pole] == [-INF, INF]
    lines = bounds("exp(x)", lo, hi)
    assert lines.upper_intercept[1] == INF and audit("exp(x)", lo, hi, lines).sound


def test_nan_ends_give_nan_images_and_no_error():
    nan = torch.tensor([math.nan, 0.0])
    low, high = image("silu", nan, torch.tensor([1.0, 1.0]))
    assert torch.isnan(low).tolist() == torch.isnan(high).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_interval_is_too_narrow(dtype):
    lo = torch.tensor([-1e6, -3.0, -1e-30, 0.0, 1.0, 2.399357280515468, 1e6], dtype=dtype)
    for hi in (lo, torch.nextafter(lo, torch.full_like(lo, INF))):
        for name in ("silu", "relu", "tanh", "softsign", "sine"):
            lines = bounds(name, lo, hi)
            assert audit(name, lo, hi, lines).sound
            gap = (lines.upper_slope.double() - lines.lower_slope.double()) * lo.double()
            gap = gap + lines.upper_intercept.double() - lines.lower_intercept.double()
            assert (gap <= 1e-12 + (8 * torch.finfo(dtype).eps + 1e-13) * (1 + 2.2 * lo.double().abs())).all(), name


def test_float32_intercepts_are_those_of_the_rounded_slopes():
    """A float64 line rounded to nearest is caught by balls; ours is rounded up after its slope was."""
    lo, hi = intervals("gelu", 4000, torch.float32, seed=2)
    lines = bounds("gelu", lo, hi)
    wide = bounds("gelu", lo.double(), hi.double())
    middle = (lo.double() + hi.double()) / 2
    room = 4e-7 * (1 + lo.double().abs() + hi.double().abs())
    for side in ("upper", "lower"):
        slope, height = getattr(lines, f"{side}_slope").double(), getattr(lines, f"{side}_intercept").double()
        assert ((slope * middle + height - getattr(wide, side)(middle)).abs() <= room).all()
    assert audit("gelu", lo, hi, lines, balls=64).sound


def test_shapes_broadcast_and_empty_tensors_pass():
    lines = bounds("silu", torch.zeros(3, 1), torch.ones(1, 4), at=torch.tensor(0.3))
    assert lines.upper_slope.shape == (3, 4) and repr(lines) == "Lines((3, 4), float32)"
    assert image("silu", torch.zeros(0, 2), torch.ones(0, 2))[0].shape == (0, 2)
    assert bounds("silu", torch.zeros(0), torch.ones(0)).lower_slope.shape == (0,)
    assert set(lines.to_dict()) == {"lower_slope", "lower_intercept", "upper_slope", "upper_intercept"}


def test_blocks_do_not_show():
    gen = torch.Generator().manual_seed(1)
    lo = torch.randn(40_000, generator=gen, dtype=torch.float64)
    hi = lo + torch.rand(40_000, generator=gen, dtype=torch.float64)
    whole = bounds("mish", lo, hi)
    part = bounds("mish", lo[20_000:20_100], hi[20_000:20_100])
    assert torch.allclose(whole.upper_slope[20_000:20_100], part.upper_slope, atol=1e-7)


def numeric(run, x, step=1e-6):
    return (run(x + step) - run(x - step)) / (2 * step)


@pytest.mark.parametrize("name", ["silu", "gelu", "tanh", "sine", "elu", "softplus"])
def test_gradients_of_images_and_lines(name):
    boxes = [(-1.0, 1.3), (-3.0, 3.2), (-4.0, -0.5), (0.5, 4.1), (-6.0, 1.2), (-2.0, 0.1)]
    lo, hi = ends(boxes)
    at = lo + 0.37 * (hi - lo)
    for field in ("lower_slope", "lower_intercept", "upper_slope", "upper_intercept"):
        args = [t.clone().requires_grad_() for t in (lo, hi, at)]
        grads = torch.autograd.grad(getattr(bounds(name, *args), field).sum(), args, allow_unused=True)
        for i in range(3):

            def run(x, i=i, field=field):
                moved = [lo, hi, at]
                moved[i] = x
                return getattr(bounds(name, *moved), field)

            want = numeric(run, (lo, hi, at)[i])
            assert torch.allclose(grads[i], want, atol=2e-4, rtol=2e-4), (field, i, grads[i], want)
    for k in (0, 1):
        args = [lo.clone().requires_grad_(), hi.clone().requires_grad_()]
        grads = torch.autograd.grad(image(name, *args)[k].sum(), args)
        assert torch.allclose(grads[0], numeric(lambda x, k=k: image(name, x, hi)[k], lo), atol=1e-5)
        assert torch.allclose(grads[1], numeric(lambda x, k=k: image(name, lo, x)[k], hi), atol=1e-5)


def test_gradients_by_the_slopes():
    lo, hi = ends()
    slopes = [torch.full_like(lo, v).requires_grad_() for v in (-0.1, 0.4)]
    lines = support_lines("silu", lo, hi, *slopes)
    got = torch.autograd.grad(lines.upper_intercept.sum() + lines.lower_intercept.sum(), slopes)
    for i, field in enumerate(("lower_intercept", "upper_intercept")):

        def run(x, i=i, field=field):
            moved = [s.detach() for s in slopes]
            moved[i] = x
            return getattr(support_lines("silu", lo, hi, *moved), field)

        assert torch.allclose(got[i], numeric(run, slopes[i].detach()), atol=1e-5)


def test_infinite_ends_have_no_gradient_and_no_nan():
    lo = torch.tensor([-INF, -1.0], dtype=torch.float64, requires_grad=True)
    hi = torch.tensor([1.0, INF], dtype=torch.float64, requires_grad=True)
    low, high = image("tanh", lo, hi)
    grads = torch.autograd.grad((low + high).sum(), [lo, hi])
    assert torch.isfinite(torch.stack(grads)).all() and float(grads[0][0]) == float(grads[1][1]) == 0.0
    lines = bounds("tanh", lo, hi)
    total = sum(getattr(lines, k).sum() for k in lines.__dataclass_fields__)
    assert torch.isfinite(torch.stack(torch.autograd.grad(total, [lo, hi]))).all()


def test_flat_lines_give_the_image():
    lo, hi = intervals("mish", 500, torch.float64, seed=8)
    none = torch.zeros_like(lo)
    lines = support_lines("mish", lo, hi, none, none)
    low, high = image("mish", lo, hi)
    size = 1e-12 * (1 + low.abs() + high.abs())
    assert ((lines.lower_intercept - low).abs() <= size).all() and ((lines.upper_intercept - high).abs() <= size).all()


def test_periods_are_found_anywhere():
    for far in (0.0, 1e3, 1e8, -1e6):
        lo = torch.tensor([far], dtype=torch.float64)
        low, high = image("sine", lo, lo + 7.0)
        assert float(low) == pytest.approx(-1.0, abs=1e-6) and float(high) == pytest.approx(1.0, abs=1e-6)
        low, high = image("snake", lo, lo + 50.0)
        f = ogive.get("snake")
        assert float(low) == pytest.approx(f(far), rel=1e-9, abs=1e-9)
        assert audit("sine", lo, lo + 2.0, bounds("sine", lo, lo + 2.0), balls=4).sound


def test_parameters_are_followed():
    lo, hi = ends()
    low, _ = image("leaky_relu", lo, hi, negative_slope=0.5)
    assert torch.allclose(low, torch.where(lo < 0, 0.5 * lo, lo))
    assert bounds("swish", lo, hi, beta=0.0).upper_slope.tolist() == pytest.approx([0.5] * 5)
    with pytest.raises(ParameterError, match="beta"):
        image("swish", lo, hi, alpha=1.0)


def test_a_formula_typed_a_minute_ago():
    lo, hi = intervals("x*exp(-x*x/3) + 0.2*abs(x - 1)", 800, torch.float32, seed=1)
    text = "x*exp(-x*x/3) + 0.2*abs(x - 1)"
    assert audit(text, lo, hi, bounds(text, lo, hi), balls=32).sound


def test_where_signs_cannot_be_followed_intervals_are_cut():
    lo, hi = torch.tensor([100.0, 300.0], dtype=torch.float64), torch.tensor([104.0, 320.0], dtype=torch.float64)
    low, high = image("gcu", lo, hi)
    x = lo[:, None] + (hi - lo)[:, None] * torch.linspace(0, 1, 100_001, dtype=torch.float64)
    y = ogive.get("gcu")(x)
    assert ((y.amin(1) - low) <= 1e-3).all() and ((high - y.amax(1)) <= 1e-3).all() and (low <= y.amin(1)).all()
    lines = bounds("gcu", lo, hi)
    assert audit("gcu", lo, hi, lines, balls=4).sound and torch.isfinite(lines.upper_intercept).all()


def test_what_is_wrong_is_named():
    one = torch.ones(1)
    with pytest.raises(InputError, match=r"silu: lo = 2\.0 is above hi = 1\.0 at element 0"):
        image("silu", 2 * one, one)
    with pytest.raises(InputError, match=r"lo is torch\.int64"):
        bounds("silu", torch.tensor([1]), one)
    with pytest.raises(InputError, match="one dtype"):
        bounds("silu", one, one.double())
    with pytest.raises(InputError, match="at is 3"):
        bounds("silu", one, one, at=3)
    with pytest.raises(InputError, match="2 inputs"):
        bounds("swiglu", one, one)
    with pytest.raises(InputError, match="not finite"):
        support_lines("silu", one, one, one * INF, one)


def test_an_audit_says_where():
    lo, hi = torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 2.0])
    broken = Lines(*(torch.tensor([v, v]) for v in (0.0, -1.0, 0.0, 1.5)))
    seen = audit("relu", lo, hi, broken)
    assert (seen.violations, seen.lo, seen.hi, seen.x) == (1, -1.0, 2.0, 2.0) and seen.by == pytest.approx(0.5)
    assert "1 violations" in repr(seen) and seen.to_dict()["x"] == 2.0


@pytest.mark.parametrize(
    ("formula", "lo", "hi", "image"),
    [
        ("maximum(abs(x) - 1, 0)", -100.0, 50.0, (0.0, 99.0)),  # falls, lies flat, rises
        ("maximum(abs(x) - 1, 0)", 0.5, 3.0, (0.0, 2.0)),
        ("-maximum(abs(x) - 1, 0)", -3.0, 0.5, (-2.0, 0.0)),
        ("minimum(maximum(x, -1), 1) + maximum(abs(x) - 4, 0)", -2.0, 9.0, (-1.0, 6.0)),  # flat between two rises
        ("minimum(maximum(abs(x) - 1, 0), 2)", -9.0, 9.0, (0.0, 2.0)),  # flat, falls, flat, rises, flat
    ],
)
def test_a_flat_stretch_between_falling_and_rising_is_an_extremum(formula, lo, hi, image):
    ends = ogive.image(formula, torch.tensor(lo, dtype=torch.float64), torch.tensor(hi, dtype=torch.float64))
    assert [round(float(v), 9) for v in ends] == list(image)
    at = torch.linspace(lo, hi, 2001, dtype=torch.float64)
    lines = ogive.bounds(formula, at[:1], at[-1:])
    f = ogive.get(formula)(at)
    assert bool((lines.lower_slope * at + lines.lower_intercept <= f + 1e-12).all())
    assert bool((lines.upper_slope * at + lines.upper_intercept >= f - 1e-12).all())
