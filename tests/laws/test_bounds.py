"""Law: images and lines of every entry hold, on intervals of every scale; and broken ones are caught.

The audit compares in float64 and decides the tightest points by balls. That it can see at all is shown by planting
errors of the kinds that verifiers have had: each must be caught.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import ogive
from ogive.derive.bounds import Lines, _both, _prepared, bounds, support_lines
from ogive.derive.image import blockwise, extremes, image
from ogive.derive.lines import support_line
from ogive.derive.lines.soundness import audit, intervals
from tests.entries import every_scalar_entry

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def flat(low: torch.Tensor, high: torch.Tensor) -> Lines:
    """The image as lines."""
    none = torch.zeros_like(low)
    return Lines(none, low, none, high)


@DTYPES
@every_scalar_entry
def test_the_graph_lies_in_the_image_and_between_the_lines(entry, dtype):
    pytest.importorskip("flint")
    lo, hi = intervals(entry, 300, dtype, seed=3)
    seen = audit(entry, lo, hi, flat(*image(entry, lo, hi)), samples=21, balls=8)
    assert seen.sound, seen
    seen = audit(entry, lo, hi, bounds(entry, lo, hi), samples=21, balls=8)
    assert seen.sound, seen
    gen = torch.Generator().manual_seed(4)
    some = [torch.randn(len(lo), generator=gen).to(dtype) for _ in range(4)]
    seen = audit(entry, lo, hi, support_lines(entry, lo, hi, some[0], some[1]), samples=21, balls=8)
    assert seen.sound, seen
    share = torch.rand(len(lo), generator=gen).to(dtype)
    lines = bounds(entry, lo, hi, at=(lo * (1 - share) + hi * share, lo * share + hi * (1 - share)))
    assert audit(entry, lo, hi, lines, samples=21).sound


# At a break one enclosure holds both branches and what lies between: sound and too wide.
WIDE = {"quantum_tanh"}  # breaks at the poles of tan, which are no doubles


@every_scalar_entry
def test_the_image_is_taken(entry):
    """Nowhere wider than what 2001 samples and the ends show, up to the sampling."""
    lo, hi = (t[:60] for t in intervals(entry, 60, torch.float64, seed=5))
    near = (lo.abs() < 30) & (hi.abs() < 30) & (hi - lo > 1e-3)
    lo, hi = lo[near], hi[near]
    low, high = image(entry, lo, hi)
    x = lo[:, None] + (hi - lo)[:, None] * torch.linspace(0, 1, 2001, dtype=torch.float64)
    y = entry(torch.minimum(x, hi[:, None]))
    # between two samples a smooth f can leave them by |f''| h^2 / 8; a kink or a jump by what neighbours differ in
    slack = (y[:, 1:] - y[:, :-1]).abs().amax(1) + 1e-12 * (1 + y.abs().amax(1))
    fine = torch.isfinite(slack) & torch.isfinite(high - low)
    taken = (y.amin(1) - low <= slack)[fine].all() and (high - y.amax(1) <= slack)[fine].all()
    assert taken != (entry.name in WIDE)


# Planted errors. Each makes lines for intervals [lo, hi] the way a wrong verifier would; the audit must object.
SMOOTH = ["silu", "gelu", "mish", "tanh", "sine", "softsign", "golu"]
KINKED = ["relu", "hardswish", "elu"]


def _intervals(seed: int = 9, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    gen = torch.Generator().manual_seed(seed)
    centre, width = (torch.rand(400, generator=gen, dtype=torch.float64) for _ in range(2))
    lo = (centre * 8 - 4 - width * 3).to(dtype)
    return lo, (lo.double() + width * 6 + 0.1).to(dtype)


def _slope_shifted(name, lo, hi):
    good = bounds(name, lo, hi)
    return replace(good, upper_slope=good.upper_slope * (1 + 1e-6) + 1e-9)


def _intercept_lowered(name, lo, hi):
    good = bounds(name, lo, hi)
    return replace(good, upper_intercept=good.upper_intercept - 1e-9 * (1 + good.upper_intercept.abs()))


def _lower_for_upper(name, lo, hi):
    good = bounds(name, lo, hi)
    return replace(good, upper_slope=good.lower_slope, upper_intercept=good.lower_intercept)


def _chord_everywhere(name, lo, hi):
    f = ogive.get(name)
    slope = (f(hi) - f(lo)) / (hi - lo)
    height = f(lo) - slope * lo
    return Lines(slope, height - 10, slope, height + 1e-9)


def _tangent_everywhere(name, lo, hi):
    middle = (lo + hi) / 2
    slope = ogive.derivative(name)(middle)
    height = ogive.get(name)(middle) - slope * middle
    return Lines(slope, height - 1e-9, slope, height + 10 * (hi - lo))


def _ends_only(name, lo, hi):
    a, b = ogive.get(name)(lo), ogive.get(name)(hi)
    return flat(torch.minimum(a, b) - 1e-9, torch.maximum(a, b) + 1e-9)


def _without(field):
    """Lines of an outline that lacks something."""

    def made(name, lo, hi):
        shape, lo, hi = _prepared(name, lo, hi, {})
        emptied = {"landmarks": {1: (), -1: ()}, "boxes": ()} if field == "boxes" else {field: ()}
        broken = replace(shape, **emptied)
        middle = (lo + hi) / 2
        found = blockwise(lambda l, u, m: _both(broken, l, u, (m, m), torch.float64, False), lo, hi, middle)
        return Lines(-found[0], -found[1], found[2], found[3])

    return made


def _image_without_turns(name, lo, hi):
    shape, lo, hi = _prepared(name, lo, hi, {})
    low, high, _, _ = blockwise(lambda l, u: extremes(replace(shape, turns=()), l, u), lo, hi)
    return flat(low, high)


def _arcs_swapped(name, lo, hi):
    shape, lo, hi = _prepared(name, lo, hi, {})
    broken = replace(shape, caps=shape.cups, cups=shape.caps)
    middle = (lo + hi) / 2
    found = blockwise(lambda l, u, m: _both(broken, l, u, (m, m), torch.float64, False), lo, hi, middle)
    return Lines(-found[0], -found[1], found[2], found[3])


def _shifted_arc(name, lo, hi):
    """The right lines of an interval a little to the side."""
    return bounds(name, lo, hi - 0.01 * (hi - lo))


def _first_period_only(name, lo, hi):
    shape, lo, hi = _prepared(name, lo, hi, {})
    low, high, _, _ = blockwise(lambda l, u: extremes(replace(shape, period=None), l, u), lo, hi)
    return flat(low, high)


def _nearest_rounding(name, lo, hi):
    """Slope and intercept of float64 lines rounded to float32 to nearest."""
    good = bounds(name, lo, hi)
    single = [getattr(good, k).float() for k in good.__dataclass_fields__]
    return Lines(*(v.double() for v in single))


def _no_allowance(name, lo, hi):
    """The chord of a convex function as floats have it, with nothing added."""
    f = ogive.get(name)
    slope = (f(hi) - f(lo)) / (hi - lo)
    return Lines(slope, torch.full_like(slope, -1e3), slope, f(lo) - slope * lo)


def _square_of_auto_lirpa(name, lo, hi):
    """The line above x**2 that is the tangent below it."""
    middle = (lo + hi) / 2
    return Lines(2 * middle, -middle * middle, 2 * middle, -middle * middle)


PLANTED = [
    *((n, p) for n in SMOOTH + KINKED for p in (_slope_shifted, _intercept_lowered, _lower_for_upper, _shifted_arc)),
    *((n, p) for n in SMOOTH for p in (_chord_everywhere, _tangent_everywhere, _arcs_swapped, _without("caps"))),
    *((n, _ends_only) for n in ("silu", "gelu", "mish", "sine", "hardswish", "golu")),
    *((n, _image_without_turns) for n in ("silu", "gelu", "mish", "sine", "golu")),
    *((n, _nearest_rounding) for n in ("silu", "gelu", "tanh", "mish")),
    *((n, _without("boxes")) for n in ("relu", "step", "hardtanh", "hardsigmoid")),
    *((n, _without("cups")) for n in ("silu", "softplus", "elu", "x*x")),
    *((n, _no_allowance) for n in ("softplus", "exp(x)", "cosh(x)")),
    ("sine", _first_period_only), ("snake", _first_period_only), ("x*x", _square_of_auto_lirpa),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "plant"), PLANTED, ids=[f"{n}{p.__qualname__.split('.')[0]}{i}" for i, (n, p) in enumerate(PLANTED)]
)
def test_a_planted_error_is_caught(name, plant):
    pytest.importorskip("flint")
    lo, hi = _intervals()
    seen = audit(name, lo, hi, plant(name, lo, hi), balls=64)
    assert not seen.sound and seen.lo <= seen.x <= seen.hi and seen.by > 0


@pytest.mark.parametrize("name", SMOOTH + KINKED)
def test_nothing_is_caught_where_nothing_is_planted(name):
    pytest.importorskip("flint")
    lo, hi = _intervals()
    assert audit(name, lo, hi, bounds(name, lo, hi), balls=64).sound
    assert audit(name, lo, hi, flat(*image(name, lo, hi)), balls=64).sound


def test_soundness_does_not_rest_on_the_search(monkeypatch):
    """Points of contact anywhere on the arc, and slopes from nowhere, still give lines that hold."""
    real = support_line.touch

    def astray(rounded, arc, a, p, q, steps, shift):
        t = real(rounded, arc, a, p, q, 0, shift)
        return torch.minimum(torch.maximum(t + torch.sin(1e3 * t), p), q)

    monkeypatch.setattr(support_line, "touch", astray)
    lo, hi = _intervals()
    for name in SMOOTH + KINKED:
        seen = audit(name, lo, hi, bounds(name, lo, hi), balls=16)
        assert seen.sound, seen
