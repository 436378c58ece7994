"""Feed-forward blocks as a structure: gate, up and down projection with the nonlinearity between them.

Sparsity is made at the nonlinearity and paid out at the projections around it, so the transforms here and the decode
kernels both need to know which Linear modules belong to which site. That is read off the run, not off the names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from ogive.surgery.follow import follow
from ogive.surgery.graph import Graph, Node
from ogive.surgery.sites import Site, folded, sites_of, table, weights_after

_THROUGH = ("pass", "scale", "act")


@dataclass(frozen=True)
class FeedForward:
    """``down(f(gate(x)) * up(x))``, or ``down(f(up(x)))`` where ``gate`` is None: paths of ``nn.Linear`` modules.

    ``name`` is the deepest module that holds them all; ``site`` is the nonlinearity f. A projection that makes both
    branches at once (``gate_up_proj``) is named twice, and ``fused`` says so; which half is the gate is up to its code.
    """

    name: str
    gate: str | None
    up: str
    down: str
    site: Site

    @property
    def fused(self) -> bool:
        """Whether one projection makes gate and up."""
        return self.gate == self.up

    @property
    def entry(self) -> str:
        """The projection that the nonlinearity is applied to."""
        return self.gate or self.up

    def to_dict(self) -> dict[str, Any]:
        """All fields as text, ready for JSON."""
        paths = {k: getattr(self, k) for k in ("name", "gate", "up", "down")}
        return {**paths, "site": self.site.to_dict()}

    def __repr__(self) -> str:
        return f"FeedForward({self.name}: {self.site.label}, gate={self.gate}, up={self.up}, down={self.down})"


@dataclass(frozen=True)
class Blocks:
    """The feed-forward blocks of a model in order of execution, all its sites, and the sites in no block and why."""

    blocks: tuple[FeedForward, ...]
    sites: tuple[Site, ...]
    left: tuple[tuple[str, str], ...]
    graph: Graph

    def __iter__(self) -> Iterator[FeedForward]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, name: str) -> FeedForward:
        found = [b for b in self.blocks if b.name == name or b.site.name == name]
        if not found:
            raise KeyError(f"no block {name!r}; there are {', '.join(b.name for b in self.blocks[:8]) or 'none'}")
        return found[0]

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("block", "function", "gate", "up", "down")]
        rows += [(b.name or "-", b.site.label, b.gate or "-", b.up, b.down) for b in self.blocks]
        lines = [table(rows, (20, 12, 14, 14, 14)) if self.blocks else "no feed-forward block found"]
        return "\n".join([*lines, *(folded(f"not a block: {name}, {why}") for name, why in self.left)])

    def to_dict(self) -> dict[str, Any]:
        """All blocks, ready for JSON."""
        return {"blocks": [b.to_dict() for b in self.blocks], "left": [list(pair) for pair in self.left]}


def feed_forwards(model: nn.Module, example: Any) -> Blocks:
    """The feed-forward blocks that ``model`` runs on ``example``.

    Args:
        model: any module; run once in evaluation mode and left as it was.
        example: what it is called with.

    Raises:
        InputError: for something that is not a module, or an example without tensors.

    >>> import torch
    >>> feed_forwards(nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2)), torch.randn(4, 3))
    block  function  gate  up  down
    -      gelu      -     0   2
    """
    graph, modules = follow(model, example), dict(model.named_modules())
    nodes = [n for n in graph.of_kind("act", "gate") if n.activation is not None]
    found = sites_of(graph, modules).sites
    blocks: list[FeedForward] = []
    left: list[tuple[str, str]] = []
    for node, site in zip(nodes, found):
        block = _block(node, site, modules)
        if isinstance(block, FeedForward) and any(b.down == block.down for b in blocks):
            block = f"its block is {block.name or 'the model'}, which another site gates"
        if isinstance(block, FeedForward):
            blocks.append(block)
        else:
            left.append((site.name, block))
    return Blocks(tuple(blocks), found, tuple(left), graph)


def _block(node: Node, site: Site, modules: dict[str, nn.Module]) -> FeedForward | str:
    """The block of a site, or why there is none."""
    if site.kind == "gate":
        return "a function of two inputs at once; its gate cannot be told from its branch"
    entry = _origin(node)
    if entry is None:
        return "no linear map is right before it"
    product = _through(node)
    gate: str | None = None
    up = entry
    if isinstance(product, Node) and product.kind == "gate" and product.activation is None:
        others = [p for p in product.parents if p is not node and not _leads(p, node)]
        other = _origin(others[0]) if len(others) == 1 else None
        if other is None:
            return "what it is multiplied with does not come from one linear map"
        gate, up = entry, other
        product = _through(product)
        if gate != up and not _same_input(node, others[0]):
            return "its gate and its branch are of different inputs"
    if not isinstance(product, Node) or product.weight is None:
        to = ", ".join(weights_after(node)) or "no linear map"
        return f"its result does not go into one linear map at once (next: {to})"
    down = _path(product)
    for path in (gate, up, down):
        if path is not None and not isinstance(modules.get(path), nn.Linear):
            return f"{path or 'a weight'} is not an nn.Linear"
    assert down is not None
    return FeedForward(_common([p for p in (gate, up, down) if p]), gate, up, down, site)


def _path(node: Node) -> str | None:
    name = node.weight.name if node.weight is not None else ""
    return name.removesuffix(".weight") if name.endswith(".weight") else None


def _through(node: Node) -> Node | None:
    """What uses the values of ``node``, other shapes aside; None when that is not one thing."""
    users: dict[int, Node] = {}
    stack = list(node.children)
    while stack:
        at = stack.pop()
        if at.kind in ("pass", "act"):  # an act here is a threshold on the way into the projection
            stack.extend(at.children)
        else:
            users[at.index] = at
    return next(iter(users.values())) if len(users) == 1 else None


def _linear(node: Node) -> Node | None:
    at = node
    while at.weight is None:
        if at.kind not in _THROUGH or len(at.parents) != 1:
            return None
        at = at.parents[0]
    return at


def _origin(node: Node) -> str | None:
    """The linear map that the values of ``node`` come from, element by element."""
    found = _linear(node)
    return None if found is None else _path(found)


def _leads(node: Node, to: Node) -> bool:
    """Whether ``to`` is behind ``node`` before any linear map."""
    at = node
    while at is not to:
        if at.kind not in _THROUGH or len(at.parents) != 1:
            return False
        at = at.parents[0]
    return True


def _same_input(one: Node, other: Node) -> bool:
    ends = []
    for node in (one, other):
        at = _linear(node)
        assert at is not None
        at = at.parents[0] if at.parents else at
        while at.kind in ("pass", "act") and len(at.parents) == 1:
            at = at.parents[0]
        ends.append(at)
    return ends[0] is ends[1]


def _common(paths: list[str]) -> str:
    parts = [p.split(".")[:-1] for p in paths]
    shared = []
    for names in zip(*parts):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)
