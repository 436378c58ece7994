"""The largest Jacobian of a chain on a box, by cutting the box until each activation keeps to one piece.

On a box every slope of every activation lies in an interval. The Jacobian is affine in each slope, so its norm is
convex in each, and the largest over all choices is taken at the ends of the intervals: with k slopes that are not yet
known, 2^k matrices bound the box. Where k is large the box is cut. A point where k kinks of a piecewise-linear network
meet has, but for coincidences, all 2^k regions around it, so that the bound is attained and the search ends.
"""

from __future__ import annotations

import heapq
import math

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.pieces import pieces
from ogive.errors import InputError
from ogive.verify.bounding import Bounds
from ogive.verify.chain import Chain, Sector, chain
from ogive.verify.lipschitz_bounds import norm_bound, norm_bounds, product
from ogive.verify.network import Box, Network
from ogive.verify.region import Cuboid
from ogive.verify.tracer import trace

_TOGETHER = 32  # boxes that are bounded at once
_OPEN = 8  # slopes that are tried at both ends
_SAME = 1e-11  # slopes this close count as one; what that may cost is added


def largest_jacobian(
    model: nn.Module, example: Tensor, lo: Tensor, hi: Tensor, tolerance: float, most: int
) -> tuple[float, float]:
    """An upper bound of the norm of the Jacobian on the box from ``lo`` to ``hi``, and the largest that is attained.

    The two agree to ``tolerance``, unless the search ended after ``most`` boxes.
    """
    links = chain(model, example)
    if not all(isinstance(b, Sector) for b in links.bends):
        raise InputError("lipschitz: method='regions' takes functions of single elements; 'product' and 'sdp' take "
                         "layers that sort or reflect")  # fmt: skip
    network = trace(model, links.example)
    shape = network.steps[0].shape
    low, high = (torch.as_tensor(t).detach().double().reshape(1, *shape) for t in (lo, hi))
    if not bool((torch.isfinite(low) & torch.isfinite(high) & (low <= high)).all()):
        raise InputError("lipschitz: lo <= hi does not hold everywhere, or an end is not finite")
    search = _Search(links, network, product(links))
    search.add([(Box(low, high), math.inf)])
    while search.open and search.count < most:
        top = -search.open[0][0]
        if top <= search.reached * (1.0 + tolerance):
            break
        now = [heapq.heappop(search.open) for _ in range(min(_TOGETHER, len(search.open)))]
        search.add([(half, -bound) for bound, _, box in now for half in _halves(box)])
    return max([search.settled, *(-b for b, _, _ in search.open)]), search.reached


def _halves(box: Box) -> tuple[Box, Box]:
    width = (box.hi - box.lo).flatten()
    i = int(width.argmax())
    middle = 0.5 * box.lo.flatten()[i] + 0.5 * box.hi.flatten()[i]
    left, right = box.hi.clone(), box.lo.clone()
    left.reshape(-1)[i] = right.reshape(-1)[i] = middle
    return Box(box.lo, left), Box(right, box.hi)


