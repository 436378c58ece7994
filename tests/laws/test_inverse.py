"""Law: on every branch the inverse is within one unit in the last place, by exact values at its two neighbours."""

from __future__ import annotations

import math

import pytest
import torch

from ogive.derive.branches import Branch, branches
from ogive.derive.inverse import inverse
from ogive.errors import OgiveError
from tests.entries import few_scalar_entries

FIRST = 3  # branches of one entry


def inside(branch: Branch, dtype: torch.dtype) -> torch.Tensor:
    """Places all over the domain and close to its finite ends."""
    lo, hi = max(branch.lo, -900.0), min(branch.hi, 900.0)
    near_lo, near_hi = max(branch.lo, -6.0), min(branch.hi, 6.0)
    part = torch.tensor([0.02, 0.31, 0.49, 0.77, 0.98], dtype=torch.float64)
    spots = [a + (b - a) * part for a, b in ((lo, hi), (near_lo, near_hi)) if a < b]
    close = torch.tensor([1e-3, 1e-8], dtype=torch.float64)
    width = min(1.0, branch.hi - branch.lo)
    spots += [end + way * width * close for end, way in ((branch.lo, 1.0), (branch.hi, -1.0)) if math.isfinite(end)]
    return torch.cat(spots).to(dtype)


@few_scalar_entries
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_every_inverse_is_correct_to_the_last_bit(entry, dtype):
    pytest.importorskip("flint")
    import flint

    from ogive.derive.exact import Oracle

    oracle = Oracle(entry, order=0, bits=150)
    before, flint.ctx.prec = flint.ctx.prec, 200
    try:
        for k, branch in enumerate(branches(entry).branches[:FIRST]):
            found = inverse(entry, k, outside="nan")
            y = entry(inside(branch, dtype))
            small = torch.finfo(dtype).tiny if dtype == torch.float32 else 1e-290
            wide = y.double()
            y = y[torch.isfinite(y) & ((y.abs() > small) | (y == 0)) & (wide > branch.low) & (wide < branch.high)]
            x = found(y)
            # a y within a rounding of an end of the image may lie beyond it: its inverse is then the end itself
            ends = torch.tensor([branch.lo, branch.hi], dtype=torch.float64).to(dtype)
            keep = torch.isfinite(x) & ~torch.isin(x, ends)
            assert not x.isnan().any(), (entry.name, k)
            inf = torch.full_like(x, math.inf)
            rows = zip(
                x[keep].tolist(),
                torch.nextafter(x, -inf)[keep].tolist(),
                torch.nextafter(x, inf)[keep].tolist(),
                y[keep].tolist(),
            )
            for at, left, right, value in rows:
                try:
                    a, b = (oracle(v)[0] for v in (max(left, branch.lo), min(right, branch.hi)))
                except OgiveError:  # no precision decides this place
                    continue
                # balls that touch differ by less than 2^-150 (tanh(99.99) from 1): nothing is wrong there
                wrong = (a > value or b < value) if branch.rising else (a < value or b > value)
                assert not wrong, (entry.name, k, dtype, at, value, a, b)
    finally:
        flint.ctx.prec = before


@few_scalar_entries
def test_branches_are_strictly_monotone_and_flats_are_flat(entry):
    found = branches(entry)
    for branch in found.branches[:FIRST]:
        lo, hi = max(branch.lo, -30.0), min(branch.hi, 30.0)
        if not lo < hi:
            continue
        x = torch.linspace(lo, hi, 401, dtype=torch.float64)
        y = entry(x)
        step = y.diff() if branch.rising else -y.diff()
        noise = 64 * torch.finfo(torch.float64).eps * y.abs().amax().clamp_min(1e-300)
        assert bool((step[torch.isfinite(step)] >= -noise).all()), (entry.name, branch)
        inner = y[1:-1]
        assert bool(((inner >= branch.low - noise) & (inner <= branch.high + noise)).all()), (entry.name, branch)
    for flat in found.flats[:FIRST]:
        lo, hi = max(flat.lo, -30.0), min(flat.hi, 30.0)
        if lo < hi:
            y = entry(torch.linspace(lo, hi, 101, dtype=torch.float64))
            assert bool((y == flat.value).all()), (entry.name, flat)
