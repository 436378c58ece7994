"""A piecewise-linear network as a decision tree: linear questions about the input, a linear map at each leaf.

Every cut of every unit is a question about an affine function of the input, since the layers before it are affine
where their questions have been answered. A question that only one side of the region can answer is not asked.
Source: Aytekin 2022, "Neural networks are decision trees"; here for any piecewise-linear activation, residual and
convolutional networks, with unreachable branches pruned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.linear_pieces import LinearPieces, of_step
from ogive.verify.network import Network
from ogive.verify.polytope import Polytope
from ogive.verify.tracer import trace


@dataclass(frozen=True, eq=False)
class Leaf:
    """``output = matrix @ x + bias`` on ``region``."""

    matrix: Tensor
    bias: Tensor
    region: Polytope


@dataclass(eq=False)
class Split:
    """Is ``normal @ x <= threshold``? Then ``below``, else ``above``; ``unit`` is the step and the flat element."""

    normal: Tensor
    threshold: float
    unit: tuple[int, int]
    below: Split | Leaf | None = None
    above: Split | Leaf | None = None


@dataclass(frozen=True, eq=False)
class Tree:
    """The network on a box, exactly but for rounding."""

    root: Split | Leaf
    model: str
    shape: tuple[int, ...]
    leaves: tuple[Leaf, ...] = field(repr=False)
    depth: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The outputs for examples ``[examples, ...]`` inside the box, float64 ``[examples, outputs]``."""
        flat = x.detach().double().flatten(1)
        out = flat.new_empty(len(flat), len(self.leaves[0].bias))
        stack: list[tuple[Any, Tensor]] = [(self.root, torch.arange(len(flat)))]
        while stack:
            node, index = stack.pop()
            if not len(index):
                continue
            if isinstance(node, Leaf):
                out[index] = flat[index] @ node.matrix.mT + node.bias
            else:
                low = flat[index] @ node.normal <= node.threshold
                stack += [(node.below, index[low]), (node.above, index[~low])]
        return out

    def __repr__(self) -> str:
        return f"Tree({self.model}: {len(self.leaves)} leaves, depth {self.depth}, {math.prod(self.shape)} inputs)"

    def to_dict(self) -> dict[str, Any]:
        """All nodes, nested, ready for JSON."""

        def node(n: Any) -> dict[str, Any]:
            if isinstance(n, Leaf):
                return {"matrix": n.matrix.tolist(), "bias": n.bias.tolist()}
            return {"normal": n.normal.tolist(), "threshold": n.threshold, "below": node(n.below),
                    "above": node(n.above)}  # fmt: skip

        return {"model": self.model, "leaves": len(self.leaves), "depth": self.depth, "root": node(self.root)}


def to_tree(model: nn.Module, lo: Tensor, hi: Tensor, *, most: int = 20_000) -> Tree:
    """The decision tree that computes what ``model`` does for every x with ``lo <= x <= hi``.

    Args:
        model: linear layers and piecewise-linear activations, sums and reshapes; traced in evaluation mode.
        lo, hi: one example each ``[1, ...]``, ends of the box; infinite ends make it the whole space.
        most: leaves at most.

    Raises:
        InputError: for other activations, ends that do not fit, or more than ``most`` leaves.
        OgiveError: without SciPy, which decides which branches can be reached (extra ``verify``).

    >>> net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> _ = nn.init.ones_(net[0].weight), nn.init.zeros_(net[0].bias)
    >>> tree = to_tree(net, torch.tensor([[-1.0]]), torch.tensor([[2.0]]))
    >>> tree, tree(torch.tensor([[-0.5], [1.5]])).flatten().tolist()
    (Tree(Sequential: 2 leaves, depth 1, 1 inputs), [0.0, 1.5])
    """
    if not (isinstance(lo, Tensor) and isinstance(hi, Tensor) and lo.shape == hi.shape and lo.dim() > 1
            and len(lo) == 1):  # fmt: skip
        raise InputError("to_tree: lo and hi are one example each, tensors [1, ...] of the same shape")
    if not bool((lo < hi).all()):
        raise InputError("to_tree: lo < hi does not hold everywhere")
    example = torch.zeros_like(lo).clamp(lo, hi)
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    network = trace(model, example.to(weights[0]) if weights else example)
    kinks = {s.index: of_step(network, s) for s in network.nonlinear}
    with torch.no_grad():
        grown = _Growth(network, kinks, most)
        n = lo.numel()
        start = torch.cat([torch.eye(n), torch.zeros(1, n)]).double().reshape(n + 1, *network.steps[0].shape)
        root = grown.grow(1, {0: start}, {}, Polytope.box(lo, hi), 0)
    return Tree(root, network.model, tuple(lo.shape[1:]), tuple(grown.leaves), grown.depth)


