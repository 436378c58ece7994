"""The kernels of infinitely wide networks on real data: the Gaussian process of the random network and its tangent.

With weights of variance sigma_w^2/fan_in and biases of variance sigma_b^2 the units of every layer become independent
normal processes. Of two inputs x, y the first pre-activation has covariance K = sigma_b^2 + sigma_w^2 x.y/d, and a
layer makes of it

    K' = sigma_b^2 + sigma_w^2 E f(u) f(v),      T' = K' + sigma_w^2 T E f'(u) f'(v),      (u, v) ~ N(0, K).

K of the last layer is the kernel of the random network (NNGP), T that of gradient descent on it (NTK, where every
weight is sigma_w/sqrt(fan_in) times a parameter and every bias sigma_b times one). A residual layer adds skip^2 times
what came in and multiplies its own part by branch^2; a normalisation before the nonlinearity divides K and T by the
lengths of both inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ogive.derive.wide.kernel_layers import Network, State
from ogive.derive.wide.maps import Maps
from ogive.errors import InputError, OgiveError, ParameterError

NORMALISATIONS = ("none", "input", "layer")
_FEW = 400  # pairs that are worked out one by one


@dataclass(frozen=True)
class KernelLimit:
    """Kernels of a network of infinite width between the rows of x and those of y.

    ``nngp`` and ``ntk`` are (n, m), ``x_variance`` (n,) and ``y_variance`` (m,) the NNGP of every input with itself.
    ``error_nngp`` and ``error_ntk`` estimate the largest error of any element relative to the root of the product of
    the two diagonal ones. ``path`` is "exact" where every element is its own quadrature, and "interpolated" where they
    are read off a table; the errors are then those measured on ``checked`` pairs of the data, among them the nearest,
    the most opposite and the longest beside the shortest. ``pairs`` counts quadratures.
    """

    activation: str
    depth: int
    nngp: Tensor
    ntk: Tensor | None
    x_variance: Tensor
    y_variance: Tensor
    error_nngp: float
    error_ntk: float | None
    path: str
    checked: int
    pairs: int

    def __repr__(self) -> str:
        n, m = self.nngp.shape
        tangent = "" if self.error_ntk is None else f", ntk to {self.error_ntk:.0e}"
        how = "exact" if self.path == "exact" else f"interpolated, {self.checked} pairs checked"
        what = f"{self.activation}, depth {self.depth}, {n} x {m}"
        return f"KernelLimit({what}: nngp to {self.error_nngp:.0e}{tangent}; {how})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, matrices as lists, ready for JSON."""
        return {k: v.tolist() if isinstance(v, Tensor) else v for k, v in self.__dict__.items()}


