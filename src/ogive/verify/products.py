"""Products of two signals: gates element by element, and the matrix products of attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ogive.verify.network import Box
from ogive.verify.relaxation import Bilinear, Elementwise
from ogive.verify.rounding import middle, outward

_EXPANDED = 2**24  # products that may be laid out one by one


class Product:
    """``x y`` element by element, between McCormick's planes.

    Below, ``ly x + lx y - lx ly`` and ``uy x + ux y - ux uy``; above, ``ly x + ux y - ux ly`` and
    ``uy x + lx y - lx uy``; any mean of the two is a plane as well. The default is the even mean, whose slopes are
    those of the product at the centre. Source: McCormick 1976.
    """

    linear, name = False, "product"

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        return values[0] * values[1]

    def interval(self, boxes: Sequence[Box]) -> Box:
        (a, b), (c, d) = boxes
        corners = torch.stack([a * c, a * d, b * c, b * d])
        return outward(corners.amin(0), corners.amax(0), corners.abs().amax(0), 1.0)

    def relax(self, boxes: Sequence[Box], shares: tuple[Any, Any] = (0.5, 0.5)) -> Elementwise:
        (lx, ux), (ly, uy) = boxes
        low, high = shares
        below = (1.0 - low) * (lx * ly) + low * (ux * uy)
        above = (1.0 - high) * (ux * ly) + high * (lx * uy)
        slopes = [
            ((1.0 - low) * ly + low * uy, (1.0 - high) * ly + high * uy),
            ((1.0 - low) * lx + low * ux, (1.0 - high) * ux + high * lx),
        ]
        return Elementwise(slopes, -below, -above, 4.0 * boxes[0].reach * boxes[1].reach, 8.0)


class MatrixProduct:
    """``x @ y`` of two signals: the sum of McCormick's even planes of its products, which all have the slopes of the
    product at the centres c and lie ``rx ry`` below and above it."""

    linear, name = False, "matrix product"

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        return values[0] @ values[1]

    def interval(self, boxes: Sequence[Box]) -> Box:
        (a, b), (c, d) = boxes
        size = boxes[0].reach @ boxes[1].reach
        terms = a.shape[-1] + 4.0
        if math.prod(a.shape) * c.shape[-1] <= _EXPANDED:
            left, right = (t.unsqueeze(-1) for t in (a, b)), (t.unsqueeze(-3) for t in (c, d))
            (a, b), (c, d) = left, right
            corners = torch.stack([a * c, a * d, b * c, b * d])
            return outward(corners.amin(0).sum(-2), corners.amax(0).sum(-2), size, terms)
        (p, r), (q, s) = middle(boxes[0]), middle(boxes[1])
        centre, radius = p @ q, p.abs() @ s + r @ q.abs() + r @ s
        return outward(centre - radius, centre + radius, 4.0 * size, 3.0 * terms)

    def relax(self, boxes: Sequence[Box]) -> Bilinear:
        (p, r), (q, s) = middle(boxes[0]), middle(boxes[1])
        centre, spread = p @ q, r @ s
        size = 4.0 * (boxes[0].reach @ boxes[1].reach)
        return Bilinear(p, q, -centre - spread, spread - centre, size)
