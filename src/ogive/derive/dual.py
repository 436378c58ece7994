"""The dual activation: E f(u) f(v) of two correlated normal variables, exact up to the last correlation."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.gauss import Moment
from ogive.derive.integrals.pairs import resolved, solve
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import scalar

_ITEMS = 64  # pairs at a time: memory


@overload
def dual(
    spec: Any, correlation: float, *, slope: int = 0, std: Any = (1.0, 1.0), mean: Any = 0.0, **params: float
) -> Moment: ...
@overload
def dual(
    spec: Any, correlation: Tensor, *, slope: int = 0, std: Any = (1.0, 1.0), mean: Any = 0.0, **params: float
) -> tuple[Tensor, Tensor]: ...
def dual(
    spec: Any,
    correlation: float | Tensor,
    *,
    slope: int = 0,
    std: Any = (1.0, 1.0),
    mean: Any = 0.0,
    **params: float,
) -> Moment | tuple[Tensor, Tensor]:
    """``E[g(u) g(v)]``, g the ``slope``-th derivative of f, for normal u and v; and an estimate of the absolute error.

    ``correlation`` is a number or a tensor in [-1, 1]; ``std`` and ``mean`` are a number for both variables or a pair;
    ``slope`` is 0, 1 or 2. The result is a pair of floats for a number and of float64 tensors for a tensor, with which
    the tensors in ``std`` and ``mean`` broadcast. Of a derivative only the function is meant: jumps of the function one
    order below add nothing. The error is aimed at 1e-12 of ``sqrt(E g(u)^2 E g(v)^2)``. Raises
    :class:`~ogive.errors.InputError` for a gate of two inputs and :class:`~ogive.errors.OgiveError` where E g^2 is
    infinite. Source of the term: Daniely, Frostig and Singer 2016.

    >>> round(dual("relu", 0.5).value, 12)  # (sqrt(3)/2 + pi/3) / (2 pi)
    0.304498890522
    >>> dual("sign", torch.tensor([-1.0, 0.5, 1.0]))[0].round(decimals=12).tolist()
    [-1.0, 0.333333333333, 1.0]
    """
    act, values = scalar(spec, "the dual activation", params)
    if slope not in (0, 1, 2) or isinstance(slope, bool):
        raise OgiveError(f"the dual activation of {act.label}: slope={slope!r}; it takes 0, 1 or 2")
    means, stds = _pair(act, "mean", mean), _pair(act, "std", std)
    c = torch.as_tensor(correlation, dtype=torch.float64).cpu()
    try:
        items = torch.broadcast_tensors(c, *means, *stds)
    except RuntimeError:
        shapes = ", ".join(str(tuple(t.shape)) for t in (c, *means, *stds))
        raise ParameterError(f"the dual activation of {act.label}: shapes {shapes} do not broadcast together") from None
    if not bool((c.abs() <= 1.0).all()):
        raise OgiveError(f"the dual activation of {act.label}: correlation={correlation!r}; it lies in [-1, 1]")
    good = [bool((torch.isfinite(t) & (t > 0.0)).all()) for t in stds] + [bool(torch.isfinite(t).all()) for t in means]
    if not all(good):
        raise OgiveError(f"the dual activation of {act.label}: std takes finite numbers above 0, mean finite numbers")
    if torch.is_grad_enabled() and any(t.requires_grad for t in items):
        raise OgiveError(
            f"the dual activation of {act.label} records no gradient; detach the tensors. By the correlation its "
            "derivative is std_u std_v times the dual of the next slope, where the function has no jumps"
        )
    rows = torch.stack([t.detach().reshape(-1) for t in items])
    if rows.shape[1] == 0:
        return rows[0].reshape(items[0].shape), rows[0].reshape(items[0].shape)
    try:
        integrand = resolved(act, slope, tuple(values.items()))
        parts = [solve(integrand, part) for part in rows.split(_ITEMS, 1)]
    except OgiveError as reason:
        raise OgiveError(f"the dual activation of {act.label}: {reason}") from None
    value, error = (torch.cat(p).reshape(items[0].shape) for p in zip(*parts))
    if value.dim() == 0 and not isinstance(correlation, Tensor):
        return Moment(float(value), float(error))
    return value, error


def _pair(act: Activation, name: str, given: Any) -> tuple[Tensor, Tensor]:
    both = given if isinstance(given, (tuple, list)) else (given, given)
    if len(both) != 2:
        raise InputError(f"the dual activation of {act.label}: {name}={given!r}; it takes a number or a pair")
    first, second = (torch.as_tensor(v, dtype=torch.float64).cpu() for v in both)
    return first, second