class _Growth:
    """Grows a tree depth first; values of a step are affine in the input, ``[inputs + 1, *shape]``, constant last."""

    def __init__(self, network: Network, kinks: dict[int, list[LinearPieces]], most: int) -> None:
        self.network, self.kinks, self.most = network, kinks, most
        self.leaves: list[Leaf] = []
        self.depth = 0

    def grow(
        self, at: int, values: dict[int, Tensor], chosen: dict[int, int], region: Polytope, depth: int
    ) -> Split | Leaf:
        """The node where steps before ``at`` are known; ``chosen`` holds the pieces of units of step ``at``."""
        while at < len(self.network.steps):
            step = self.network.steps[at]
            inputs = [values[i] for i in step.inputs]
            if step.linear:
                made = step.operation.apply(inputs)
                made[-1] = step.operation.evaluate([v[-1:] for v in inputs])[0]
                values, at = {**values, at: made}, at + 1
                continue
            flat = inputs[0].flatten(1)
            for unit, pieces in enumerate(self.kinks[at]):
                if unit in chosen:
                    continue
                question = self._question(flat[:, unit], pieces, region)
                if isinstance(question, int):
                    chosen = {**chosen, unit: question}
                    continue
                return self._split(at, values, chosen, region, depth, unit, pieces, question)
            lines = [self.kinks[at][u] for u in range(flat.shape[1])]
            slope = torch.tensor([p.slopes[chosen[u]] for u, p in enumerate(lines)], dtype=torch.float64)
            shift = torch.tensor([p.intercepts[chosen[u]] for u, p in enumerate(lines)], dtype=torch.float64)
            made = flat * slope
            made[-1] += shift
            values, chosen, at = {**values, at: made.reshape(-1, *step.shape)}, {}, at + 1
        if len(self.leaves) >= self.most:
            raise InputError(f"to_tree: {self.network.model} has more than {self.most} linear regions on this box; a "
                             "smaller box, or a larger most, helps")  # fmt: skip
        out = values[self.network.output].flatten(1)
        self.leaves.append(Leaf(out[:-1].mT.contiguous(), out[-1], region))
        self.depth = max(self.depth, depth)
        return self.leaves[-1]

    def _question(self, line: Tensor, pieces: LinearPieces, region: Polytope) -> int | list[int]:
        """The piece that a unit is on all over the region, or those cuts that may lie in it."""
        normal, shift = line[:-1], float(line[-1])
        box = Polytope.box(region.lo, region.hi)
        sides = []
        for shape in (box, region):
            low, high = shape.least(normal), shape.least(-normal)
            if low is None or high is None:
                return 0
            sides = [low[0] + shift, -high[0] + shift]
            slack = 1e-12 * (1.0 + abs(shift)) if math.isfinite(sum(sides)) else 0.0
            open_ = [k for k, c in enumerate(pieces.cuts) if sides[0] < c - slack and sides[1] > c + slack]
            if not open_ or not len(region.offsets):
                break
        if not open_:
            middle = torch.tensor(0.5 * sides[0] + 0.5 * sides[1] if math.isfinite(sum(sides)) else _finite(sides))
            return int(pieces.piece(middle.double()))
        return open_

    def _split(
        self, at: int, values: dict[int, Tensor], chosen: dict[int, int], region: Polytope, depth: int, unit: int,
        pieces: LinearPieces, cuts: list[int],
    ) -> Split | Leaf:  # fmt: skip
        """Ask about the first of ``cuts``; above the last one the piece is known."""
        line = values[self.network.steps[at].inputs[0]].flatten(1)[:, unit]
        normal, threshold = line[:-1], pieces.cuts[cuts[0]] - float(line[-1])
        below, above = region.cut(normal, threshold), region.cut(-normal, -threshold)
        solid = (below.solid(), above.solid())
        rest = {**chosen, unit: cuts[0] + 1}
        if not solid[1]:
            return self.grow(at, values, {**chosen, unit: cuts[0]}, region, depth)
        if not solid[0]:
            if len(cuts) > 1:
                return self._split(at, values, chosen, region, depth, unit, pieces, cuts[1:])
            return self.grow(at, values, rest, region, depth)
        node = Split(normal, threshold, (at, unit))
        node.below = self.grow(at, values, {**chosen, unit: cuts[0]}, below, depth + 1)
        if len(cuts) > 1:
            node.above = self._split(at, values, chosen, above, depth + 1, unit, pieces, cuts[1:])
        else:
            node.above = self.grow(at, values, rest, above, depth + 1)
        return node


def _finite(sides: list[float]) -> float:
    low, high = sides
    if math.isfinite(low):
        return low + 1.0
    return high - 1.0 if math.isfinite(high) else 0.0
