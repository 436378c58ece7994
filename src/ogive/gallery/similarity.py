"""How alike two activations are to a standard normal input, and a map drawn from that.

Each function is sampled at Gauss-Hermite nodes, its Gaussian mean is taken off and the rest scaled to norm
one. The scalar product of two such vectors is their correlation r under N(0, 1); it is 1 or -1 for functions
that differ by an affine map of the output, which the next layer undoes. sqrt(1 - r^2), the sine of the angle,
is the share of one function that a multiple of the other does not explain. The map places the functions so
that distances are the square roots of those sines (near ones count most), by classical scaling and then
majorisation of the stress from there: no random number, so the same catalogue gives the same map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from ogive.activation import Activation
from ogive.derive.drawing.axes import Array
from ogive.derive.observed import values
from ogive.errors import OgiveError

NODES = 120
NEAREST = 24
_APART = 0.011  # of half the map's width: points are pushed to at least twice this distance
_ROUNDS = 60  # of pushing
_STEPS = 80  # of majorisation
_LEAST = 0.1  # distances below this weigh alike


@dataclass(frozen=True)
class Map:
    """Activations in the plane.

    ``names`` are those that have a place, ``points`` their coordinates in [-1, 1] (names, 2), ``stress``
    Kruskal's stress of the map, before equal points were pushed apart (0 is faithful), ``near`` for each name
    the most correlated others with their correlations, ``left_out`` those that are constant or not finite on
    the nodes.
    """

    names: tuple[str, ...]
    points: Array
    stress: float
    near: Mapping[str, tuple[tuple[str, float], ...]]
    left_out: tuple[str, ...]


def signature(act: Activation) -> Array | None:
    """``act`` at the nodes, weighted, centred and of norm one; None where it has no such form.

    >>> from ogive.lookup import get
    >>> a, b = signature(get("sigmoid")), signature(get("x*0.5 + 3"))
    >>> 0.98 < float(a @ b) < 1
    True
    """
    if len(act.inputs) != 1:
        return None
    nodes, weights = hermegauss(NODES)
    try:
        y = values(act, nodes)
    except OgiveError:
        return None
    root = np.sqrt(weights / weights.sum())
    if not np.isfinite(y).all():
        return None
    size = float(np.abs(y).max()) or 1.0
    vector = root * (y / size)
    vector = vector - root * float(vector @ root)
    norm = float(np.sqrt(vector @ vector))
    return vector / norm if norm > 1e-9 else None


def embed(signatures: Mapping[str, Array | None]) -> Map:
    """The map of all activations that have a signature."""
    known = {name: s for name, s in signatures.items() if s is not None}
    left_out = tuple(sorted(set(signatures) - set(known)))
    names = tuple(sorted(known))
    if not names:
        return Map((), np.zeros((0, 2)), 0.0, {}, left_out)
    table = np.stack([known[n] for n in names])
    product = table @ table.T
    near = {}
    for i, name in enumerate(names):
        row = np.clip(product[i], -1.0, 1.0)
        order = np.argsort(-np.round(np.abs(row), 12), kind="stable")
        near[name] = tuple((names[j], float(row[j])) for j in order[: NEAREST + 1] if j != i)[:NEAREST]
    target = np.maximum(0.0, 1.0 - product**2) ** 0.25
    points, stress = _majorised(_scaled(target), target)
    return Map(names, _apart(_framed(points)), stress, near, left_out)


def _scaled(target: Array) -> Array:
    """Classical scaling: the plane that holds most of the double-centred squares."""
    n = len(target)
    centre = np.eye(n) - 1.0 / n
    values_, vectors = np.linalg.eigh(-0.5 * centre @ target**2 @ centre)
    points = np.zeros((n, 2))
    for k in range(min(2, n)):
        points[:, k] = vectors[:, -1 - k] * math.sqrt(max(0.0, float(values_[-1 - k])))
    return points


def _majorised(points: Array, target: Array) -> tuple[Array, float]:
    """Points of less stress, by Guttman transforms, and the stress; weights fall as the distance wanted."""
    n = len(points)
    weight = 1.0 / np.maximum(target, _LEAST)
    np.fill_diagonal(weight, 0.0)
    laplacian = np.diag(weight.sum(1)) - weight
    inverse = np.linalg.pinv(laplacian)
    for _ in range(_STEPS if n > 2 else 0):
        now = _distances(points)
        ratio = np.where(now > 1e-12, weight * target / np.maximum(now, 1e-12), 0.0)
        points = inverse @ ((np.diag(ratio.sum(1)) - ratio) @ points)
    now = _distances(points)
    stress = math.sqrt(float(((now - target) ** 2).sum()) / (float((target**2).sum()) or 1.0))
    return points, stress


def _distances(points: Array) -> Array:
    gap = points[:, None, :] - points[None, :, :]
    distance: Array = np.sqrt((gap**2).sum(-1))
    return distance


def _framed(points: Array) -> Array:
    """Turned to the widest direction and stretched to [-1, 1]; of every axis, the farthest point is positive."""
    points = points - points.mean(0)
    _, _, axes = np.linalg.svd(points, full_matrices=False) if len(points) > 1 else (0, 0, np.eye(2))
    turned = points @ axes.T
    middle = 0.5 * (turned.max(0) + turned.min(0))
    reach = np.abs(turned - middle).max(0)
    framed: Array = (turned - middle) / np.where(reach > 1e-9, reach, 1.0)
    far = framed[np.argmax(np.abs(turned), axis=0), range(2)]
    return framed * np.where(far < 0, -1.0, 1.0)


def _apart(points: Array) -> Array:
    """Points that would cover one another pushed a little apart; the first push of equal points is a spiral."""
    n = len(points)
    turn = np.arange(n) * math.pi * (3.0 - math.sqrt(5.0))
    at = points + 1e-4 * np.stack([np.cos(turn), np.sin(turn)], 1)
    least = 2.0 * _APART
    for _ in range(_ROUNDS):
        gap = at[:, None, :] - at[None, :, :]
        distance = np.sqrt((gap**2).sum(-1)) + np.eye(n)
        push = np.where(distance < least, (least - distance) / distance, 0.0)
        np.fill_diagonal(push, 0.0)
        if not push.any():
            break
        at = at + 0.35 * (gap * push[:, :, None]).sum(1)
    reach = float(np.abs(at).max())
    spread: Array = at / reach if reach > 1.0 else at
    return spread
