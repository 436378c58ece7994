"""Exponents of the width: how four-point functions and the motion of the tangent kernel fall in wider networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.moments import moment
from ogive.derive.wide.feature_readout import slope
from ogive.derive.wide.finite_networks import Estimate
from ogive.errors import ParameterError
from ogive.lookup import scalar

_BATCHES = 10


@dataclass(frozen=True)
class WidthScaling:
    """How correlation functions of random networks fall with the width, and the exponents (slopes in log-log).

    ``cumulant`` is the connected four-point function of two outputs over the square of their variance,
    ``tangent_variance`` the variance of the tangent kernel over its squared mean, ``tangent_change`` the root mean
    square of its relative change in one step of gradient descent. A smooth f makes all three fall as 1/width.
    Where f'^2 jumps (relu, not |x|), step sqrt(width) units cross the kink, each with 1/width of the kernel, and more
    from the steep side, whose units move more: the change falls as width^-3/4 while less than one unit crosses, and as
    width^-1/2 in the end.
    """

    activation: str
    depth: int
    widths: tuple[int, ...]
    cumulant: tuple[float, ...]
    tangent_variance: tuple[float, ...]
    tangent_change: tuple[float, ...]
    exponents: tuple[Estimate, Estimate, Estimate]

    def __repr__(self) -> str:
        said = ", ".join(f"{n} {e.value:.3f} +- {e.error:.3f}" for n, e in zip(
            ("cumulant", "tangent variance", "tangent change"), self.exponents))  # fmt: skip
        return (
            f"WidthScaling({self.activation}, depth {self.depth}, width {self.widths[0]} to {self.widths[-1]}: {said})"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def width_scaling(
    spec: Any,
    widths: Sequence[int],
    *,
    depth: int = 2,
    step: float = 0.1,
    networks: int = 2000,
    generator: torch.Generator | None = None,
    **params: float,
) -> WidthScaling:
    """Exponents of the width in random networks of ``depth`` layers of weights, by simulation.

    Args:
        spec: an activation of one input.
        widths: units of every hidden layer, ascending, two or more.
        depth: layers of weights, from 2; weights have variance 1/(fan_in E f^2), the input gives pre-activations of
            variance 1.
        step: how much of the way to its target, N(0, 1), the output would go if the kernel stayed; above 0.
        networks: for each width, at least 20; standard errors are those over ten parts of them.
        generator: of the networks.

    Functions that grow fast need many: the fourth moments of x^3 are carried by rare units.
    Source: Dyer and Gur-Ari 2020 (the exponents), Aitken and Gur-Ari 2020 (polynomial activations).

    >>> got = width_scaling("tanh", [16, 64, 256], networks=500, generator=torch.Generator().manual_seed(0))
    >>> all(abs(e.value + 1) < 0.2 for e in got.exponents)
    True
    """
    act, values = scalar(spec, "width scaling", params)
    what = f"width scaling of {act.label}"
    if len(widths) < 2 or any(isinstance(w, bool) or not isinstance(w, int) or w < 2 for w in widths):
        raise ParameterError(f"{what}: widths={widths!r}; it takes two or more integers from 2")
    if list(widths) != sorted(set(widths)):
        raise ParameterError(f"{what}: widths={widths!r}; they ascend")
    for name, value, least in (("depth", depth, 2), ("networks", networks, 2 * _BATCHES)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ParameterError(f"{what}: {name}={value!r}; it takes an integer from {least}")
    if not 0.0 < step < math.inf:
        raise ParameterError(f"{what}: step={step!r}; it takes a finite number above 0")
    bound = act.with_params(**values) if values else act
    scale = 1.0 / math.sqrt(moment(bound, 2).value)
    each = networks // _BATCHES
    drawn = [[_trained(bound, depth, n, scale, step, each, generator) for n in widths] for _ in range(_BATCHES)]
    table = torch.tensor(drawn, dtype=torch.float64)
    slopes = [[slope(widths, table[b, :, i].tolist()) for b in range(_BATCHES)] for i in range(3)]
    exponents = []
    for row in slopes:
        s = torch.tensor(row)
        exponents.append(Estimate(float(s.mean()), float(s.std()) / math.sqrt(_BATCHES)))
    mean = table.mean(0).T.tolist()
    columns = (tuple(mean[0]), tuple(mean[1]), tuple(mean[2]))
    return WidthScaling(act.label, depth, tuple(widths), *columns, (exponents[0], exponents[1], exponents[2]))


def _trained(
    act: Activation, depth: int, n: int, scale: float, rate: float, count: int, g: torch.Generator | None
) -> tuple[float, float, float]:
    # The cumulant E[z1^2 z2^2] - E[z1^2]^2 of two outputs is the variance of what their weights see: they are normal
    # and independent given the hidden layers. Of the input one direction counts.
    shapes = [(count, n), *[(count, n, n)] * (depth - 2), (count, n)]
    weights = [torch.randn(*s, generator=g, dtype=torch.float64) for s in shapes]
    targets = torch.randn(count, generator=g, dtype=torch.float64)

    def run(p: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        p = [v.detach().requires_grad_() for v in p]
        with torch.enable_grad():
            h = act(p[0])
            for w in p[1:-1]:
                h = act((w @ h[:, :, None])[:, :, 0] * (scale / math.sqrt(n)))
            out = (p[-1] * h).sum(1) * (scale / math.sqrt(n))
            slopes = torch.autograd.grad(out.sum(), p)
        tangent = sum((s.flatten(1) ** 2).sum(1) for s in slopes)
        assert isinstance(tangent, Tensor)
        return out.detach(), tangent, scale**2 * (h.detach() ** 2).mean(1), list(slopes)

    out, before, seen, slopes = run(weights)
    step = rate * (targets - out) / before
    after = run([w + s * step.reshape(-1, *[1] * (s.dim() - 1)) for w, s in zip(weights, slopes)])[1]
    change = (after / before - 1.0).square().mean().sqrt()
    return float(seen.var() / seen.mean() ** 2), float(before.var() / before.mean() ** 2), float(change)
