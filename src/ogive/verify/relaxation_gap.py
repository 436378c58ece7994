"""How much a kind of bound gives away: its interval against the exact range of a small network.

``encode`` writes one piecewise-linear function as ReLU networks in several ways, since how tight a bound is depends
on the writing. Source: Baader et al. 2024, "Expressivity of ReLU-networks under convex relaxations": every convex
piecewise-linear function of one input has a network that the triangle relaxation bounds exactly, intervals bound none
with a slope that changes, and no network for max(x, y) is exact under any relaxation of single neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.bounding import Bounds, step_bounds
from ogive.verify.linear_pieces import of_step
from ogive.verify.network import Network
from ogive.verify.outputs import bound
from ogive.verify.region import Cuboid
from ogive.verify.star_sets import star
from ogive.verify.zonotopes import prepared, zonotope

METHODS = ("ibp", "crown-ibp", "crown", "alpha", "zonotope", "triangle")
ENCODINGS = ("pivot", "left", "hats", "nested")
_CELLS = 4096


@dataclass(frozen=True)
class Precision:
    """Bounds of one output and its range: ``reached`` is attained, ``outer`` holds all of it (equal when exact)."""

    method: str
    bounds: tuple[float, float]
    reached: tuple[float, float]
    outer: tuple[float, float]

    @property
    def gap(self) -> float:
        """By how much the bounds are wider than what is attained, at most."""
        return (self.bounds[1] - self.bounds[0]) - (self.reached[1] - self.reached[0])

    @property
    def exact(self) -> bool:
        """Whether the bounds are the range, to 1e-7 of its width."""
        return self.gap <= 1e-7 * (1.0 + self.reached[1] - self.reached[0])

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {**asdict(self), "gap": self.gap, "exact": self.exact}


def precision(
    model: nn.Module, lo: Tensor, hi: Tensor, method: str = "crown", *, output: int = 0, tolerance: float = 1e-4
) -> Precision:
    """The interval that ``method`` gives for one output on a box, and the range that the output really has.

    Args:
        model: a small network; piecewise-linear ones have their range by enumeration
            (:func:`ogive.verify.star_sets.star`), others by cutting the box until attained values and bounds agree to
            ``tolerance`` of the range.
        lo, hi: one example each, ``[1, ...]``.
        method: "ibp", "crown-ibp", "crown", "alpha", "zonotope", or "triangle", the linear programme with all support
            lines of single neurons (the tightest convex relaxation of each).
        output: which element of the output.

    Raises:
        InputError: for an unknown method or output, and as :func:`ogive.verify.star_sets.star`.

    >>> convex = encode((0.0, 1.0), (1.0, 0.0, 1.0, 3.0), "pivot")
    >>> at = torch.tensor([[-1.0]]), torch.tensor([[2.0]])
    >>> precision(convex, *at, "triangle").exact, precision(convex, *at, "ibp").exact
    (True, False)
    """
    if method not in METHODS:
        raise InputError(f"precision: method={method!r}; there are {', '.join(METHODS)}")
    network, box = prepared("precision", model, lo, hi)
    n = math.prod(network.steps[network.output].shape)
    if not 0 <= output < n:
        raise InputError(f"precision: output={output!r}; the model has {n} of them, counted from 0")
    row = torch.eye(n, dtype=torch.float64)[output]
    if method == "zonotope":
        ends = tuple(float(t[output]) for t in zonotope(model, lo, hi).box())
    elif method == "triangle":
        ends = star(model, lo, hi, exact=False).range(row)
    else:
        found = bound(model, lo, hi, method=method)
        ends = tuple(float(t.flatten()[output]) for t in (found.lower, found.upper))
    try:
        for step in network.nonlinear:
            of_step(network, step)
        whole = star(model, lo, hi, exact=True).range(row)
        reached = outer = whole
    except InputError:
        reached, outer = _cut(network, box.lo, box.hi, output, tolerance)
    return Precision(method, (ends[0], ends[1]), reached, outer)


def _cut(
    network: Network, lo: Tensor, hi: Tensor, output: int, tolerance: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The attained and the outer range, by halving cells that could hold more than what is attained."""
    reached, settled = [float("inf"), -float("inf")], [float("inf"), -float("inf")]
    shape, step = network.steps[0].shape, network.steps[network.output]
    with torch.no_grad():
        while True:
            bounds = Bounds(network, Cuboid(lo, hi))
            box = step_bounds(bounds, step, bounds.boxes[network.output])
            low, high = (t.flatten(1)[:, output] for t in box)
            for at in (0.5 * lo + 0.5 * hi, lo, hi):
                y = network.evaluate(at).flatten(1)[:, output]
                reached = [min(reached[0], float(y.min())), max(reached[1], float(y.max()))]
            slack = tolerance * (1e-12 + reached[1] - reached[0])
            open_ = (low < reached[0] - slack) | (high > reached[1] + slack)
            done = ~open_ if 2 * int(open_.sum()) <= _CELLS else torch.ones_like(open_)
            if bool(done.any()):
                settled = [min(settled[0], float(low[done].min())), max(settled[1], float(high[done].max()))]
            if bool(done.all()):
                break
            lo, hi = lo[~done], hi[~done]
            flat_lo, flat_hi = lo.flatten(1), hi.flatten(1)
            widest = (flat_hi - flat_lo).argmax(1, keepdim=True)
            middle = (0.5 * flat_lo + 0.5 * flat_hi).gather(1, widest)
            left, right = flat_hi.scatter(1, widest, middle), flat_lo.scatter(1, widest, middle)
            lo = torch.cat([flat_lo, right]).reshape(-1, *shape)
            hi = torch.cat([left, flat_hi]).reshape(-1, *shape)
    return (reached[0], reached[1]), (settled[0], settled[1])


