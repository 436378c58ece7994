"""Several expectations of one activation at once: f, f' and f'' are evaluated once for all of them.

The length map, its slope, chi_1 and the kernel maps of tailoring are all integrals of products of two of f, f', f''
and a polynomial under the same normal distribution. One set of adaptive panels serves them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.integrals.integrand import CONVERGED, cuts, slope_of
from ogive.derive.integrals.panels import integrate, root_density, rule
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr
from ogive.kernels.program import compile_program

# z, the root of the normal density there, and f, f', f'' each times that root: the product of any two of the last
# four is an integrand, and neither factor overflows before the density has taken it down.
Integrands = Callable[..., Sequence[Tensor]]

REACH_QUICK = 14.0  # beyond it the normal density weighs less than 1e-43
_QUICK = torch.tensor([-14.0, -9.0, -6.0, -4.0, -2.5, -1.25, 0.0, 1.25, 2.5, 4.0, 6.0, 9.0, 14.0], dtype=torch.float64)

_Got = tuple[list[float], list[float]]


class Bundle:
    """Expectations of one activation of one input, its parameters fixed at ``values``.

    f' is what the backward pass multiplies with: of a surrogate the declared backward.
    """

    def __init__(self, act: Activation, values: Mapping[str, float]) -> None:
        self.act, self.values = act, dict(values)
        self.names = (act.inputs[0], *self.values)
        self.fixed = [torch.tensor(v, dtype=torch.float64) for v in self.values.values()]
        self.trees: list[Expr] = [act.expr]
        self._known: dict[tuple[object, ...], _Got] = {}

    def tree(self, order: int) -> Expr:
        """f, f', f'' as trees."""
        while len(self.trees) <= order:
            self.trees.append(slope_of(self.act, len(self.trees)))
        return self.trees[order]

    def at(self, x: Tensor, order: int = 0) -> Tensor:
        """f, or a derivative of it, at ``x`` (float64)."""
        return self._of(self.tree(order), x)

    def slopes(self, x: Tensor) -> Tensor:
        """The derivative of f at ``x``, also of a surrogate."""
        return self._of(differentiate(self.act.expr, self.names[0]), x)

    def _of(self, tree: Expr, x: Tensor) -> Tensor:
        program = compile_program(tree, self.names, tuple(self.values.values()))
        return program.run([x, *self.fixed], torch.float64).expand_as(x)

    def cuts(self, std: float = 1.0) -> list[float]:
        """Where the line is cut for f and f' under inputs of this spread."""
        return sorted({c for order in (0, 1) for c in cuts(self.tree(order), self.act, self.values, std)})

    @cached_property
    def jumps(self) -> list[float]:
        """Where f itself jumps."""
        return [b for b, step in self._steps(0) if step != 0.0]

    @cached_property
    def kinks(self) -> list[tuple[float, float]]:
        """Where the derivative of f jumps, and by how much."""
        return [(b, step) for b, step in self._steps(1) if step != 0.0]

    def _steps(self, order: int) -> list[tuple[float, float]]:
        at = torch.tensor(self.cuts(), dtype=torch.float64)
        # Extrapolated from both sides to the point itself: a smooth function leaves a remainder of order h^3, and one
        # that is steep and no more leaves less from nearer by.
        tree = self.act.expr if order == 0 else differentiate(self.act.expr, self.names[0])
        found = []
        for gap in (2.0**-13, 2.0**-36):
            h = gap * torch.clamp(at.abs(), min=1.0)
            sides = []
            for sign in (1.0, -1.0):
                y = [self._of(tree, at + sign * k * h) for k in (1.0, 2.0, 3.0)]
                sides.append(3.0 * y[0] - 3.0 * y[1] + y[2])
            size = 1.0 + torch.maximum(sides[0].abs(), sides[1].abs())
            found.append(torch.where((sides[0] - sides[1]).abs() > 1e-6 * size, sides[0] - sides[1], 0.0))
        far, near = found
        steps = torch.where((far - near).abs() <= 1e-2 * near.abs(), near, 0.0)
        return list(zip(at.tolist(), steps.tolist()))

    def expect(self, integrands: Integrands, orders: int, mean: float = 0.0, std: float = 1.0) -> _Got:
        """``E`` of each product in ``integrands(z, root, f, f', ...)`` up to the derivative ``orders``, with
        estimated absolute errors; inf where an integral does not converge. Kept for the next time."""
        key = (integrands, orders, mean, std)
        if key not in self._known:
            if len(self._known) > 4096:
                self._known.clear()
            self._known[key] = self.expect_once(integrands, orders, mean, std)
        return self._known[key]

    def expect_once(self, integrands: Integrands, orders: int, mean: float = 0.0, std: float = 1.0) -> _Got:
        """The same, not kept. Raises :class:`OgiveError` for a function without these moments."""
        return self._expect(integrands, orders, [mean], [std])[0]

    def prepare(self, integrands: Integrands, orders: int, stds: Iterable[float]) -> None:
        """Work out the expectations for many spreads in one go, where all of them exist."""
        left = [s for s in stds if (integrands, orders, 0.0, s) not in self._known]
        try:
            for std, got in zip(left, self._expect(integrands, orders, [0.0] * len(left), left)):
                self._known[integrands, orders, 0.0, std] = got
        except OgiveError:
            return

    def around(
        self, integrands: Integrands, orders: int, means: Sequence[float], stds: Sequence[float], quick: bool = False
    ) -> tuple[list[float], list[list[float]]]:
        """f(mean), and the expectations with f - f(mean) for f, for several means and spreads in one go: of a narrow
        distribution the variance of f would drown in E f^2 - (E f)^2. ``quick`` takes one rule of fixed panels, good
        to some 1e-12 for functions of ordinary steepness, at a tenth of the cost."""
        origin = self.at(torch.tensor(means, dtype=torch.float64))
        if not quick:
            got = self._expect(integrands, orders, list(means), list(stds), origin)
            return origin.tolist(), [values for values, _ in got]
        mean, std = (torch.tensor(v, dtype=torch.float64)[:, None] for v in (means, stds))
        places = torch.cat([_QUICK.expand(len(mean), -1), (self._own - mean) / std], 1)
        edges = places.clamp(-REACH_QUICK, REACH_QUICK).sort(1).values
        t, w = rule()
        width = edges.diff(dim=1)[:, :, None]
        z = (edges[:, :-1, None] + width * t).flatten(1)
        weight = (width * w).flatten(1)
        y = self._weighted(integrands, orders, mean + std * z, z, origin[:, None])
        return origin.tolist(), (y * weight).sum(2).T.tolist()

    @cached_property
    def _own(self) -> Tensor:
        return torch.tensor(self.cuts(), dtype=torch.float64)

    def _weighted(self, integrands: Integrands, orders: int, x: Tensor, z: Tensor, origin: Tensor | None) -> Tensor:
        root = root_density(z, 2)
        y = [self.at(x, k) for k in range(orders + 1)]
        if origin is not None:
            y[0] = y[0] - origin
        return torch.stack(list(integrands(z, root, *(v * root for v in y))))

    def _expect(
        self, integrands: Integrands, orders: int, means: list[float], stds: list[float], origin: Tensor | None = None
    ) -> list[_Got]:
        if not stds:
            return []

        def weighted(x: Tensor, z: Tensor, owner: Tensor) -> Tensor:
            return self._weighted(integrands, orders, x, z, None if origin is None else origin[owner][:, None])

        spread = torch.tensor(stds, dtype=torch.float64)
        octave = [max(0, round(s).bit_length()) for s in stds]
        kinds = sorted(set(octave))
        group = torch.tensor([kinds.index(o) for o in octave])
        places = [self.cuts(max(s for s, o in zip(stds, octave) if o == kind)) for kind in kinds]
        try:
            got = integrate(weighted, places, torch.tensor(means, dtype=torch.float64), spread, group=group)
        except OgiveError as error:
            raise OgiveError(f"{self.act.label}: {error}") from None
        lost = ~(got.error <= CONVERGED * got.mass.clamp_min(1e-300)) & (got.mass > 0.0)
        value, bound = (torch.where(lost, math.inf, t).T.tolist() for t in (got.value, got.error))
        return list(zip(value, bound))
