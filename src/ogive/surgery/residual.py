"""Residual branches of a followed graph: which sum is a residual one, where its branch ends, how long the stream is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ogive.surgery.graph import Graph, Node
from ogive.surgery.operations import PARTS


@dataclass(frozen=True)
class Branch:
    """``add`` = ``skip`` + branch. ``end`` is the linear map whose scale is that of the branch (None when the branch
    ends otherwise); ``norm`` the normalisation and ``scale`` the learned scale behind it. ``projection`` is the
    linear map on the skip path, if there is one. ``depth`` counts the branches of the stream."""

    add: Node
    skip: Node
    end: Node | None
    norm: Node | None
    scale: Node | None
    projection: Node | None
    depth: int


def branches(graph: Graph) -> dict[int, Branch]:
    """The residual sums of ``graph`` by the index of their node.

    A sum is residual when one operand is the signal that the other, through at least one linear map, was made
    from, or a single linear map of it (a projection shortcut). Sums without such a pair (two embeddings, two
    branches side by side, a rotation of positions) are none. A stream is a chain of residual sums with nothing
    on the skip path that resets the scale: no normalisation, no projection.
    """
    found: list[tuple[Node, Node, Node, Node | None]] = []
    for add in graph.of_kind("add"):
        if len(add.parents) != 2:
            continue
        one, other = add.parents
        for skip, branch in ((one, other), (other, one)):
            shape = _identity(skip, branch)
            projection = None if shape else _projection(skip, branch)
            if shape or projection is not None:
                found.append((add, skip, branch, projection))
                break
    heads: dict[int, int] = {}
    residual = {add.index for add, *_ in found}
    for add, skip, _, projection in found:
        before = None if projection is not None else _sum_before(skip, residual)
        heads[add.index] = add.index if before is None else heads[before.index]
    length = Counter(heads.values())
    return {add.index: Branch(add, skip, *_end(branch), projection, length[heads[add.index]])
            for add, skip, branch, projection in found}  # fmt: skip


def _strip(node: Node, *kinds: str) -> Node:
    while node.kind in kinds and len(node.parents) == 1:
        node = node.parents[0]
    return node


def _identity(skip: Node, branch: Node) -> bool:
    start = _strip(skip, "pass", "scale")
    above = {n.index: n for n in (branch, *branch.ancestors())}
    return start.index in above and any(
        n.kind in ("linear", "opaque") and any(a.index == start.index for a in n.ancestors()) for n in above.values()
    )


def _projection(skip: Node, branch: Node) -> Node | None:
    """The one linear map between the signal that the branch starts from and the sum, else None."""
    at, linear = skip, None
    while len(at.parents) == 1 and at.op not in PARTS:
        if at.kind == "linear":
            if linear is not None:
                return None
            linear = at
        elif at.kind not in ("pass", "norm", "scale", "mix"):
            break
        at = at.parents[0]
        if linear is not None and at.kind not in ("pass", "mix"):
            break
    if linear is None:
        return None
    above = [branch, *branch.ancestors()]
    if at.index not in {n.index for n in above}:
        return None
    longer = [n for n in above if n.kind in ("linear", "act") and any(a is at for a in n.ancestors())]
    return linear if len(longer) > 1 else None


def _sum_before(skip: Node, residual: set[int]) -> Node | None:
    """The residual sum that ``skip`` carries on, when nothing resets the scale in between."""
    at = skip
    while at.index not in residual:
        if at.kind not in ("pass", "scale", "act", "mix") or len(at.parents) != 1:
            return None
        at = at.parents[0]
    return at


def _end(branch: Node) -> tuple[Node | None, Node | None, Node | None]:
    """The linear map, the normalisation and the learned scale at the end of a branch."""
    at, norm, scale = branch, None, None
    while at.kind in ("pass", "scale", "norm") and len(at.parents) == 1:
        norm = at if at.kind == "norm" and norm is None else norm
        scale = at if at.kind == "scale" and at.learned and scale is None else scale
        at = at.parents[0]
    return (at if at.kind == "linear" else None), norm, scale