class _Search:
    """Boxes that are still open, the worst first; what is settled; the largest norm at a point."""

    def __init__(self, links: Chain, network: Network, whole: float) -> None:
        self.links, self.network, self.whole = links, network, whole
        self.open: list[tuple[float, int, Box]] = []
        self.settled = self.reached = 0.0
        self.count = 0
        # what one unit of error in a slope of each activation can change the Jacobian by
        norms = [norm_bound(a) for a in links.affine]
        slopes = [b.lipschitz for b in links.bends]
        self.worth = [math.prod(norms) * math.prod(slopes[:k] + slopes[k + 1 :]) for k in range(len(slopes))]

    def add(self, boxes: list[tuple[Box, float]]) -> None:
        """Bound boxes, each known to be below a number already."""
        region = Cuboid(torch.cat([b.lo for b, _ in boxes]), torch.cat([b.hi for b, _ in boxes]))
        with torch.no_grad():
            bounds = Bounds(self.network, region)
        ranges = [
            _slopes(bend, Box(*(t.flatten(1) for t in bounds.boxes[step.inputs[0]])))
            for bend, step in zip(self.links.bends, self.network.nonlinear)
            if isinstance(bend, Sector)
        ]
        for i, (box, before) in enumerate(boxes):
            self.count += 1
            ends = [(a[i], b[i]) for a, b in ranges]
            known = [b - a <= _SAME for a, b in ends]
            if sum(int((~k).sum()) for k in known) > _OPEN:
                heapq.heappush(self.open, (-min(before, self.whole), self.count, box))
                self._reach(self._at(0.5 * box.lo + 0.5 * box.hi))
                continue
            slack = sum(w * float((b - a)[k].sum()) for w, k, (a, b) in zip(self.worth, known, ends))
            bound = min(before, self._largest(ends, known) + slack)
            if all(bool(k.all()) for k in known):
                self.settled = max(self.settled, bound)
                self._reach([b for _, b in ends])
            else:
                heapq.heappush(self.open, (-bound, self.count, box))
                self._reach(self._at(0.5 * box.lo + 0.5 * box.hi))

    def _largest(self, ends: list[tuple[Tensor, Tensor]], known: list[Tensor]) -> float:
        """The largest norm over all choices of the slopes that are not known."""
        a, b = (torch.cat(t) for t in zip(*ends))
        choices = _corners(a, b, (~torch.cat(known)).nonzero().flatten().tolist())
        return float(norm_bounds(*self._jacobians(list(choices.split([len(k) for k in known], 1)))).max())

    def _jacobians(self, slopes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Jacobians for slopes ``[choices, elements]`` of each activation, and what their entries may be off by."""
        first, *rest = self.links.affine
        count = len(slopes[0]) if slopes else 1
        matrix, doubt = (t.expand(count, *t.shape) for t in (first.matrix, first.doubt))
        size = matrix.abs()
        for s, a in zip(slopes, rest):
            w = a.matrix * s.unsqueeze(1)
            terms = (w.shape[-1] + 8.0) * 2.0**-52
            doubt = w.abs() @ doubt + (a.doubt * s.abs().unsqueeze(1)) @ (size + doubt) + terms * (w.abs() @ size)
            matrix, size = w @ matrix, w.abs() @ size
        return matrix, doubt * (1.0 + 1e-9)

    def _at(self, x: Tensor) -> list[Tensor]:
        """The slopes of all activations at a point, by the pieces that its values lie in."""
        with torch.no_grad():
            bounds = Bounds(self.network, Cuboid(x, x), False)
        found = []
        for bend, step in zip(self.links.bends, self.network.nonlinear):
            assert isinstance(bend, Sector)
            box = bounds.boxes[step.inputs[0]]
            a, b = _slopes(bend, Box(*(t.flatten(1) for t in box)))
            if bool((b - a > _SAME).any()):  # on a kink, or a curved piece: its slope is not known here
                return []
            found.append(b[0])
        return found

    def _reach(self, slopes: list[Tensor]) -> None:
        if slopes or not self.links.bends:
            jacobian = self._jacobians([s.unsqueeze(0) for s in slopes])[0]
            self.reached = max(self.reached, float(torch.linalg.matrix_norm(jacobian, 2)))


def _corners(a: Tensor, b: Tensor, places: list[int]) -> Tensor:
    """``b``, with any of ``places`` from ``a`` instead, one choice a row."""
    found = b.unsqueeze(0)
    for i in places:
        lower = found.clone()
        lower[:, i] = a[i]
        found = torch.cat([found, lower])
    return found


def _slopes(bend: Sector, box: Box) -> tuple[Tensor, Tensor]:
    """The least and greatest difference quotient of each element on its interval, ``[boxes, elements]``."""
    low, high = torch.empty_like(box.lo), torch.empty_like(box.lo)
    for act, places in bend.formula.groups:
        at = slice(None) if places is None else places
        a, b = _of_pieces(act, box.lo[:, at], box.hi[:, at])
        low[:, at], high[:, at] = a, b
    outside = ~torch.isfinite(low) | ~torch.isfinite(high)
    return torch.where(outside, bend.alpha, low), torch.where(outside, bend.beta, high)


def _of_pieces(act: Activation, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    low, high = torch.full_like(lo, math.inf), torch.full_like(lo, -math.inf)
    table = pieces(act)
    if table.period is not None:  # the whole range of slopes, which the caller puts in
        return low, high
    for row in table.rows:
        touched = (row.lo <= hi) & (row.hi >= lo)
        low = torch.where(touched, low.clamp(max=row.derivative[0]), low)
        high = torch.where(touched, high.clamp(min=row.derivative[1]), high)
    return low, high
