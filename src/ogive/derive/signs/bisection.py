"""Signs of f' and f'' on all of an interval, by adaptive bisection over boxes.

All boxes of one round go through the program together. An enclosure of a tree on a box is sharpened by the values
at the two ends and the enclosure of its derivative (the mean value theorem from both sides), which is exact where
that derivative has one sign. A box whose f''' has one sign needs no further halving: f'' has at most one zero in it,
f' at most one on either side, and they are found by comparing points. A box that still has no sign is divided until
it is a few units in the last place wide, or until the enclosures at its ends are as wide as that on the box, when
only rounding is left to see.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ogive import intervals as iv
from ogive.derive.signs.asymptotic import far_out
from ogive.derive.signs.crossing import Points, between, crossing, ordinals
from ogive.derive.signs.enclosure import Enclosure
from ogive.expr import var
from ogive.intervals import Box, Mask

UNKNOWN = 9  # the sign of what has none proved, in arrays
SLIVER = 4  # units in the last place
_WAVES = 64.0  # waves without a period are followed as far as this
_PARTS, _ROUNDS, _CROWD, _BUDGET = 8, 40, 1024, 20_000


def sign_of(y: Box) -> NDArray[np.int64]:
    """+1 where the box holds nothing negative, -1 nothing positive, 0 nothing but zero, else UNKNOWN."""
    s = np.where(y[0] >= 0.0, 1, np.where(y[1] <= 0.0, -1, UNKNOWN))
    return np.where((y[0] == 0.0) & (y[1] == 0.0), 0, s)


def sharpened(y: Box, left: Box, right: Box, slope: Box, width: Box) -> Box:
    """``y`` met with what its values at both ends and its slope allow."""
    step = iv.mul(slope, width)
    step = np.array([np.minimum(step[0], 0.0), np.maximum(step[1], 0.0)])
    with np.errstate(all="ignore"):
        return iv.meet(iv.meet(y, iv.add(left, step)), iv.sub(right, step))


@dataclass
class Cut:
    """Decided boxes: ends, signs of f' and f'' (UNKNOWN where none), enclosures of f and f', and whether the box
    holds a break (``broken``) or a possible jump (``torn``)."""

    lo: Points
    hi: Points
    slope: NDArray[np.int64]
    curvature: NDArray[np.int64]
    value: Box
    rate: Box
    broken: Mask
    torn: Mask

    def __len__(self) -> int:
        return len(self.lo)

    def take(self, index: NDArray[np.int64] | Mask) -> Cut:
        return Cut(self.lo[index], self.hi[index], self.slope[index], self.curvature[index], self.value[:, index],
                   self.rate[:, index], self.broken[index], self.torn[index])  # fmt: skip


def joined(cuts: list[Cut]) -> Cut:
    """All boxes of ``cuts``, from left to right."""
    rows = {k: np.concatenate([getattr(c, k) for c in cuts], axis=-1) for k in Cut.__dataclass_fields__}
    order = np.lexsort((rows["hi"], rows["lo"]))
    return Cut(**{k: v[..., order] for k, v in rows.items()})


@dataclass
class Look:
    """What is seen of f .. f''' on boxes: enclosures, also at both ends, and flags."""

    lo: Points
    hi: Points
    boxes: list[Box]
    left: list[Box]
    right: list[Box]
    broken: Mask
    torn: Mask
    slope: NDArray[np.int64] = field(init=False)
    curvature: NDArray[np.int64] = field(init=False)
    third: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.slope, self.curvature, self.third = (sign_of(self.boxes[k]) for k in (1, 2, 3))


def look(f: Enclosure, lo: Points, hi: Points) -> Look:
    """Enclosures of f .. f''' on the boxes, sharpened where no choice is open."""
    n = len(lo)
    seen = f(iv.box(lo, hi))
    ends = f.at(np.concatenate([lo, hi]), (0, 1, 2))
    left, right = [b[:, :n] for b in ends.boxes], [b[:, n:] for b in ends.boxes]
    boxes = list(seen.boxes)
    with np.errstate(all="ignore"):
        width = iv.sub(iv.box(hi, hi), iv.box(lo, lo))
        width[0] = 0.0
        whole = ~seen.broken
        for k in (2, 1, 0):
            boxes[k] = np.where(whole, sharpened(boxes[k], left[k], right[k], boxes[k + 1], width), boxes[k])
    found = Look(lo, hi, boxes, left, right, seen.broken, seen.torn)
    _beyond_range(f, found)
    return found


FAINT = 1e-200


def _beyond_range(f: Enclosure, s: Look) -> None:
    """Signs that underflow or overflow hides, from boxes with an exponential factored out."""
    far = np.minimum(np.abs(s.lo), np.abs(s.hi)) * np.sign(s.lo) * np.sign(s.hi) >= 8.0
    least = np.minimum(np.abs(s.lo), np.abs(s.hi))
    huge = (least > 1e40) | (np.maximum(np.abs(s.lo), np.abs(s.hi)) < 1e-3) & (least > 0.0)
    for k, sign in ((1, s.slope), (2, s.curvature)):
        size = np.maximum(np.abs(s.boxes[k][0]), np.abs(s.boxes[k][1]))
        open_ = (sign == UNKNOWN) | (np.isinf(size) & (k == 1))
        hidden = (
            ~s.broken
            & open_
            & ((size < FAINT) | np.isinf(size) | (far & f.decays & (not f.turns)) | (huge & (not f.turns)))
        )
        index = np.flatnonzero(hidden)[:128]
        if index.size:
            nodes = f.nodes(iv.box(s.lo[index], s.hi[index]), (k,))
            part, whole = far_out(f.trees[k], nodes, var(f.name), len(index))
            sign[index] = np.where(sign[index] == UNKNOWN, sign_of(part), sign[index])
            s.boxes[k][:, index] = iv.meet(s.boxes[k][:, index], whole)


def bisect(f: Enclosure, cuts: Points) -> tuple[Cut, float]:
    """Decide every box between neighbouring ``cuts``. Also returns how far from 0 the search reached: beyond it,
    where signs change too often to follow, boxes are left without a sign."""
    done: list[Cut] = []
    reach, spent = np.inf, 0
    lo, hi = cuts[:-1], cuts[1:]
    for turn in range(_ROUNDS):
        if not len(lo):
            break
        seen = look(f, lo, hi)
        spent += len(lo)
        finished, again = _settle(f, seen)
        done.append(finished)
        if not again.any():
            break
        lo, hi, left = seen.lo[again], seen.hi[again], np.flatnonzero(again)
        if len(lo) > _CROWD or spent > _BUDGET or turn == _ROUNDS - 1:
            # Keep what is nearest to 0.
            near = np.minimum(np.abs(lo), np.abs(hi)) * np.where((lo < 0.0) & (hi > 0.0), 0.0, 1.0)
            keep = 0 if spent > _BUDGET or turn == _ROUNDS - 1 else _CROWD // 4
            order = np.argsort(near, kind="stable")
            lost = np.sort(order[keep:])
            reach = min(reach, float(near[lost].min()))
            done.append(_taken(seen, left[lost]))
            stay = np.sort(order[:keep])
            lo, hi = lo[stay], hi[stay]
        if f.turns and turn == 1:
            near = np.minimum(np.abs(lo), np.abs(hi)) * np.where((lo < 0.0) & (hi > 0.0), 0.0, 1.0)
            gone = near >= _WAVES
            if gone.any():
                reach = min(reach, float(near[gone].min()))
                done.append(_taken(look(f, lo[gone], hi[gone]), np.arange(int(gone.sum()))))
                lo, hi = lo[~gone], hi[~gone]
        parts = between(lo, hi, _PARTS)
        lo, hi = parts[:-1].T.ravel(), parts[1:].T.ravel()
        fresh = lo < hi
        lo, hi = lo[fresh], hi[fresh]
    return joined(done), reach


def _taken(s: Look, index: NDArray[np.int64]) -> Cut:
    return Cut(s.lo[index], s.hi[index], np.where(s.torn, UNKNOWN, s.slope)[index],
               np.where(s.broken, UNKNOWN, s.curvature)[index], s.boxes[0][:, index], s.boxes[1][:, index],
               s.broken[index], s.torn[index])  # fmt: skip


def _settle(f: Enclosure, s: Look) -> tuple[Cut, Mask]:
    """The boxes of a round that need no further halving, cut at their zeros, and a mask of the others."""
    smooth = ~s.broken
    known1, known2 = s.slope != UNKNOWN, s.curvature != UNKNOWN
    ready = smooth & known1 & known2
    small = ordinals(s.hi).astype(np.float64) - ordinals(s.lo).astype(np.float64) <= SLIVER
    with np.errstate(all="ignore"):
        blunt = [known | _blunt(s.boxes[k], s.left[k], s.right[k]) for k, known in ((1, known1), (2, known2))]
    # Rounding is all there is to see only in a narrow box: a wide one may still have underflowed.
    large = np.maximum(np.abs(s.lo), np.abs(s.hi))
    narrow = (s.hi - s.lo <= 0.01 * large) | (large < 1e-2)
    noisy = narrow & smooth & blunt[0] & blunt[1] & ~ready
    # One sign of f'' with an unknown f', or one of f''' with an unknown f'': cut at the zeros.
    cut1 = smooth & ~ready & ~small & known2 & ~known1
    cut2 = smooth & ~ready & ~small & ~known2 & (s.third != UNKNOWN) & (s.third != 0)
    out = [_taken(s, np.flatnonzero(ready | (small | noisy) & ~ready & ~cut1 & ~cut2))]
    if cut2.any():
        out.append(_resolve(f, s, np.flatnonzero(cut2), 2))
    if cut1.any():
        out.append(_resolve(f, s, np.flatnonzero(cut1), 1))
    return joined(out), ~(ready | small | noisy | cut1 | cut2)


def _blunt(y: Box, left: Box, right: Box) -> Mask:
    """Whether the box holds little more than the rounding seen at its ends."""
    grain = np.maximum(left[1] - left[0], right[1] - right[0])
    return np.asarray((y[1] - y[0] <= 8.0 * grain) & (y[0] < 0.0) & (y[1] > 0.0))


def _resolve(f: Enclosure, s: Look, index: NDArray[np.int64], which: int) -> Cut:
    """Cut the boxes where tree ``which`` is monotone at its zero; then those pieces at the zero of f'."""
    lo, hi = s.lo[index], s.hi[index]
    rises = (s.third if which == 2 else s.curvature)[index] > 0
    a, b = crossing(f, which, lo, hi, rises)
    before, after = np.where(rises, -1, 1), np.where(rises, 1, -1)
    unknown = np.full(len(lo), UNKNOWN)
    edges = [(lo, a, before), (a, b, unknown), (b, hi, after)]
    if which == 1:
        flat = s.curvature[index]
        return measured(f, *(np.concatenate(v) for v in zip(*((p, q, g, flat) for p, q, g in edges))))
    left, right, bend = (np.concatenate(v) for v in zip(*edges))
    keep = left < right
    left, right, bend = left[keep], right[keep], bend[keep]
    slope = sign_of(_at_ends(f, 1, left, right, bend))
    open_ = (slope == UNKNOWN) & (bend != UNKNOWN)
    parts = [measured(f, left[~open_], right[~open_], slope[~open_], bend[~open_])]
    if open_.any():
        lo, hi, bend = left[open_], right[open_], bend[open_]
        rises = bend > 0
        a, b = crossing(f, 1, lo, hi, rises)
        before, after, unknown = np.where(rises, -1, 1), np.where(rises, 1, -1), np.full(len(lo), UNKNOWN)
        parts.append(
            measured(
                f, np.concatenate([lo, a, b]), np.concatenate([a, b, hi]), np.concatenate([before, unknown, after]),
                np.concatenate([bend, bend, bend]),
            )
        )  # fmt: skip
    return joined(parts)


def _at_ends(f: Enclosure, which: int, lo: Points, hi: Points, rising: NDArray[np.int64]) -> Box:
    """The range of tree ``which`` on boxes where it is monotone; of the others the natural enclosure."""
    n = len(lo)
    ends = f.at(np.concatenate([lo, hi]), (which,)).boxes[0]
    wide = f(iv.box(lo, hi), (which,)).boxes[0]
    return np.where((rising == UNKNOWN), wide, iv.meet(wide, iv.hull(ends[:, :n], ends[:, n:])))


def measured(f: Enclosure, lo: Points, hi: Points, slope: NDArray[np.int64], bend: NDArray[np.int64]) -> Cut:
    keep = lo < hi
    lo, hi, slope, bend = lo[keep], hi[keep], slope[keep], bend[keep]
    none = np.zeros(len(lo), dtype=bool)
    if not len(lo):
        empty = np.zeros((2, 0))
        return Cut(lo, hi, slope, bend, empty, empty, none, none)
    rate = _at_ends(f, 1, lo, hi, bend)
    own = sign_of(rate)
    slope = np.where(own == UNKNOWN, slope, own)
    return Cut(lo, hi, slope, bend, _at_ends(f, 0, lo, hi, slope), rate, none, none)
