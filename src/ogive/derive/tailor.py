"""Tailoring: ``gamma (f(alpha x + beta) + delta)`` with the kernel map a deep network needs.

For unit inputs Q(q) = E phi(sqrt(q) z)^2 and C(c) = E[phi(u) phi(v)] at correlation c. Deep kernel shaping (DKS) asks
of phi Q(1) = 1, Q'(1) = 1, C(0) = 0 and C'(1) = zeta_1, with zeta_1 small enough that no part of the network is
steeper than zeta; TAT asks Q(1) = Q'(1) = C'(1) = 1 and C''(1) = tau_1, or for two-slope functions a C that takes 0 to
at most eta.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from ogive.activation import Activation, Param
from ogive.derive.integrals.bundle import Bundle
from ogive.derive.solving.roots import Point, newton, solve_increasing
from ogive.derive.wide.kernel_shape import NAMES, STARTS, Solution, dks, dks_conditions, kernel_moments, solve, tat
from ogive.derive.wide.subnets import Graph, largest
from ogive.derive.wide.two_slopes import lever, two_slope_map, two_slopes
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.expr import const, var
from ogive.lookup import scalar

METHODS = ("dks", "tat")
_SOLVED = 1e-11


@dataclass(frozen=True)
class Tailored:
    """``activation`` is gamma (f(alpha x + beta) + delta), these four its parameters.

    ``target`` is what one layer was asked for: C'(1) under DKS, C''(1) under TAT, C(0) of a two-slope function.
    ``residual`` is the largest distance from what was asked for, by a quadrature at the solution.
    """

    activation: Activation
    method: str
    alpha: float
    beta: float
    gamma: float
    delta: float
    target: float
    residual: float

    def __repr__(self) -> str:
        return (f"Tailored({self.method}, alpha {self.alpha:.12g}, beta {self.beta:.12g}, gamma {self.gamma:.12g}, "
                f"delta {self.delta:.12g}, residual {self.residual:.0e})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, the activation as its formula, ready for JSON."""
        return {f.name: str(v) if isinstance(v := getattr(self, f.name), Activation) else v for f in fields(self)}


def tailor(spec: Any, method: str = "dks", **options: Any) -> Activation:
    """``gamma (f(alpha x + beta) + delta)`` for a deep network without normalisation; see :func:`tailoring`.

    >>> mine = tailor("tanh", depth=50, zeta=1.5)
    >>> sorted(mine.defaults)
    ['alpha', 'beta', 'delta', 'gamma']
    """
    return tailoring(spec, method, **options).activation


