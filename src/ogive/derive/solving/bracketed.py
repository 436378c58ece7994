"""Newton's method inside a bracket, on a tensor of equations at once, down to neighbouring doubles."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
Residual = Callable[[Tensor, Tensor], Tensor]  # (places, targets) -> f(place) - target
_LOWEST = -(2**63)


def order_of(x: Tensor) -> Tensor:
    """Doubles as integers in the same order, neighbours one apart."""
    bits = x.contiguous().view(torch.int64)
    return torch.where(bits < 0, _LOWEST - bits, bits)


def double_at(order: Tensor) -> Tensor:
    """The inverse of :func:`order_of`."""
    return torch.where(order < 0, _LOWEST - order, order).view(torch.float64)


def middle(a: Tensor, b: Tensor) -> Tensor:
    """The double half way between in order: 64 such halvings reach any double from any bracket."""
    p, q = order_of(a), order_of(b)
    return double_at((p >> 1) + (q >> 1) + (p & q & 1))


def ulp(x: Tensor) -> Tensor:
    """The distance from ``|x|`` to the next double."""
    size = torch.abs(x)
    return torch.nextafter(size, torch.full_like(size, float("inf"))) - size


def solve(
    residual: Residual,
    slope: Function,
    y: Tensor,
    x: Tensor,
    lo: Tensor,
    hi: Tensor,
    *,
    rising: bool,
    close: Callable[[Tensor, Tensor, Tensor], Tensor],
    rounds: int = 200,
) -> Tensor:
    """x in [lo, hi] with f(x) = y for a monotone f, from the first guess ``x``.

    A step of Newton that leaves the bracket, or is not half of the one before, is replaced by a halving of the
    bracket in the order of the doubles. An equation is done when the step leaves x where it is, when ``close(x, r,
    step)`` says so, or when the bracket is one unit wide; then the end that is nearer by f is taken.
    """
    sign = 1.0 if rising else -1.0
    result = x.clone()
    at = torch.arange(x.numel(), device=x.device)
    below, above = torch.full_like(x, -float("inf")), torch.full_like(x, float("inf"))  # residuals at the ends
    last = torch.full_like(x, float("inf"))
    for _ in range(rounds):
        r = sign * residual(x, y)
        under, over = r < 0, r > 0
        lo, below = torch.where(under, x, lo), torch.where(under, r, below)
        hi, above = torch.where(over, x, hi), torch.where(over, r, above)
        step = r / (sign * slope(x))
        new = x - step
        narrow = order_of(hi) - order_of(lo) <= 1
        done = (r == 0) | (new == x) | close(x, r, step) | narrow
        size = torch.abs(step)
        good = (new > lo) & (new < hi) & (size < 0.5 * last)
        last = torch.where(good, size, torch.full_like(size, float("inf")))
        new = torch.where(good, new, middle(lo, hi))
        if bool(done.any()):
            # A close step is still taken, unless it leaves the bracket; of a narrow bracket the nearer end.
            final = torch.where((r != 0) & (x - step >= lo) & (x - step <= hi), x - step, x)
            nearer = torch.where(-below <= above, lo, hi)
            known = torch.isfinite(below) | torch.isfinite(above)
            final = torch.where(narrow & (r != 0) & known, nearer, final)
            result[at[done]] = final[done]
            if bool(done.all()):
                return result
            left = ~done
            at, y, x, lo, hi = at[left], y[left], new[left], lo[left], hi[left]
            below, above, last = below[left], above[left], last[left]
        else:
            x = new
    result[at] = x
    return result
