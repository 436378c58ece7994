"""Second moments from layer to layer, by the formulas of the nonlinearities: what a signal will be before it is run."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from ogive.activation import Activation
from ogive.derive.moments import moment
from ogive.errors import OgiveError
from ogive.surgery.formulas import X
from ogive.surgery.graph import Node


def rounded(moment: float) -> float:
    """The standard deviation to ten digits, so that layers that are alike share their integrals."""
    return float(f"{math.sqrt(moment):.10g}")


@lru_cache(maxsize=4096)
def power(act: Activation, std: float) -> float:
    """``E f(X)^2`` for X ~ N(0, std^2); nan where it does not exist. Of a gate, for two independent inputs."""
    if len(act.inputs) == 2:
        return _of_gate(act, std, std)
    try:
        return float(moment(act, 2, 0, std=std).value) if std > 0.0 else float(act(0.0)) ** 2
    except OgiveError:
        return math.nan


@lru_cache(maxsize=4096)
def slope_power(act: Activation, std: float) -> float:
    """``E f'(X)^2`` for X ~ N(0, std^2); nan where it does not exist. Of a gate, the mean over its two inputs."""
    if len(act.inputs) == 2:
        x, y, weight = _grid(std, std)
        with torch.enable_grad():
            x, y = x.requires_grad_(), y.requires_grad_()
            slopes = torch.autograd.grad(act(x, y).sum(), (x, y))
        return 0.5 * sum(float((g.detach().square() * weight).sum()) for g in slopes)
    try:
        return float(moment(act, 0, 2, std=max(std, 1e-12)).value)
    except OgiveError:
        return math.nan


@lru_cache(maxsize=4096)
def stretch(act: Activation, std: float) -> float:
    """``d log E f(X)^2 / d log std^2``: by what factor one layer stretches a small relative error of the scale.
    1 for relu, below 1 where f saturates, above 1 for silu and gelu; a gate counts for both inputs."""
    up, down = power(act, std * 1.005), power(act, std / 1.005)
    return math.log(up / down) / (4.0 * math.log(1.005)) if up > 0.0 and down > 0.0 else 1.0


def _grid(first: float, second: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    # 24 panels of 8 nodes on [-9, 9], one edge at 0 where gates bend: 1e-10 for smooth gates
    x, w = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(-9.0, 9.0, 25)
    centre, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (edges[1] - edges[0])
    z = (centre[:, None] + half * x[None, :]).ravel()
    weight = torch.from_numpy(np.tile(w * half, len(centre)) * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))
    nodes = torch.from_numpy(z)
    return (
        (first * nodes)[:, None].repeat(1, len(z)),
        (second * nodes)[None, :].repeat(len(z), 1),
        torch.outer(weight, weight),
    )


def _of_gate(act: Activation, first: float, second: float) -> float:
    x, y, weight = _grid(first, second)
    return float((act(x, y).square() * weight).sum())


def whole(node: Node) -> tuple[Activation | None, Node]:
    """The nonlinearity at ``node`` with those right before it in one formula, and the node its input comes from:
    the composition of two has a normal input where the outer one alone does not."""
    act, at = node.activation, node.parents[0]
    while act is not None and at.kind in ("act", "pass"):
        if at.kind == "act":
            if at.activation is None or at.activation.backward is not None or act.backward is not None:
                break
            inner = at.activation.fixed()
            within = inner.expr.substitute({inner.inputs[0]: X})
            act = Activation(act.fixed().expr.substitute({act.inputs[0]: within}))
        at = at.parents[0]
    return act, at


def through(node: Node, q: dict[int, float]) -> float:
    """The second moment behind any node but a linear one, from those of its parents; nan where it is unknown."""
    before = [q[p.index] for p in node.parents]
    if node.kind in ("embedding", "opaque", "norm", "input") and not before:
        return node.moment
    if node.kind == "norm":
        return node.moment  # whatever comes in, so that the run of any weights tells it
    if node.kind == "pass":
        return before[0]
    if node.kind == "scale":
        return node.factor * before[0] + node.offset
    if node.kind == "add":
        return sum(before)
    if node.kind == "join":
        sizes = [math.prod(p.shape) or 1 for p in node.parents]
        return sum(s * b for s, b in zip(sizes, before)) / sum(sizes)
    if node.kind == "act" and node.activation is not None:
        act, start = whole(node)
        got = power(act, rounded(q[start.index])) if act is not None and q[start.index] >= 0.0 else math.nan
        return got if math.isfinite(got) else _measured(node, before)
    if node.kind == "gate":
        if node.activation is None:
            return math.prod(before)
        first, second = (before[0], before[-1])
        got = _of_gate(node.activation, math.sqrt(first), math.sqrt(second)) if min(before) >= 0.0 else math.nan
        return got if math.isfinite(got) else _measured(node, before)
    return _measured(node, before)


def _measured(node: Node, before: list[float]) -> float:
    """What the run measured, scaled by how much larger the input will be: exact for linear and positive homogeneous
    steps such as pooling, an estimate for others."""
    ran = [p.moment for p in node.parents]
    pairs = [(b, r) for b, r in zip(before, ran) if math.isfinite(b) and math.isfinite(r) and r > 0.0]
    if not pairs:  # nothing to compare with: weights that are zero now
        known = [b for b in before if math.isfinite(b)]
        return known[-1] if known else node.moment
    if not math.isfinite(node.moment):
        return pairs[-1][0]
    return node.moment * sum(b for b, _ in pairs) / sum(r for _, r in pairs)


def error_through(node: Node, q: dict[int, float], error: dict[int, float]) -> float:
    """How many times a relative error of the scale has grown behind a node that is not linear. A normalisation
    ends what was before it; the draw of the next weights, 1/sqrt(width) off, begins anew, so it counts as 1."""
    before = [error[p.index] for p in node.parents]
    if node.kind == "norm" or not before:
        return 1.0
    if node.kind == "act" and node.activation is not None and q[node.parents[0].index] > 0.0:
        return before[0] * stretch(node.activation, rounded(q[node.parents[0].index]))
    if node.kind == "gate":
        if node.activation is not None and q[node.parents[0].index] > 0.0:
            return max(before) * stretch(node.activation, rounded(q[node.parents[0].index]))
        return sum(before)
    if node.kind == "add":
        parts = [q[p.index] for p in node.parents]
        whole_sum = sum(parts)
        return sum(b * part for b, part in zip(before, parts)) / whole_sum if whole_sum > 0.0 else max(before)
    return max(before)
