"""Explanations of functions that jump. Samples give a fit no slope to follow at a jump, so the places of the jumps
decide: an entry's jumps are laid on the function's, by its parameters or by scaling and shifting, and only what
the jumps leave open is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ogive.derive.recognition.candidates import Row, table
from ogive.derive.recognition.explanation import FREE, Explanation, accepted, plainest
from ogive.derive.recognition.fit import Array, Linear, Problem, minimise
from ogive.derive.recognition.looks import SCALES, across, signature
from ogive.derive.recognition.target import FIT, Target

_ENOUGH = 6  # explanations
_LOOKED_AT = 10  # entries that are fitted


def by_jumps(target: Target, jumps: Array, tol: float) -> list[Explanation]:
    """Entries that are the function, laid on its jumps."""
    found: list[Explanation] = []
    with np.errstate(all="ignore"):
        for row in table().jumping:
            got = _by_parameters(row, target, jumps, tol)
            if got is not None:
                found.append(got)
        y = signature(target.fit)
        if y is not None and not any(e.complexity == 1 for e in found):
            laid = [(row, *_liked(row, jumps, y)) for row in table().jumping]
            laid.sort(key=lambda t: -t[1])
            for row, like, places in laid[:_LOOKED_AT]:
                got = _by_scaling(row, places, target, jumps, tol) if like > 0.3 else None
                if got is not None:
                    found.append(got)
                if len(found) >= _ENOUGH:
                    break
    return found


def _by_parameters(row: Row, target: Target, jumps: Array, tol: float) -> Explanation | None:
    own, n = np.array(row.jumps), len(row.model.names)
    if not n or len(own) != len(jumps):
        return None
    step = np.linalg.lstsq(row.moves, jumps - own, rcond=None)[0]
    if np.abs(own + row.moves @ step - jumps).max() > 1e-6:
        return None
    theta = np.concatenate([row.base + step, [1.0, 0.0]])
    still = tuple(i for i in range(n) if not row.moves[:, i].any())
    fitted = minimise(row.model, Problem(FIT, target.fit, Linear()), theta[None, :], still, 30)
    return accepted(row, fitted, target, tol)


def _liked(row: Row, jumps: Array, y: Array) -> tuple[float, Array]:
    """How like the function the entry is where it is laid best, and the two best places (a, b)."""
    laid = np.array(list(_laid(row, jumps))).reshape(-1, 2)
    if not len(laid):
        return 0.0, laid
    theta = np.concatenate([np.tile(row.base, (len(laid), 1)), laid], 1)
    v = across(np.nan_to_num(row.model.values(FIT, theta), posinf=0.0, neginf=0.0))
    size = np.linalg.norm(v, axis=1)
    like = np.abs(v @ y) / np.where(size > 1e-9, size, np.inf)
    best = np.argsort(-like)[:2]
    return float(like[best[0]]), laid[best]


def _by_scaling(row: Row, places: Array, target: Target, jumps: Array, tol: float) -> Explanation | None:
    n = len(row.model.names)
    still = tuple(i for i in range(n) if not row.moves[:, i].any())
    for a, b in places:
        loose = len(jumps) == 1 or len(row.jumps) == 1
        anchor = (float(jumps[0]), float(a * jumps[0] + b)) if loose else None
        problem = Problem(FIT, target.fit, FREE, anchor)
        free = (n,) if loose else ()
        theta = np.concatenate([row.base, [a, b]])
        fitted = minimise(row.model, problem, theta[None, :], free, 12)
        if fitted.residual > 1e-9 and still:
            fitted = minimise(row.model, problem, fitted.theta[None, :], (*still, *free), 20)
        got = accepted(row, fitted, target, tol)
        if got is not None:
            return plainest(got, fitted, (n, n + 1), FREE, target, tol)
    return None


def _laid(row: Row, jumps: Array) -> Iterator[tuple[float, float]]:
    """Scalings and shifts (a, b) that put a jump of the entry on the function's; with two jumps each, those that
    match both."""
    own = row.jumps[:8]
    if len(jumps) == 1 or len(own) == 1:
        for s in own:
            for a in SCALES:
                for sign in (1.0, -1.0):
                    yield a * sign, s - a * sign * float(jumps[0])
        return
    ends = [(jumps[0], jumps[-1])] if len(jumps) == len(row.jumps) else list(pairwise(jumps))[:4]
    mine = [(row.jumps[0], row.jumps[-1])] if len(jumps) == len(row.jumps) else list(pairwise(own))
    for t, u in ends:
        for p, q in mine:
            a = (q - p) / (u - t)
            yield a, p - a * t
            yield -a, q + a * t