def kernel_limit(
    spec: Any,
    x: Tensor,
    y: Tensor | None = None,
    *,
    depth: int = 1,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    skip: float = 0.0,
    branch: float = 1.0,
    normalise: str = "none",
    tangent: bool = True,
    exact: bool | None = None,
    **params: float,
) -> KernelLimit:
    """NNGP and NTK of a network of infinite width with ``depth`` nonlinear layers, between the rows of ``x`` and ``y``.

    Args:
        spec: a name, a formula, an Activation or an ``ogive.Act`` of one input. A declared surrogate counts as f'.
        x, y: inputs, (n, d) and (m, d); y is x when left out.
        depth: nonlinear layers, from 1; a linear layer comes before the first and after each.
        sigma_w, sigma_b: weights have variance sigma_w^2/fan_in, biases sigma_b^2.
        skip, branch: every layer but the last (the read-out) is ``h -> skip h + branch (W f(h) + b)``.
        normalise: "none"; "input" (every row of x is scaled to length sqrt(d)); "layer" (the units of a layer are
            scaled to variance 1 before the nonlinearity, as LayerNorm and RMSNorm without factors do).
        tangent: False leaves the NTK out.
        exact: True works out each pair by itself (5 ms or so per pair, layer and kernel), False reads all off one
            table per layer; by default up to 400 pairs are worked out. A table is as exact where all inputs have one
            length ("input", "layer") or f has no break point away from 0.

    Raises:
        ParameterError, InputError: for numbers out of range and for inputs that are no such matrices.
        OgiveError: where a moment is infinite or lengths leave the range of float64.

    Correlations are computed from K: of distinct inputs nearer than 1e-6 of their length the NTK of a function with
    kinks is good to 1e-8 only. Source: Lee et al. 2018, Jacot et al. 2018, Yang and Schoenholz 2017.

    >>> x = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    >>> k = kernel_limit("relu", x, sigma_w=2**0.5, normalise="input")
    >>> [round(v, 12) for v in k.nngp.flatten().tolist()]  # 2 (sin t + (pi - t) cos t)/pi, cos t = 0.6
    [2.0, 1.355095135533, 1.355095135533, 2.0]
    """
    maps = Maps(spec, sigma_w, sigma_b, skip=skip, branch=branch, **params)
    what = f"the kernel of {maps.act.label}"
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise ParameterError(f"{what}: depth={depth!r}; it takes an integer from 1")
    if normalise not in NORMALISATIONS:
        raise ParameterError(f"{what}: normalise={normalise!r}; it takes {', '.join(NORMALISATIONS)}")
    inputs = [_matrix(what, "x", x)]
    inputs.append(inputs[0] if y is None else _matrix(what, "y", y))
    if inputs[0].shape[1] != inputs[1].shape[1]:
        shapes = " and ".join(str(tuple(t.shape)) for t in inputs)
        raise InputError(f"{what}: x and y have shapes {shapes}; rows of both must be of one length")
    if normalise == "input":
        inputs = [t * (math.sqrt(t.shape[1]) / _norms(what, t)[:, None]) for t in inputs]
    start = _first(what, maps, inputs[0], inputs[1], y is None)
    # Bound, because a parameter of an entry may be called slope or std as an argument of a moment is.
    bound = maps.act.with_params(**params) if params else maps.act
    network = Network(maps, bound, depth, normalise == "layer", tangent)
    n, m = start.k.shape
    try:
        if exact if exact is not None else (n * (n - 1) // 2 if y is None else n * m) <= _FEW:
            return _worked_out(network, start, symmetric=y is None)
        end, error_k, error_t, checked, asked = network.tabled(start)
    except OgiveError as reason:
        raise OgiveError(f"{what}: {reason}") from None
    return _result(network, end.k, end.t, end.k_rows, end.k_columns, (error_k, error_t), "interpolated", checked, asked)


def _worked_out(network: Network, start: State, symmetric: bool) -> KernelLimit:
    n, m = start.k.shape
    every = torch.ones(n, m, dtype=torch.bool)
    i, j = (every.triu() if symmetric else every).nonzero().T
    end = network.exact(start.pairs(i, j))
    k, t = torch.zeros(n, m, dtype=torch.float64), torch.zeros(n, m, dtype=torch.float64)
    for full, part in ((k, end.k), (t, end.t)):
        full[i, j] = part[:, 0]
        if symmetric:
            full[j, i] = part[:, 0]
    rows, columns = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    rows[i], columns[j] = end.k_rows[:, 0], end.k_columns[:, 0]
    assert end.error_k is not None and end.error_t is not None
    errors = float(end.error_k.max()), float(end.error_t.max())
    asked = network.depth * len(i) * (2 if network.tangent else 1)
    return _result(network, k, t, rows, columns, errors, "exact", 0, asked)


def _result(
    network: Network,
    k: Tensor,
    t: Tensor,
    rows: Tensor,
    columns: Tensor,
    errors: tuple[float, float],
    path: str,
    checked: int,
    asked: int,
) -> KernelLimit:
    return KernelLimit(
        network.maps.act.label,
        network.depth,
        k,
        t if network.tangent else None,
        rows.reshape(-1),
        columns.reshape(-1),
        errors[0],
        errors[1] if network.tangent else None,
        path,
        checked,
        asked,
    )


def _matrix(what: str, name: str, given: Tensor) -> Tensor:
    if not isinstance(given, Tensor) or given.dim() != 2 or 0 in given.shape or given.is_complex():
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise InputError(f"{what}: {name} is {shape}; it takes a tensor of real numbers, (inputs, features), not empty")
    rows = given.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(rows).all()):
        raise InputError(f"{what}: {name} is not finite everywhere")
    return rows


def _norms(what: str, rows: Tensor) -> Tensor:
    norms = rows.norm(dim=1)
    if bool((norms == 0.0).any()):
        row = int((norms == 0.0).nonzero()[0])
        raise InputError(f"{what}: row {row} is zero; without a bias or with normalised inputs it has no direction")
    return norms


def _first(what: str, maps: Maps, x: Tensor, y: Tensor, symmetric: bool) -> State:
    """The first linear layer."""
    w, b, d = maps.sigma_w**2, maps.sigma_b**2, x.shape[1]
    sides = [(t * t).sum(1) * (w / d) + b for t in (x, y)]
    for rows, q in zip((x, y), sides):
        if not bool((q > 0.0).all()):
            _norms(what, rows)
    k = (x @ y.T) * (w / d) + b
    # Which pairs are one input: a correlation of 1 - 1e-16 already turns the angle by 1e-8.
    close = k >= (1.0 - 1e-12) * (sides[0][:, None] * sides[1]).sqrt()
    i, j = close.nonzero().T
    for part in torch.arange(len(i)).split(4096):
        apart = (x[i[part]] - y[j[part]]).abs().amax(1) > 4e-16 * x[i[part]].abs().amax(1)
        close[i[part][apart], j[part][apart]] = False
    if symmetric:
        close.fill_diagonal_(True)
    rows, columns = sides[0][:, None], sides[1][None]
    return State(k, k.clone(), close, rows, columns, rows.clone(), columns.clone())
