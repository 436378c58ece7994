"""Dense layers that are monotone in chosen inputs by construction, for any nondecreasing activation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.activation import Activation
from ogive.derive.pieces import Piece, pieces
from ogive.derive.signs.slivers import jump
from ogive.derive.solving.precise_formula import Sharp
from ogive.errors import InputError, ParameterError
from ogive.expr import Expr, const, var
from ogive.lookup import scalar
from ogive.ops import where

PARTS = ("convex", "concave", "saturated")


def three_parts(spec: Any, **params: float) -> tuple[Activation, Activation, Activation]:
    """From a nondecreasing f: f, its reflection ``-f(-x)``, and the saturated ``f(x + 1) - f(1)`` below 0 and
    ``f(1) - f(1 - x)`` above.

    A convex f and its concave reflection bend both ways; the third part levels off on both sides where f levels off
    on the left. Runje and Shankaranarayana 2023, "Constrained monotonic neural networks". Raises
    :class:`~ogive.errors.ParameterError` for an f that falls somewhere, with the place.

    >>> [str(p) for p in three_parts("relu")][:2]
    ['maximum(x, 0)', '-maximum(-x, 0)']
    """
    act, values = scalar(spec, "the monotone parts", params)
    _must_not_fall(act, values)
    act = act.with_params(**values) if values != act.defaults else act
    name = act.inputs[0]
    x, f = var(name), act.written

    def at(place: Expr) -> Expr:
        return f.substitute({name: place})

    one = at(const(1.0))
    saturated = where(x < 0, at(x + 1.0) - one, one - at(1.0 - x))
    made = [Activation(e, act.inputs, act.params) for e in (-at(-x), saturated)]
    return (act, made[0], made[1])


def _must_not_fall(act: Activation, values: dict[str, float]) -> None:
    if act.backward is not None:
        raise ParameterError(
            f"MonoDense: {act.label} declares a surrogate derivative; give a formula that is trained by its own"
        )
    for row in pieces(act, **values).rows:
        falls = row.slope == -1
        if row.slope is None and row.derivative[0] < 0:
            # a sliver is a break or an inflection: f may still jump down in it; anything wider is not proved
            falls = not is_sliver(row) or _drops(row.lo, row.hi, act, values)
        if falls:
            raise ParameterError(
                f"MonoDense: {act.label} falls between {row.lo:.6g} and {row.hi:.6g}, or was not proved not to, so a "
                "layer with it is not monotone; give a nondecreasing activation (elu, relu, softplus, sigmoid, ...)"
            )


def is_sliver(row: Piece) -> bool:
    """Whether a row without a sign is only a few doubles wide, or f is nothing but subnormal numbers on it."""
    wide = row.hi - row.lo
    return wide <= 1e-9 * max(abs(row.lo), abs(row.hi)) or wide < 1e-150 or max(map(abs, row.value)) <= 2.3e-308


def _drops(lo: float, hi: float, act: Activation, values: dict[str, float]) -> bool:
    found = jump_of(lo, hi, act, values)
    return found is not None and not found > 0.0


def jump_of(lo: float, hi: float, act: Activation, values: dict[str, float]) -> float | None:
    """By how much f jumps inside a sliver, None where it is continuous there."""
    sharp = Sharp(act.with_params(**values))
    torn = jump(lo, hi, sharp)
    if torn is None:
        return None
    before, after = sharp.value(torch.tensor(torn, dtype=torch.float64)).tolist()
    return float(after - before)


def is_convex(spec: Any, **params: float) -> bool:
    """Whether f is proved convex on every stretch between its slivers, and its slope does not drop at one."""
    act, values = scalar(spec, "convexity", params)
    every = pieces(act, **values).rows
    rows = [r for r in every if r.hi - r.lo > 1e-9 * max(1e-290, abs(r.lo), abs(r.hi))]
    jumps = any(r.slope is None and jump_of(r.lo, r.hi, act, values) for r in every if is_sliver(r))
    if jumps or any(r.curvature not in (0, 1) for r in rows):
        return False
    return all(
        a.derivative[1] <= b.derivative[1] + 1e-12 and a.derivative[0] <= b.derivative[0] + 1e-12
        for a, b in itertools.pairwise(rows)
    )


class MonoDense(nn.Module):
    """``y = act_s(W' x + b)``, nondecreasing in inputs with sign +1 and nonincreasing in those with -1.

    Column i of W' is ``|w_i|``, ``-|w_i|`` or w_i as ``signs[i]`` is +1, -1 or 0 (free). The outputs are divided among
    f, its reflection and its saturated form (:func:`three_parts`): with a convex f alone a network of nonnegative
    weights is convex; with all three it approximates every monotone function on a box.

    Args:
        in_features, out_features: sizes.
        act: any nondecreasing activation of one input, best a convex one; None for a linear layer, the usual last.
        signs: one of +1, -1, 0 for all inputs, or one for each. Behind a first MonoDense it is +1.
        split: shares of the convex, the concave and the saturated part.
        bias: whether there is b.
        device, dtype: of the parameters.
        **params: parameters of the activation, numbers.

    Raises:
        ParameterError: for an activation that falls somewhere, a sign that is none, a split that is not three shares.

    >>> layer = MonoDense(2, 8, "elu", signs=(1, -1))
    >>> layer
    MonoDense(2, 8, elu, signs=(1, -1), split=(4, 3, 1))
    >>> from ogive.layers.monotone_certificate import certify_monotone
    >>> certify_monotone(layer).holds
    True
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        act: Any = "elu",
        *,
        signs: int | Sequence[int] = 1,
        split: Sequence[float] = (7, 7, 2),
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **params: float,
    ) -> None:
        super().__init__()
        for what, n in (("in_features", in_features), ("out_features", out_features)):
            if type(n) is not int or n < 1:
                raise ParameterError(f"MonoDense: {what}={n!r}; it takes a positive whole number")
        self.in_features, self.out_features = in_features, out_features
        self.signs = _signs(signs, in_features)
        self.sizes = _sizes(split, out_features)
        self.label = None
        self.parts: tuple[Activation, ...] = ()
        if act is not None:
            self.parts = three_parts(act, **params)
            self.label = self.parts[0].label
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights and biases as in ``torch.nn.Linear``; the sign of a constrained weight means nothing."""
        bound = 1.0 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @property
    def signed_weight(self) -> Tensor:
        """W', the weights with their signs as declared."""
        if all(s == 0 for s in self.signs):
            return self.weight
        sign = torch.tensor(self.signs, dtype=self.weight.dtype, device=self.weight.device)
        return torch.where(sign == 0, self.weight, sign * torch.abs(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        """``act_s(W' x + b)``."""
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise InputError(f"MonoDense takes {self.in_features} features in the last dimension; got {tuple(x.shape)}")
        h = functional.linear(x, self.signed_weight, self.bias)
        if not self.parts:
            return h
        cut = [(p, piece) for p, piece in zip(self.parts, h.split(self.sizes, -1)) if piece.shape[-1]]
        return torch.cat([p(piece) for p, piece in cut], -1)

    def extra_repr(self) -> str:
        same = self.signs[0] if len(set(self.signs)) == 1 else self.signs
        act = "linear" if self.label is None else f"{self.label}"
        split = "" if self.label is None else f", split={self.sizes}"
        tail = "" if self.bias is not None else ", bias=False"
        return f"{self.in_features}, {self.out_features}, {act}, signs={same}{split}{tail}"


def _signs(signs: int | Sequence[int], n: int) -> tuple[int, ...]:
    each = (signs,) * n if isinstance(signs, int) else tuple(signs)
    if len(each) != n or any(isinstance(s, bool) or s not in (-1, 0, 1) for s in each):
        raise ParameterError(f"MonoDense: signs={signs!r}; it takes +1, -1 or 0, for all inputs or one for each of {n}")
    return each


def _sizes(split: Sequence[float], n: int) -> tuple[int, int, int]:
    wrong = len(split) != 3 or any(not math.isfinite(s) or s < 0 for s in split) or sum(split) <= 0
    if wrong:
        raise ParameterError(f"MonoDense: split={split!r}; it takes three shares, none negative: {', '.join(PARTS)}")
    ends = [round(n * sum(split[: i + 1]) / sum(split)) for i in range(3)]
    return (ends[0], ends[1] - ends[0], n - ends[1])
