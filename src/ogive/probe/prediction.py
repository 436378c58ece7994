"""What a random network of great width would do in place of a followed one: lengths, correlations, gradients by node.

Weights count with the variance that they have. Forward: a linear map takes (q, c) to q' = n w q + b and
c' = (n w q c + b)/q'; a nonlinearity takes them to E f(u)^2 and E f(u) f(v)/E f(u)^2. Backward: a linear map multiplies
the squared gradient of an element by w times its outputs, a nonlinearity by E f'(u)^2. Where that is not known (a
pooling, an attention, the correlation behind a batch normalisation) the next linear map starts from what was measured.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from ogive.derive.dual import dual
from ogive.errors import OgiveError
from ogive.probe.measurement import Run, Seen
from ogive.surgery.graph import Node
from ogive.surgery.propagate import power, rounded, slope_power, through, whole


@dataclass(frozen=True)
class Predicted:
    """``square`` and ``correlation`` of a linear map's output and the norm of its gradient. ``restarted`` says that
    they were worked out from the measured input of this map, ``gradient_restarted`` that the gradient stands for
    itself: it is the measured one, from which the layers before go on."""

    square: float
    correlation: float
    gradient: float
    restarted: bool
    gradient_restarted: bool


def predict(run: Run) -> tuple[Predicted, ...]:
    """One prediction for each linear map of ``run``, in its order."""
    by_node = {s.node.index: s for s in run.seen}
    q: dict[int, float] = {}
    c: dict[int, float] = {}
    restarted: set[int] = set()
    for node in run.graph.nodes:
        seen = by_node.get(node.index)
        if seen is not None and node.weight is not None:
            before = node.parents[0].index
            q_in, c_in = q.get(before, math.nan), c.get(before, math.nan)
            if not math.isfinite(q_in) or not math.isfinite(c_in):
                restarted.add(node.index)
                q_in, c_in = q[before], c[before] = seen.input_square, seen.input_correlation
            signal = node.weight.fan_in * seen.weight * q_in
            q[node.index] = signal + seen.bias
            c[node.index] = _ratio(signal * c_in + seen.bias, q[node.index])
        else:
            q[node.index] = through(node, q) if node.parents else node.moment
            c[node.index] = _correlated(node, q, c)
    gradients, kept = _backward(run, by_node, q, c)
    return tuple(
        Predicted(q[s.node.index], c[s.node.index], gradients[s.node.index], s.node.index in restarted,
                  s.node.index in kept)
        for s in run.seen
    )  # fmt: skip


def _ratio(a: float, b: float) -> float:
    return max(-1.0, min(1.0, a / b)) if b > 0.0 and math.isfinite(b) and math.isfinite(a) else math.nan


def _correlated(node: Node, q: dict[int, float], c: dict[int, float]) -> float:
    before = [p.index for p in node.parents]
    if not before:
        return math.nan
    if node.kind == "act" and node.activation is not None:
        act, start = whole(node)
        size, at = q[start.index], c[start.index]
        if act is None or not (math.isfinite(at) and 0.0 < size < math.inf):
            return math.nan
        std = rounded(size)
        try:
            return _ratio(float(dual(act, at, std=(std, std)).value), power(act, std))
        except OgiveError:
            return math.nan
    if node.kind == "pass" or (node.kind == "norm" and node.op not in ("batch_norm", "instance_norm")):
        return c[before[0]]
    if node.kind == "scale":
        return _ratio(node.factor * q[before[0]] * c[before[0]] + node.offset, q[node.index])
    if node.kind == "gate" and node.activation is None:
        return math.prod(c[i] for i in before)
    if node.kind in ("add", "join"):  # weights of a joint are its sizes, those of a sum are equal
        sizes = [float(math.prod(p.shape) or 1) if node.kind == "join" else 1.0 for p in node.parents]
        parts = [(s * q[i], c[i]) for s, i in zip(sizes, before)]
        live = [(p, r) for p, r in parts if p != 0.0]  # a branch that begins at zero has no correlation
        return _ratio(sum(p * r for p, r in live), sum(p for p, _ in live))
    return math.nan


def _backward(
    run: Run, by_node: dict[int, Seen], q: dict[int, float], c: dict[int, float]
) -> tuple[dict[int, float], set[int]]:
    """The predicted norm of the gradient at each linear map, and the maps where the measured one was taken."""
    g: defaultdict[int, float] = defaultdict(float)  # mean square of one element
    for node in run.graph.outputs:
        g[node.index] += 1.0
    norms: dict[int, float] = {}
    kept: set[int] = set()
    for node in reversed(run.graph.nodes):
        seen = by_node.get(node.index)
        here = g[node.index]
        if seen is not None:
            elements = math.prod(node.shape) / max(run.examples, 1)
            if not math.isfinite(here) and math.isfinite(seen.gradient):
                here = seen.gradient**2 / elements
                kept.add(node.index)
            norms[node.index] = math.sqrt(here * elements)
        for start, factor in _factors(node, seen, q, c):
            if here != 0.0:
                g[start.index] += here * factor
    return norms, kept


def _factors(node: Node, seen: Seen | None, q: dict[int, float], c: dict[int, float]) -> list[tuple[Node, float]]:
    """The nodes that the gradient at ``node`` goes to, and what its squared elements are multiplied by."""
    if not node.parents:
        return []
    first = node.parents[0]
    if node.kind == "linear" and node.weight is not None:
        return [(first, math.nan if seen is None else node.weight.fan_out * seen.weight)]
    if node.kind == "act" and node.activation is not None:
        act, start = whole(node)
        size = q[start.index]
        known = act is not None and 0.0 < size < math.inf
        return [(start, slope_power(act, rounded(size)) if known and act is not None else math.nan)]
    if node.kind == "norm":
        # y = (x - m)/s: of what batch normalisation subtracts, the examples have q c in common
        common = c[first.index] if node.op in ("batch_norm", "instance_norm") else 0.0
        spread = q[first.index] * (1.0 - common)
        return [(first, node.moment / spread if spread > 0.0 else math.nan)]
    if node.kind == "gate" and node.activation is None:
        return [(p, math.prod(q[o.index] for o in node.parents if o is not p)) for p in node.parents]
    share = [(p, math.prod(node.shape) / (math.prod(p.shape) or 1)) for p in node.parents]
    if node.kind in ("pass", "add"):
        return share
    if node.kind == "join":
        return [(p, 1.0) for p in node.parents]
    if node.kind == "scale":
        return [(first, node.factor)]
    if node.kind == "mix" and "max_pool" in node.op:
        return share[:1]
    if node.kind == "mix" and ("avg_pool" in node.op or node.op == "mean"):
        return [(first, share[0][1] ** 2)]
    return [(p, math.nan) for p in node.parents]
