"""Maximum and softmax over the last dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ogive.verify.network import Box
from ogive.verify.relaxation import Gathered, Mixed
from ogive.verify.rounding import gamma


class Maximum:
    """The largest element of the last dimension.

    Below: any one element is a plane; the one with the greatest lower bound (of several the greatest upper one) is
    taken. Above, for any level g: ``g + sum (x_i - g)+``, each part under its chord on [l_i, u_i]. With g the
    greatest lower bound this is exact when one element is always the largest; a constant, the greatest upper bound,
    is taken where it is lower at the centre.
    """

    linear, name = False, "max"

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        return values[0].amax(-1)

    def interval(self, boxes: Sequence[Box]) -> Box:
        return Box(boxes[0].lo.amax(-1), boxes[0].hi.amax(-1))

    def relax(self, boxes: Sequence[Box]) -> Gathered:
        lo, hi = boxes[0]
        level = lo.amax(-1, keepdim=True)
        likely = (hi + (hi.amax(-1, keepdim=True) - lo.amin(-1, keepdim=True) + 1.0) * (lo == level)).argmax(-1)
        best = torch.nn.functional.one_hot(likely, lo.shape[-1]).to(lo.dtype)
        # the best element gives x - g whole; another one its chord (u - g)/(u - l), anchored at l, where it is zero
        width = (hi - lo).clamp(min=torch.finfo(lo.dtype).tiny)
        chord = ((hi - level).clamp(min=0.0) / width).clamp(max=1.0)
        slopes = torch.where(best > 0.0, 1.0, chord)
        sure = torch.where((best == 0.0) & (hi > level), (hi - level) - chord * (hi - lo), 0.0).clamp(min=0.0)
        offset = (torch.where(best > 0.0, 0.0, -slopes * lo) + sure).sum(-1)
        top = hi.amax(-1)
        flat = top < (slopes * (0.5 * lo + 0.5 * hi)).sum(-1) + offset
        slopes = torch.where(flat.unsqueeze(-1), 0.0, slopes)
        offset = torch.where(flat, top, offset)
        size = 4.0 * boxes[0].reach.sum(-1)
        return Gathered(best, slopes, torch.zeros_like(top), offset, size)


class Softmax:
    """``exp(x_i)/sum exp(x_j) = 1/S_i`` with ``S_i = 1 + sum over j != i of exp(x_j - x_i)``, over the last dimension.

    On intervals it is exact at the corners. Below, the tangent of 1/S at the value that the chords of the
    exponentials have at the centre; above, the chord of 1/S over the tangents of the exponentials at the centre.
    """

    linear, name = False, "softmax"

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        return values[0].softmax(-1)

    def interval(self, boxes: Sequence[Box]) -> Box:
        least, most, slack = _sums(boxes[0])
        return Box(((1.0 - slack) / most).clamp(0.0, 1.0), ((1.0 + slack) / least).clamp(0.0, 1.0))

    def relax(self, boxes: Sequence[Box]) -> Mixed:
        lo = boxes[0].lo
        k, u = lo.shape[-1], torch.finfo(lo.dtype).eps
        least, most, slack = _sums(boxes[0])
        least, most = least * (1.0 - slack), most * (1.0 + slack)
        a, b = _differences(boxes[0])  # of x_j - x_i, in [.., i, j]
        off = 1.0 - torch.eye(k, dtype=lo.dtype, device=lo.device)
        left, right = a.exp() * (1.0 - 4.0 * u), b.exp() * (1.0 + 4.0 * u)
        width = (b - a).clamp(min=torch.finfo(lo.dtype).tiny)
        chord = torch.where(b - a > 0.0, (right - left) / width * (1.0 + 8.0 * u), right) * off
        # sum <= 1 + start + chord t, anchored at the lower end, where e^a (1 + 4 u) is above
        start = (left * (1.0 + 16.0 * u)) * off - chord * a
        centre = 0.5 * a + 0.5 * b
        at = (1.0 + (start + chord * centre).sum(-1)).clamp(min=1.0)
        below = 2.0 / at - (1.0 + start.sum(-1)) / at.square()
        low = _rows(chord / -at.square().unsqueeze(-1))
        tangent = centre.exp() * off
        foot = 1.0 + (tangent * (1.0 - centre)).sum(-1)
        steep = 1.0 / (least * most)
        above = 1.0 / least + 1.0 / most - foot * steep
        high = _rows(-tangent * steep.unsqueeze(-1))
        reach = torch.maximum(a.abs(), b.abs())
        size = 2.0 / at + ((chord * (2.0 * reach + 1.0) + right * off).sum(-1) + 1.0) / at.square() + 2.0 / least
        size = size + (1.0 + (tangent * (2.0 * reach + 2.0) * (1.0 + reach)).sum(-1)) * steep
        # where numbers overflow the interval itself is the plane
        box = self.interval(boxes)
        lost = ~torch.isfinite(size + below + above + low.sum(-1) + high.sum(-1))
        lost = lost | (reach.amax(-1) > 300.0 if lo.dtype == torch.float64 else reach.amax(-1) > 30.0)
        low, high = (torch.where(lost.unsqueeze(-1), 0.0, s) for s in (low, high))
        below, above = torch.where(lost, box.lo, below), torch.where(lost, box.hi, above)
        return Mixed(low, high, below, above, torch.where(lost, 1.0, size) + low.abs().sum(-1) + high.abs().sum(-1))


def _differences(box: Box) -> tuple[Tensor, Tensor]:
    lo = box.lo.unsqueeze(-2) - box.hi.unsqueeze(-1)
    hi = box.hi.unsqueeze(-2) - box.lo.unsqueeze(-1)
    slack = 2.0 * torch.finfo(lo.dtype).eps
    return lo - slack * lo.abs(), hi + slack * hi.abs()


def _sums(box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """The least and greatest S_i, and their relative error: that of k exponentials and a sum."""
    a, b = _differences(box)
    k, dtype = a.shape[-1], a.dtype
    off = 1.0 - torch.eye(k, dtype=dtype, device=a.device)
    slack = gamma(2.0 * k + 16.0, dtype)
    return 1.0 + (a.exp() * off).sum(-1), 1.0 + torch.where(off > 0.0, b.exp(), 0.0).sum(-1), torch.full_like(
        a[..., 0], slack
    )  # fmt: skip


def _rows(slopes: Tensor) -> Tensor:
    """Slopes by x_j - x_i as slopes by x: the diagonal takes what the others give."""
    return slopes - torch.diag_embed(slopes.sum(-1))