def tailoring(
    spec: Any,
    method: str = "dks",
    *,
    depth: int | None = None,
    graph: Graph | None = None,
    zeta: float = 1.5,
    tau: float = 0.3,
    eta: float = 0.9,
    slope: float | None = 1.0,
    **params: float,
) -> Tailored:
    """alpha, beta, gamma, delta by DKS or TAT, for ``depth`` nonlinear layers in a row or a ``graph`` of them.

    Args:
        spec: an activation of one input.
        method: "dks": Q(1) = 1, Q'(1) = slope, C(0) = 0, C'(1) = zeta_1 where the steepest subnetwork has slope
            zeta. "tat": Q(1) = Q'(1) = C'(1) = 1, C''(1) = tau_1 where the most curved subnetwork has tau; for a
            function of two slopes with a parameter that sets them (leaky_relu) C of the network takes 0 to eta.
        depth: layers, from 1. One of ``depth`` and ``graph`` is given.
        graph: a number of layers, a :class:`~ogive.derive.wide.subnets.Residual`, or a sequence of these; or a
            :class:`~ogive.derive.wide.network.Network`, which ``ogive.surgery.network.network_of`` makes of a model.
        zeta, tau, eta: above 1; above 0; in (0, 1).
        slope: Q'(1) under DKS; None leaves it free and keeps beta at 1 or -1, the only way for relu.
        params: numbers that replace defaults of the activation's parameters.

    Raises:
        ParameterError: for a target out of range, or out of reach of the network.
        OgiveError: where the activation cannot meet the conditions, saying which stands in the way.

    Source: Martens et al. 2021 (DKS), Zhang, Botev and Martens 2022 (TAT).

    >>> tailoring("softplus", depth=20).residual < 1e-11
    True
    """
    act, values = scalar(spec, "the tailored form", params)
    label = act.label
    if method not in METHODS:
        raise ParameterError(f"tailoring of {label}: method={method!r}; it takes {' or '.join(map(repr, METHODS))}")
    if act.backward is not None:
        raise InputError(f"tailoring of {label}: it has a declared surrogate derivative, so C'(1) is not that of f")
    if (depth is None) == (graph is None):
        raise ParameterError(f"tailoring of {label}: give depth=..., or graph=..., and not both")
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 1):
        raise ParameterError(f"tailoring of {label}: depth={depth!r}; it takes an integer from 1")
    net: Graph = depth if graph is None else graph  # type: ignore[assignment]
    for name, value, low, high in (("zeta", zeta, 1.0, math.inf), ("tau", tau, 0.0, math.inf), ("eta", eta, 0.0, 1.0)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < high:
            interval = f"above {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ParameterError(f"tailoring of {label}: {name}={value!r}; it takes a number {interval}")
    bundle = Bundle(act, values)
    if bundle.jumps:
        raise OgiveError(
            f"tailoring of {label}: it jumps at {bundle.jumps[0]:.6g}, so C'(1) is infinite for every alpha and beta"
        )
    ratio = two_slopes(bundle)
    if method == "dks":
        target = solve_increasing(
            lambda s: largest(net, 1.0, lambda y: s * y),
            zeta,
            1.0,
            zeta if depth else 1e6,
            f"tailoring of {label}: zeta",
        )
        if ratio is not None and slope is not None:
            return _two_slopes_dks(act, values, target, slope)
        return _finish(act, values, bundle, "dks", target, dks(bundle, target, slope), slope)
    if ratio is not None:
        return _two_slopes_tat(act, values, net, eta)
    if bundle.kinks:
        raise OgiveError(
            f"tailoring of {label}: f' jumps at {bundle.kinks[0][0]:.6g}, so C''(1) is infinite; use method='dks'"
        )
    target = solve_increasing(
        lambda s: largest(net, 0.0, lambda y: y + s), tau, 0.0, tau if depth else 1e6, f"{label}: tau"
    )
    return _finish(act, values, bundle, "tat", target, tat(bundle, target), 1.0)


def _finish(
    act: Activation,
    values: dict[str, float],
    bundle: Bundle,
    method: str,
    target: float,
    solution: Solution,
    slope: float | None,
) -> Tailored:
    (alpha, beta), conditions, shift_of = solution
    for last in (False, True):
        m = kernel_moments(bundle, [(alpha, beta)], curved=method == "tat")[0]
        shift = shift_of(m, alpha)
        gamma = 1.0 / math.sqrt(m.variance + (m.mean + shift) ** 2)
        off = [] if slope is None else [gamma**2 * alpha * (m.rise + shift * m.lift) - slope]
        steep = (gamma * alpha) ** 2 * m.slope
        off += [steep - target] if method == "dks" else [steep - 1.0, (gamma * alpha * alpha) ** 2 * m.curve - target]
        residual = max(map(abs, off))
        if residual < _SOLVED or last or slope is None:
            break
        alpha, beta = newton(conditions, [(alpha, beta), *STARTS], False, NAMES, f"tailoring of {act.label}")
    delta = shift - m.origin
    centre = _odd_about(bundle)
    if beta < 0.0 and centre is not None:  # the mirrored solution is the same function, mirrored
        beta, delta = -beta, -delta - 2.0 * centre
    made = written(act, values, alpha=alpha, beta=beta, gamma=gamma, delta=delta)
    return Tailored(made, method, alpha, beta, gamma, delta, target, residual)


def written(act: Activation, values: dict[str, float], **four: float) -> Activation:
    """gamma (f(alpha x + beta) + delta), the four as parameters and those of f as numbers."""
    (name,) = act.inputs
    inner = var("alpha") * var(name) + var("beta")
    f = act.written.substitute({name: inner, **{k: const(v) for k, v in values.items()}})
    return Activation(var("gamma") * (f + var("delta")), (name,), {k: Param(v, decay=False) for k, v in four.items()})


def _odd_about(bundle: Bundle) -> float | None:
    """f(0), where f - f(0) is odd."""
    x = torch.tensor([0.0, 1e-3, 0.37, 1.1, 2.3, 7.7], dtype=torch.float64)
    right, left = bundle.at(x), bundle.at(-x)
    zero = right[0]
    return float(zero) if bool(((right + left - 2.0 * zero).abs() <= 1e-15 * (1.0 + right.abs())).all()) else None


def _two_slopes_tat(act: Activation, values: dict[str, float], net: Graph, eta: float) -> Tailored:
    key, start, rate = lever(act, values)
    # The steeper the bend, the larger C(0) of the whole: increasing in 1 - a.
    bend = solve_increasing(
        lambda t: largest(net, 0.0, lambda c: two_slope_map(c, 1.0 - t)),
        eta,
        0.0,
        1.0,
        f"tailoring of {act.label}: eta",
    )
    a = 1.0 - bend
    values = {**values, key: (a - start) / rate}
    bundle = Bundle(act, values)
    gamma = 1.0 / math.sqrt(kernel_moments(bundle, [(1.0, 0.0)])[0].square)
    (name,) = act.inputs
    f = act.written.substitute({k: const(v) for k, v in values.items() if k != key})
    params = {
        key: Param(values[key], low=act.params[key].low, high=act.params[key].high),
        "gamma": Param(gamma, decay=False),
    }
    made = Activation(var("gamma") * f, (name,), params)
    off = abs(largest(net, 0.0, lambda c: two_slope_map(c, a)) - eta)
    return Tailored(made, "tat", 1.0, 0.0, gamma, 0.0, two_slope_map(0.0, a), off)


def _two_slopes_dks(act: Activation, values: dict[str, float], target: float, slope: float) -> Tailored:
    """A scale-invariant f has alpha beside gamma to no purpose; its own parameter takes alpha's place."""
    key, start, rate = lever(act, values)

    def at(a: float) -> dict[str, float]:
        return {**values, key: (a - start) / rate}

    # Of (1 - ratio of the slopes, beta), which solve takes for (alpha, beta).
    def off(points: Sequence[Point], quick: bool) -> list[Point]:
        return [
            dks_conditions(Bundle(act, at(1.0 - bend)), target, slope)([(1.0, beta)], quick)[0] for bend, beta in points
        ]

    bend, beta = solve(Bundle(act, values), off)
    chosen = at(1.0 - bend)
    bundle = Bundle(act, chosen)
    solved: Solution = (1.0, beta), dks_conditions(bundle, target, slope), lambda m, _: -m.mean
    return _finish(act, chosen, bundle, "dks", target, solved, slope)
