"""Moments of an activation and its derivatives under normal distributions, many at once and differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.gauss import Moment
from ogive.derive.integrals.bundle import Bundle
from ogive.derive.integrals.integrand import CONVERGED, cuts, motion, slope_of
from ogive.derive.integrals.panels import NOTHING, TOLERANCE, Sums, integrate
from ogive.derive.integrals.terms import (
    Product,
    Term,
    by_mean,
    by_parameter,
    by_parts,
    by_std,
    integrand,
    term,
    trees_of,
)
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import get

_MOST = 512  # distributions per set of panels: memory
_SETTLED = 1e-12  # a relative error estimate above this sends f^a f' to f^(a+1)


def moment(spec: Any, f: int = 1, df: int = 0, *, mean: float = 0.0, std: float = 1.0, **params: float) -> Moment:
    """``E[f(X)^f f'(X)^df]`` for X ~ N(mean, std^2), and an estimate of its absolute error.

    ``spec`` is a name, a formula, an Activation or an ``ogive.Act``; ``f`` and ``df`` are powers from 0, not both
    0; ``params`` are numbers that replace defaults. f' is the derivative where there is one (a jump of f adds
    nothing) and the declared backward of a surrogate. The error is aimed at 1e-14 of the moment of the magnitude.
    Raises :class:`~ogive.errors.InputError` for a gate of two inputs and :class:`~ogive.errors.OgiveError` where
    the moment is infinite.

    >>> round(moment("relu", 2).value, 14), round(moment("tanh", 1, 1, mean=0.5).value, 12)
    (0.5, 0.084044333401)
    """
    value, error = moments(spec, [(f, df)], mean, std, **params)
    if value.dim() != 1:
        raise InputError(f"a moment of {get(spec).label}: it takes numbers; moments() takes tensors")
    return Moment(float(value[0]), float(error[0]))


def moments(
    spec: Any,
    powers: Sequence[Sequence[int]],
    mean: float | Tensor = 0.0,
    std: float | Tensor = 1.0,
    **params: float | Tensor,
) -> tuple[Tensor, Tensor]:
    """``E[f(X)^a f'(X)^b f''(X)^c]`` for every (a, b, c) in ``powers`` and X ~ N(mean, std^2), and error estimates.

    ``powers`` are tuples of one to three integers; ``mean``, ``std`` and the parameters are numbers or tensors that
    broadcast together to a shape S. Both results are float64 of shape (len(powers), *S). All moments share their
    panels: f, f' and f'' are evaluated once. The values can be differentiated once by every tensor given, also
    where a jump of the integrand moves with a parameter. Raises as :func:`moment` does.

    >>> value, error = moments("relu", [(1,), (2,), (0, 2)], std=torch.tensor([1.0, 2.0]))
    >>> value.shape, value[1].round(decimals=14).tolist(), bool((error < 1e-13).all())
    (torch.Size([3, 2]), [0.5, 2.0], True)
    """
    act = get(spec)
    terms = [term(act, tuple(p)) for p in powers]
    return _solve(act, terms, mean, std, params)


def hermite(
    spec: Any, order: int, mean: float | Tensor = 0.0, std: float | Tensor = 1.0, **params: float | Tensor
) -> tuple[Tensor, Tensor]:
    """``E[f(mean + std Z) He_k(Z)] / sqrt(k!)`` for k = 0 ... ``order`` and Z ~ N(0, 1), and error estimates.

    The coefficients of f in the orthonormal polynomials of the normal distribution: their squares sum to E f^2, and
    the dual activation is sum a_k^2 c^k. Arguments, shapes and errors as :func:`moments`.

    >>> a, _ = hermite("relu", 4)
    >>> (a[:3] ** 2 * torch.pi).round(decimals=12).tolist()  # 1/(2 pi), 1/4, 1/(4 pi)
    [0.5, 0.785398163397, 0.25]
    """
    act = get(spec)
    if not isinstance(order, int) or isinstance(order, bool) or not 0 <= order <= 400:
        raise OgiveError(f"hermite of {act.label}: order={order!r}; it takes an integer from 0 to 400")
    one: tuple[Product, ...] = ((1.0, ((slope_of(act, 0), 1),)),)
    return _solve(act, [Term(one, 1, (k,)) for k in range(order + 1)], mean, std, params)


def _solve(
    act: Activation, terms: list[Term], mean: float | Tensor, std: float | Tensor, given: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    if len(act.inputs) != 1:
        raise InputError(f"moments of {act.label}: it takes {len(act.inputs)} inputs ({', '.join(act.inputs)}); "
                         "ask about an activation of one input")  # fmt: skip
    values = act.settle(given)
    names = ["mean", "std", *values]
    wide = [torch.as_tensor(v, dtype=torch.float64).cpu() for v in (mean, std, *values.values())]
    try:
        shape = torch.broadcast_shapes(*(t.shape for t in wide))
    except RuntimeError:
        shapes = ", ".join(f"{n} {tuple(t.shape)}" for n, t in zip(names, wide))
        raise ParameterError(f"moments of {act.label}: these do not broadcast together: {shapes}") from None
    wanted = [i for i, t in enumerate(wide) if t.requires_grad and torch.is_grad_enabled()]
    extended = list(terms)
    for i in wanted:
        change = (by_mean, by_std)[i] if i < 2 else lambda t, n=names[i]: by_parameter(t, n)
        extended += [change(t) for t in terms]
    if not bool(torch.isfinite(wide[0]).all()):
        raise ParameterError(f"moments of {act.label}: the mean is not finite everywhere")
    if not bool((torch.isfinite(wide[1]) & (wide[1] > 0.0)).all()):
        raise ParameterError(f"moments of {act.label}: std takes finite numbers above 0")
    if 0 in shape:
        return (torch.zeros(len(terms), *shape, dtype=torch.float64),) * 2
    flat = [t.detach().expand(shape).reshape(-1) for t in wide]
    own = [t.dim() > 0 for t in wide]
    parts = [
        _integrate(act, extended, [v[i : i + _MOST] for v in flat], own, names) for i in range(0, len(flat[0]), _MOST)
    ]
    value, error, mass = (torch.cat(p, 1) for p in zip(*parts))
    if bool((~(error <= CONVERGED * mass.clamp_min(NOTHING))[: len(terms)]).any()):
        raise OgiveError(f"moments of {act.label}: the expectation is infinite or undefined: the quadrature does not "
                         "converge at a pole")  # fmt: skip
    result, bound = (t[: len(terms)].reshape(len(terms), *shape) for t in (value, error))
    if wanted:
        rates = list(value[len(terms) :].reshape(len(wanted), len(terms), -1))
        for j, i in enumerate(wanted):
            rates[j] = rates[j] / flat[1] if i < 2 else rates[j] + _moved(act, terms, flat, names, i)
        result = _Linear.apply(result, [r.reshape(len(terms), *shape) for r in rates], *(wide[i] for i in wanted))
    return result, bound


def _integrate(
    act: Activation, terms: Sequence[Term], flat: Sequence[Tensor], own: Sequence[bool], names: Sequence[str]
) -> Sums:
    mean, std, *fixed = flat
    level = std.log2().ceil().clamp_min(0.0)
    keys = torch.stack([level, *(v for v, o in zip(fixed, own[2:]) if o)], 1)
    kinds, group = keys.unique(dim=0, return_inverse=True)
    first = [int((group == g).nonzero()[0]) for g in range(len(kinds))]
    trees = trees_of(terms)
    places = []
    for i in first:
        values = {n: float(v[i]) for n, v in zip(names[2:], fixed)}
        places.append([c for tree in trees for c in cuts(tree, act, values, float(std[i]))])
    settings = [v if o else v[0] for v, o in zip(fixed, own[2:])]
    try:
        got = integrate(integrand(act, terms, settings), places, mean, std, TOLERANCE, group=group)
        # Next to a vertical tangent float64 has no x near enough to find f'; f itself is all it takes.
        unsettled = ~(got.error <= _SETTLED * got.mass.clamp_min(NOTHING)).all(1) & torch.isfinite(got.mass).all(1)
        parts = {i: by_parts(act, terms[i]) for i in unsettled.nonzero().flatten().tolist()}
        rows = [i for i, t in parts.items() if t is not None]
        other = [t for t in parts.values() if t is not None]
        if not rows or any(Bundle(act, {n: float(v[i]) for n, v in zip(names[2:], fixed)}).jumps for i in first):
            return got
        again = integrate(integrand(act, other, settings), places, mean, std, TOLERANCE, group=group)
    except OgiveError as error:
        raise OgiveError(f"moments of {act.label}: {error}") from None
    better = again.error / std < got.error[rows]
    got.value[rows] = torch.where(better, again.value / std, got.value[rows])
    got.error[rows] = torch.where(better, again.error / std, got.error[rows])
    return got


def _moved(act: Activation, terms: Sequence[Term], flat: Sequence[Tensor], names: Sequence[str], which: int) -> Tensor:
    """What moving jumps add to d/dparameter: the sum over break points b of (g(b-) - g(b+)) phi(b) db/dparameter."""
    mean, std, *fixed = flat
    trees = trees_of(terms)
    total = torch.zeros(len(terms), len(mean), dtype=torch.float64)
    for i in range(len(mean)):
        values = {n: float(v[i]) for n, v in zip(names[2:], fixed)}
        at, speed = motion(trees, act, values, names[which])
        if not len(at):
            continue
        step = torch.tensor([2.0**-36, 2.0**-48], dtype=torch.float64)[:, None] * at.abs().clamp_min(1.0)
        x = torch.stack([at - step, at + step])
        run = integrand(act, terms, [v[i] for v in fixed])
        y = run(x, (x - mean[i]) / std[i], torch.zeros(1, dtype=torch.int64)) / std[i]
        # A jump is the same from near and from very near; a kink's difference shrinks, a pole's grows.
        near, nearer = (y[:, 0] - y[:, 1]).unbind(1)
        jump = torch.where((nearer - near).abs() <= 1e-5 * nearer.abs(), nearer, 0.0)
        total[:, i] = (jump * speed).sum(1)
    return total


class _Linear(torch.autograd.Function):
    """``value`` with the given partial derivatives by ``inputs``."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rates: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*rates, *inputs)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        saved = ctx.saved_tensors
        half = len(saved) // 2
        back = [(grad * r).sum(0).sum_to_size(v.shape) for r, v in zip(saved[:half], saved[half:])]
        return (None, None, *back)
