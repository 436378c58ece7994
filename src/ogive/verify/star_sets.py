"""Star sets: what a network can return, as affine images of polytopes.

A piecewise-linear network maps a box onto the union of one star for each of its linear regions, exactly. For other
activations, or too many regions, one star is drawn around: every element behind a bend is a variable of its own,
between the support lines of the formula. Source: Tran et al. 2020, "NNV: the neural network verification tool"; Tran
et al. 2019, "Star-based reachability analysis of deep neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.bounding import Bounds
from ogive.verify.formula import Formula
from ogive.verify.linear_pieces import of_step
from ogive.verify.network import Box, Network
from ogive.verify.polytope import Polytope
from ogive.verify.region import Cuboid
from ogive.verify.tree import to_tree
from ogive.verify.zonotopes import prepared


@dataclass(frozen=True, eq=False)
class Star:
    """All ``matrix @ a + bias`` with a in ``region``; float64."""

    matrix: Tensor
    bias: Tensor
    region: Polytope

    def range(self, row: Tensor) -> tuple[float, float] | None:
        """The least and greatest value of ``row @ y``; None for an empty star. By linear programmes in float64."""
        row = row.double()
        shift, inner = float(row @ self.bias), row @ self.matrix
        low, high = self.region.least(inner), self.region.least(-inner)
        return None if low is None or high is None else (low[0] + shift, shift - high[0])

    def contains(self, y: Tensor, tol: float = 1e-7) -> bool:
        """Whether ``y`` is in the star, to ``tol``."""
        gap = y.detach().double().flatten() - self.bias
        rows = torch.cat([self.matrix, -self.matrix])
        sides = torch.cat([gap, -gap]) + tol
        whole = Polytope(self.region.lo, self.region.hi, torch.cat([self.region.normals, rows]),
                         torch.cat([self.region.offsets, sides]))  # fmt: skip
        return whole.least(torch.zeros_like(self.region.lo)) is not None


@dataclass(frozen=True, eq=False)
class Reach:
    """The union of ``stars`` holds every output; ``exact`` when it holds nothing else."""

    stars: tuple[Star, ...] = field(repr=False)
    exact: bool
    model: str

    def range(self, row: Tensor) -> tuple[float, float]:
        """The least and greatest value of ``row @ y`` over the union."""
        ends = [e for e in (s.range(row) for s in self.stars) if e is not None]
        return min(a for a, _ in ends), max(b for _, b in ends)

    def box(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest value of each output."""
        ends = [self.range(row) for row in torch.eye(len(self.stars[0].bias), dtype=torch.float64)]
        low, high = torch.tensor(ends, dtype=torch.float64).unbind(1)
        return low, high

    def contains(self, y: Tensor, tol: float = 1e-7) -> bool:
        """Whether ``y`` is in one of the stars, to ``tol``."""
        return any(s.contains(y, tol) for s in self.stars)

    def __repr__(self) -> str:
        kind = "exact" if self.exact else "outer"
        return f"Reach({self.model}: {len(self.stars)} stars, {len(self.stars[0].bias)} outputs, {kind})"

    def to_dict(self) -> dict[str, Any]:
        """All stars as lists, ready for JSON."""
        return {"exact": self.exact, "model": self.model, "stars": [
            {"matrix": s.matrix.tolist(), "bias": s.bias.tolist(), "lo": s.region.lo.tolist(),
             "hi": s.region.hi.tolist(), "normals": s.region.normals.tolist(), "offsets": s.region.offsets.tolist()}
            for s in self.stars]}  # fmt: skip


