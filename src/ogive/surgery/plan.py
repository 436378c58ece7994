"""What initialisation will do to each weight of a followed graph, decided before anything is touched."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch

from ogive.errors import OgiveError
from ogive.surgery.graph import Graph, Node, Weight
from ogive.surgery.propagate import error_through, rounded, stretch, through, whole
from ogive.surgery.residual import Branch, branches
from ogive.surgery.rules import RULES, Place, best_std, by_gain

_BETWEEN = ("pass", "scale", "join", "mix")


@dataclass(frozen=True)
class Step:
    """One weight: the standard deviation it will have, and the second moment of its output then."""

    weight: Weight
    op: str
    fed_by: str
    feeds: str
    std: float
    bias_std: float
    moment: float
    node: Node
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """Steps in order of execution; weights that stay, with the reason; parameters that are set to zero.
    ``error`` is how many times a small relative error of the input's scale has grown where it is largest, and
    ``error_at`` the weight behind which it has."""

    steps: tuple[Step, ...]
    left: tuple[tuple[str, str], ...]
    zeroed: tuple[tuple[str, str], ...]
    error: float = 1.0
    error_at: str = ""


def plan(
    graph: Graph, names: Iterable[str], *, rule: str, mode: str, residual: str, skip: tuple[str, ...],
    input_moment: float | None, sigma: float | None, stable: bool = False,
) -> Plan:  # fmt: skip
    """Walk ``graph`` once: every linear map is given the variance that its rule asks for, and the moments behind it
    follow. Shared weights are decided where they are used first."""
    tree, q, error = branches(graph), dict[int, float](), dict[int, float]()
    worst, worst_at = 1.0, ""
    ends = {b.end.index: b for b in tree.values() if b.end is not None}
    tables = {n.weight.name for n in graph.of_kind("embedding") if n.weight is not None}
    steps: dict[str, Step] = {}
    left: dict[str, str] = {n.weight.name: "an embedding" for n in graph.of_kind("embedding") if n.weight}
    zeroed: dict[str, str] = {}
    for node in graph.nodes:
        if node.kind == "input":
            q[node.index] = input_moment if input_moment is not None else (node.moment or 1.0)
            error[node.index] = 1.0
        elif node.kind != "linear" or node.weight is None:
            q[node.index], error[node.index] = through(node, q), error_through(node, q, error)
            if node.index in tree and residual == "zero":
                _silence(tree[node.index], zeroed)
                q[node.index] = q[tree[node.index].skip.index]
        else:
            before, weight = q[node.parents[0].index], node.weight
            reason = _why_not(weight, tables, skip)
            known = steps.get(weight.name)
            if not reason and known is None and before > 0.0 and math.isfinite(before):
                known = steps[weight.name] = _step(node, graph, q, ends.get(node.index), tree, rule, mode, residual,
                                                    sigma, stable)  # fmt: skip
            error[node.index] = error[node.parents[0].index]
            if known is not None and not reason:
                # the first use decides; standardised weights (nf) see the variance of their input only
                signal = weight.fan_in * known.std**2 * before
                if known.node is node:
                    signal = known.moment - known.bias_std**2
                q[node.index] = signal + known.bias_std**2
                if signal > 0.0:
                    error[node.index] *= signal / q[node.index]
                if error[node.index] > worst:
                    worst, worst_at = error[node.index], weight.name
            else:
                left[weight.name or f"{node.op} in {node.owner or 'the model'}"] = reason or "its input is zero"
                # weights that stay keep their effect, which the run measured
                q[node.index] = through(Node(node.index, "mix", node.op, "", node.parents, moment=node.moment), q)
    for name in names:
        if name not in steps and name not in left:
            left[name] = "no linear map with it was seen"
    left = {k: v for k, v in left.items() if k not in steps}
    return Plan(tuple(steps.values()), tuple(left.items()), tuple(zeroed.items()), worst, worst_at)


def _why_not(weight: Weight, tables: set[str], skip: tuple[str, ...]) -> str:
    if weight.why_not:
        return weight.why_not
    if weight.name in tables:
        return "shared with an embedding"
    return "skipped" if any(fnmatch(weight.name, pattern) for pattern in skip) else ""


def _step(
    node: Node, graph: Graph, q: dict[int, float], branch: Branch | None, tree: dict[int, Branch],
    rule: str, mode: str, residual: str, sigma: float | None, stable: bool,
) -> Step:  # fmt: skip
    weight = node.weight
    assert weight is not None
    source, sink = _before(node), _after(node)
    after = sink.activation if sink is not None and sink.kind in ("act", "gate") else None
    act, std = None, 1.0
    if source.kind in ("act", "gate") and source.activation is not None:
        act, start = whole(source)
        std = rounded(q[start.index]) if math.isfinite(q[start.index]) else 1.0
    share, note = 1.0, []
    reference = 1.0
    if branch is not None and branch.norm is not None:
        note.append("a norm ends the branch")
    elif branch is not None and branch.scale is not None:
        note.append("a learned scale ends the branch")
    elif branch is not None and residual == "depth":
        share = 1.0 / branch.depth
        reference = q.get(branch.skip.index, 1.0) if branch.projection is None else 1.0
        reference = reference if math.isfinite(reference) and reference > 0.0 else 1.0
        note.append(f"1/{branch.depth} of the stream" if branch.depth > 1 else "")
    elif branch is None:
        together = _side_by_side(node, tree)
        share = 1.0 / together
        note.append(f"one of {together} in a sum" if together > 1 else "")
    if rule == "vi3nr" and after is not None:
        reference *= (best_std(after) if sigma is None else sigma) ** 2
    first = not any(n.kind in ("linear", "embedding") for n in node.ancestors())
    place = Place(weight.fan_in, weight.fan_out, q[node.parents[0].index], act, std, after, first, share, reference)
    try:
        variance = (by_gain(place, mode) if rule == "gain" else RULES[rule](place)) * share
    except OgiveError as error:
        raise OgiveError(f"init_: {weight.name}: {error}") from None
    if branch is not None and residual == "zero" and branch.norm is None and branch.scale is None:
        variance = 0.0
        note.append("zero: the branch starts as nothing")
    bias_std = 0.0
    if stable and weight.bias and act is not None and variance > 0.0:
        # q = w E f^2 + b: with b/q = 1 - 1/stretch the relative slope of q, stretch (1 - b/q), is 1
        part = max(0.0, 1.0 - 1.0 / max(stretch(act, std), 1e-300))
        bias_std = math.sqrt(part * weight.fan_in * variance * q[node.parents[0].index])
        variance *= 1.0 - part
    uses = sum(n.weight is not None and n.weight.name == weight.name for n in graph.of_kind("linear"))
    note.append(f"used {uses} times" if uses > 1 else "")
    moment = weight.fan_in * variance * q[node.parents[0].index] + bias_std**2
    if rule == "nf" and variance > 0.0:
        moment = reference * share
    feeds = "-" if sink is None else _called(sink)
    return Step(weight, node.op, _called(source), feeds, math.sqrt(variance), bias_std, moment, node,
                "; ".join(n for n in note if n))  # fmt: skip


def _silence(branch: Branch, zeroed: dict[str, str]) -> None:
    """The factor behind the last normalisation of a branch becomes zero, which is what scales it."""
    if branch.norm is not None:
        last = branch.norm.scale_name or (branch.scale.scale_name if branch.scale is not None else "")
        if last:
            zeroed[last] = "the branch starts as nothing"


def _side_by_side(node: Node, tree: dict[int, Branch]) -> int:
    """How many linear maps are summed in the plain sum that ``node`` goes into: their outputs share its scale."""
    at, count = node, 1
    while True:
        below = [c for c in at.children if c.kind in ("pass", "scale", "add")]
        if len(at.children) != 1 or not below or below[0].index in tree:
            return count
        at = below[0]
        if at.kind == "add":
            others = [p for p in at.parents if _linear_behind(p)]
            count += len(others) - 1
            if len(others) < len(at.parents):
                return 1


def _linear_behind(node: Node) -> bool:
    while node.kind in ("pass", "scale") and len(node.parents) == 1:
        node = node.parents[0]
    return node.kind == "linear" or (node.kind == "add" and all(_linear_behind(p) for p in node.parents))


def _before(node: Node) -> Node:
    """What made the input of a layer: the nearest step that is more than a change of shape or scale."""
    at = node.parents[0]
    while at.kind in _BETWEEN and len(at.parents) == 1:
        at = at.parents[0]
    return at


def _after(node: Node) -> Node | None:
    """What takes the output of a layer, behind a normalisation if there is one."""
    at = node
    while at.children:
        nearest = [c for c in at.children if c.kind in ("act", "gate")]
        at = nearest[0] if nearest else at.children[0]
        if at.kind in ("act", "gate"):
            return at
        if at.kind not in ("pass", "scale", "norm") and not (at.kind == "add" and not _residual(at)):
            return at
    return None


def _residual(add: Node) -> bool:
    return any(p.index in {a.index for a in other.ancestors()} for p in add.parents for other in add.parents)


def _called(node: Node) -> str:
    if node.kind in ("act", "gate"):
        return node.label or ("product" if node.kind == "gate" else node.op)
    names = {"add": "sum", "normalisation": "norm", "scaled_dot_product_attention": "attention"}
    return names.get(node.kind) or names.get(node.op) or (node.op if node.kind in ("norm", "mix") else node.kind)