def encode(knots: Sequence[float], values: Sequence[float], encoding: str = "pivot") -> nn.Sequential:
    """A ReLU network of one input that is linear between knots, in one of four writings.

    ``values`` are f at ``knots[0] - 1``, at every knot and at ``knots[-1] + 1``; the outer lines go on. "pivot" starts
    at the lowest knot and bends away from it on both sides, so that a convex f with its least value there has no
    negative coefficient; "left" starts with the leftmost line, ``s (relu(x) - relu(-x))``, and adds slope changes;
    "hats" adds up a bump for each knot, and the outer lines; "nested" takes the lines one after another,
    ``max(a, b) = b + relu(a - b)``, for convex functions. Raises :class:`~ogive.errors.InputError` for knots that do
    not rise, values that do not fit, or "nested" of what is not convex.

    >>> float(encode((0.0,), (1.0, 0.0, 2.0), "nested")(torch.tensor([[1.5]], dtype=torch.float64)))
    3.0
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encode: encoding={encoding!r}; there are {', '.join(ENCODINGS)}")
    if len(values) != len(knots) + 2 or not knots or any(b <= a for a, b in pairwise(knots)):
        raise InputError(f"encode: one knot or more that rise, and values for them and for a point beyond each end; "
                         f"got {len(knots)} and {len(values)}")  # fmt: skip
    x = [knots[0] - 1.0, *knots, knots[-1] + 1.0]
    slopes = [(d - c) / (b - a) for a, b, c, d in zip(x, x[1:], values, values[1:])]
    if encoding == "nested":
        return _nested(slopes, [c - s * a for a, c, s in zip(x, values, slopes)])
    # terms (w, b, v) of v relu(w x + b)
    heights, turns = list(values[1:-1]), [b - a for a, b in pairwise(slopes)]
    if encoding == "left":
        terms = [(1.0, 0.0, slopes[0]), (-1.0, 0.0, -slopes[0])]
        terms += [(1.0, -k, t) for k, t in zip(knots, turns)]
        return _two_layers(terms, values[0] - slopes[0] * x[0])
    if encoding == "pivot":
        p = min(range(len(knots)), key=heights.__getitem__)
        terms = [(1.0, -knots[p], slopes[p + 1]), (-1.0, knots[p], -slopes[p])]
        terms += [(1.0, -k, t) for k, t in list(zip(knots, turns))[p + 1 :]]
        terms += [(-1.0, k, t) for k, t in list(zip(knots, turns))[:p]]
        return _two_layers(terms, heights[p])
    # a bump is 1 at its knot and 0 at its neighbours; the first and the last are 1 outwards too
    terms, constant = [(-1.0, knots[0], -slopes[0]), (1.0, -knots[-1], slopes[-1])], 0.0
    for k, height in enumerate(heights):
        if k:
            width = knots[k] - knots[k - 1]
            terms += [(1.0, -knots[k - 1], height / width), (1.0, -knots[k], -height / width)]
        if k + 1 < len(knots):
            width = knots[k + 1] - knots[k]
            terms += [(-1.0, knots[k + 1], height / width), (-1.0, knots[k], -height / width)]
        # each flank is min(1, ..): two of them make the bump plus 1, none a constant
        constant += height * (1 - (k > 0) - (k + 1 < len(knots)))
    return _two_layers(terms, constant)


def _two_layers(terms: Sequence[tuple[float, float, float]], constant: float) -> nn.Sequential:
    """``constant + sum of v relu(w x + b)``."""
    first, last = nn.Linear(1, len(terms)).double(), nn.Linear(len(terms), 1).double()
    weight, shift, out = (torch.tensor(t, dtype=torch.float64) for t in zip(*terms))
    with torch.no_grad():
        first.weight.copy_(weight.unsqueeze(1))
        first.bias.copy_(shift)
        last.weight.copy_(out.unsqueeze(0))
        last.bias.fill_(constant)
    return nn.Sequential(first, nn.ReLU(), last)


def _nested(slopes: Sequence[float], shifts: Sequence[float]) -> nn.Sequential:
    """The maximum of lines ``s x + b``, taken from left to right.

    Every layer carries relu(x), relu(-x) and r, with the maximum of the lines so far ``r + s x + b``; the next line
    makes it ``relu(r + (s - s') x + (b - b')) + s' x + b'``.
    """
    if any(b < a for a, b in pairwise(slopes)):
        raise InputError("encode: 'nested' writes a maximum of lines, which is convex; these slopes fall")
    layers: list[nn.Module] = []
    inputs = 1
    for s, t, b, c in zip(slopes, slopes[1:], shifts, shifts[1:]):
        layer = nn.Linear(inputs, 3).double()
        x = [1.0] if inputs == 1 else [1.0, -1.0, 0.0]
        rest = [0.0] if inputs == 1 else [0.0, 0.0, 1.0]
        rows = [x, [-v for v in x], [(s - t) * v + r for v, r in zip(x, rest)]]
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(rows, dtype=torch.float64))
            layer.bias.copy_(torch.tensor([0.0, 0.0, b - c], dtype=torch.float64))
        layers += [layer, nn.ReLU()]
        inputs = 3
    last = nn.Linear(inputs, 1).double()
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[slopes[-1], -slopes[-1], 1.0]], dtype=torch.float64))
        last.bias.fill_(shifts[-1])
    return nn.Sequential(*layers, last)
