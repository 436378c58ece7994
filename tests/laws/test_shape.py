"""The law of shapes: what `pieces` and `shape` prove of an entry agrees with exact values at many points."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ogive.activation import Activation
from ogive.derive.exact import Oracle
from ogive.derive.pieces import Piece, pieces, slight
from ogive.derive.shape import shape
from ogive.derive.signs.crossing import doubles, ordinals
from ogive.derive.signs.proof import check
from ogive.errors import OgiveError
from tests.entries import every_scalar_entry, few_scalar_entries

pytest.importorskip("flint")

FAR = 1e15  # beyond it exact values of exp and sin cost too much


def places(row: Piece, rng: random.Random, n: int) -> list[float]:
    """Points of a row: even, by the numbering of the doubles, and the neighbours of its ends."""
    a, b = (int(v) for v in ordinals(np.array([row.lo, row.hi])))
    lo, hi = max(row.lo, -FAR), min(row.hi, FAR)
    found = [lo + (hi - lo) * rng.random() for _ in range(n)]
    found += [float(doubles(np.array([rng.randint(a, b)]))[0]) for _ in range(n)]
    found += [float(np.nextafter(row.lo, math.inf)), float(np.nextafter(row.hi, -math.inf))]
    return [x for x in found if row.lo < x < row.hi and abs(x) <= FAR]


def broken(row: Piece, x: float, f: object, d: object, c: object) -> str | None:
    """What the exact f, f' and f'' at a point inside a row say against it."""
    if f < row.value[0] or f > row.value[1]:
        return f"f({x!r}) = {float(f)!r} is outside {row.value}"
    if slight(row) and row.curvature is None:
        return None  # the derivative at a kink is a convention
    if d < row.derivative[0] or d > row.derivative[1]:
        return f"f'({x!r}) = {float(d)!r} is outside {row.derivative}"
    for sign, v, what in ((row.slope, d, "f'"), (row.curvature, c, "f''")):
        if (sign == 1 and v < 0) or (sign == -1 and v > 0) or (sign == 0 and (v < 0 or v > 0)):
            return f"{what}({x!r}) = {float(v)!r} has not the sign {sign}"
    return None


@every_scalar_entry
def test_signs_and_enclosures_hold_at_exact_points(entry):
    rng = random.Random(len(entry.name))
    oracle = Oracle(replace(entry, written=entry.expr), 2, 40)
    rows = list(pieces(entry).rows)
    rows = rng.sample(rows, 16) if len(rows) > 16 else rows
    for row in rows:
        for x in places(row, rng, 2):
            try:
                f, d, c = oracle(x)
            except OgiveError:
                continue
            complaint = broken(row, x, f, d, c)
            assert complaint is None, f"{entry.name}: {row}: {complaint}"


@every_scalar_entry
def test_rows_leave_no_gap_and_cover_the_doubles(entry):
    p = pieces(entry)
    knots = p.knots()
    assert all(a < b for a, b in pairwise(knots))
    assert all(a.hi == b.lo for a, b in pairwise(p.rows))
    if p.period is None:
        assert (knots[0], knots[-1]) == (-np.finfo(float).max, np.finfo(float).max)
    else:
        assert 0.0 <= knots[-1] - knots[0] - p.period <= 1e-15 * p.period
    if p.proved:
        assert all(slight(r) for r in p.rows if r.slope is None or r.curvature is None)


def samples() -> np.ndarray:
    half = np.concatenate([np.linspace(0.0, 8.0, 1201), np.geomspace(1e-8, 50.0, 300)])
    return np.unique(np.concatenate([half, -half]))


def values(entry: Activation, x: np.ndarray) -> np.ndarray:
    return np.array([float(v) for v in _compute(entry, x)])


def _compute(entry: Activation, x: np.ndarray) -> np.ndarray:
    import torch

    return entry(torch.from_numpy(x)).expand(len(x)).numpy()


@every_scalar_entry
def test_dense_samples_stay_within_the_bounds(entry):
    s = shape(entry)
    x = samples()
    y = values(entry, x)
    keep = np.isfinite(y)
    x, y = x[keep], y[keep]
    noise = 1e-9 * np.maximum(1.0, np.abs(y))
    assert (y >= s.minimum.low - noise).all(), entry.name
    assert (y <= s.maximum.high + noise).all(), entry.name
    if math.isfinite(s.lipschitz):
        step, rise = np.diff(x), np.abs(np.diff(y))
        assert (rise <= s.lipschitz * step * (1 + 1e-9) + 2 * noise[1:]).all(), entry.name
    for run in s.monotone:
        inside = (x > run.lo) & (x < run.hi)
        assert (run.sign * np.diff(y[inside]) >= -noise[inside][1:]).all() or run.sign == 0, (entry.name, run)


@every_scalar_entry
def test_bounds_are_sharp(entry):
    s = shape(entry)
    # Where a formula has a kink that no exact arithmetic resolves, the slopes in the sliver about it are a hull.
    for b in (s.minimum, s.maximum, *(() if s.kinks or s.jumps else s.slopes)):
        assert b.low <= b.high
        if s.proved and math.isfinite(b.low) and math.isfinite(b.high) and max(abs(b.low), abs(b.high)) < 1e100:
            assert b.high - b.low <= 1e-12 * max(abs(b.low), abs(b.high), 1.0), (entry.name, b)


@few_scalar_entries
def test_the_checker_accepts_every_proof(entry):
    proof = shape(entry).proof
    if len(proof.rows) <= 60:
        verdict = check(proof)
        assert verdict.holds, f"{entry.name}: {verdict.refuted}"