def star(
    model: nn.Module, lo: Tensor, hi: Tensor, *, exact: bool | None = None, lines: int = 5, most: int = 20_000
) -> Reach:
    """The outputs of ``model`` on the box from ``lo`` to ``hi`` as star sets.

    Args:
        model: linear layers, sums, reshapes and activations of single elements, traced in evaluation mode.
        lo, hi: one example each, ``[1, ...]``, finite.
        exact: True for one star each linear region; False for one star around all; by default the former where every
            activation is piecewise linear.
        lines: support lines on each side of every bend, touching at points spread evenly over its interval.
        most: stars at most.

    Raises:
        InputError: for ``exact`` with an activation that is not piecewise linear, or an operation of another kind.
        OgiveError: without SciPy (extra ``verify``), which solves the linear programmes.

    The sets hold but for what float64 rounds in the programmes; :func:`ogive.verify.bound` rounds outward.

    >>> net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> _ = nn.init.ones_(net[0].weight), nn.init.zeros_(net[0].bias)
    >>> reach = star(net, torch.tensor([[-1.0]]), torch.tensor([[2.0]]))
    >>> reach, [round(float(v), 6) for v in reach.box()]
    (Reach(Sequential: 2 stars, 1 outputs, exact), [0.0, 2.0])
    """
    network, box = prepared("star", model, lo, hi)
    if exact is None:
        try:
            for step in network.nonlinear:
                of_step(network, step)
            exact = bool((lo < hi).all())
        except InputError:
            exact = False
    if exact:
        tree = to_tree(model, lo, hi, most=most)
        return Reach(tuple(Star(f.matrix, f.bias, f.region) for f in tree.leaves), True, network.model)
    return Reach((_around(network, box, lines),), False, network.model)


def _around(network: Network, box: Box, lines: int) -> Star:
    """One star: values are affine in the variables, ``[1 + variables, *shape]``, the constant first."""
    shape = network.steps[0].shape
    n = box.lo.numel()
    start = torch.cat([torch.zeros(1, n), torch.eye(n)]).double().reshape(n + 1, *shape)
    values: dict[int, Tensor] = {0: start}
    region = Polytope.box(*box)
    with torch.no_grad():
        boxes = Bounds(network, Cuboid(*box)).boxes
        for step in network.steps[1:]:
            count = 1 + len(region.lo)
            inputs = [torch.cat([v, v.new_zeros(count - len(v), *v.shape[1:])])
                      for v in (values[i] for i in step.inputs)]  # fmt: skip
            if step.linear:
                made = step.operation.apply(inputs)
                made[0] = step.operation.evaluate([v[:1] for v in inputs])[0]
                values[step.index] = made
                continue
            if not isinstance(step.operation, Formula):
                where = step.where or "the model itself"
                raise InputError(f"star: {step.operation.name} in {where} mixes or multiplies elements; stars are "
                                 "followed through linear layers and functions of single elements")  # fmt: skip
            before, m = boxes[step.inputs[0]], inputs[0][0].numel()
            image = step.operation.interval([before])
            z = inputs[0].flatten(1)  # [count, m]
            rows, sides = [], []
            fresh = torch.eye(m, dtype=torch.float64)
            for share in torch.linspace(0.0, 1.0, max(lines, 2)).tolist():
                at = before.lo + share * (before.hi - before.lo)
                low, below, high, above = (t.flatten() for t in step.operation.lines(before, (at, at)))
                rows += [torch.cat([low.unsqueeze(1) * z[1:].mT, -fresh], 1)]
                sides += [-below - low * z[0]]
                rows += [torch.cat([-high.unsqueeze(1) * z[1:].mT, fresh], 1)]
                sides += [above + high * z[0]]
            old = torch.cat([region.normals, region.normals.new_zeros(len(region.offsets), m)], 1)
            region = Polytope(torch.cat([region.lo, image.lo.flatten()]), torch.cat([region.hi, image.hi.flatten()]),
                              torch.cat([old, *rows]), torch.cat([region.offsets, *sides]))  # fmt: skip
            new = torch.cat([torch.zeros(count, m, dtype=torch.float64), fresh])
            values[step.index] = new.reshape(-1, *step.shape)
    out = values[network.output].flatten(1)
    out = torch.cat([out, out.new_zeros(1 + len(region.lo) - len(out), out.shape[1])])
    return Star(out[1:].mT.contiguous(), out[0], region)
