"""Mean and variance through layers: what a network does to uncertain inputs, with uncertain weights, without sampling.

Every signal is a pair of tensors, the mean and the variance of independent normal variables (deterministic variational
inference). A nonlinearity takes them to those of f(X); a linear map with normal weights adds what its weights vary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.moments import hermite, moments
from ogive.errors import InputError, ParameterError
from ogive.lookup import get

_CANCELS = 1e-7  # Var f over E f^2 below which the difference of the two moments loses half its digits
_ORDERS = 12
_NOTHING = 1e-200  # E f^2 below which f is as good as 0: relu of a mean 31 deviations below it


def propagate(spec: Any, mean: Tensor, variance: Tensor, **params: float | Tensor) -> tuple[Tensor, Tensor]:
    """``E f(X)`` and ``Var f(X)`` of every element, X ~ N(mean, variance).

    By quadrature split at the break points of f, to 1e-13 of E f^2; where the variance is less than 1e-7 of that and
    f smooth, by the sum of 12 squared Hermite coefficients, which does not cancel. Both results can be differentiated
    once by ``mean``, ``variance`` and parameters given as tensors, and have the dtype and device of ``mean``.

    Args:
        spec: a name, a formula, an Activation or an ``ogive.Act`` of one input.
        mean, variance: of shapes that broadcast; variances from 0.
        params: numbers or tensors (of no dimension) that replace defaults of the activation's parameters.

    Raises:
        ParameterError: for a negative or infinite variance, or shapes that do not fit.
        InputError: for a gate of two inputs, or what is not a tensor.
        OgiveError: where the moments are infinite.

    Source: for relu Wu et al. 2019, Deterministic Variational Inference.

    >>> m, v = propagate("relu", torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    >>> round(float(m) ** 2 * 2 * math.pi, 12), round(float(v), 12)  # 1/sqrt(2 pi), 1/2 - 1/(2 pi)
    (1.0, 0.340845056908)
    """
    act = get(spec)
    _check(act.label, mean, variance)
    if mean.dim() == variance.dim() == 0:
        first, spread = propagate(act, mean.reshape(1), variance.reshape(1), **params)
        return first.reshape(()), spread.reshape(())
    m, v = torch.broadcast_tensors(mean.double().cpu(), variance.double().cpu())
    still = v == 0.0
    std = torch.where(still, 1.0, v).sqrt()  # a stand-in: sqrt has no slope at 0
    if bool(still.all()):
        fixed = act(m, **params)
        return fixed.to(mean), torch.zeros_like(fixed).to(mean)
    settled: dict[str, Any] = params
    found, _ = moments(act, [(1,), (2,)], m, std, **settled)
    first, spread = found[0], found[1] - found[0].square()
    narrow = (spread <= _CANCELS * found[1]) & (found[1] > _NOTHING) & ~still
    if bool(narrow.any()):
        where = narrow.nonzero(as_tuple=True)
        terms, _ = hermite(act, _ORDERS, m[where], std[where], **settled)
        series = terms[1:].square()
        smooth = series[-3:].sum(0) <= 1e-10 * series.sum(0)  # else a rare kink or jump: the tail is long
        spread = spread.index_put(where, torch.where(smooth, series.sum(0), spread[where]))
    if bool(still.any()):
        first, spread = torch.where(still, act(m, **params), first), torch.where(still, 0.0, spread)
    return first.to(mean), spread.clamp_min(0.0).to(mean)


def _check(label: str, mean: Any, variance: Any) -> None:
    for name, given in (("mean", mean), ("variance", variance)):
        if not isinstance(given, Tensor) or not given.is_floating_point():
            raise InputError(f"moments through {label}: {name} is {type(given).__name__}; it takes a floating tensor")
    try:
        torch.broadcast_shapes(mean.shape, variance.shape)
    except RuntimeError:
        raise ParameterError(f"moments through {label}: mean {tuple(mean.shape)} and variance {tuple(variance.shape)} "
                             "do not broadcast together") from None  # fmt: skip
    if not bool((torch.isfinite(variance) & (variance >= 0.0)).all()):
        raise ParameterError(f"moments through {label}: the variance takes finite numbers from 0; its least is "
                             f"{float(variance.detach().min()) if variance.numel() else math.nan:g}")  # fmt: skip


class MomentAct(nn.Module):
    """The moments of f(X) from those of X, as a layer: ``(mean, variance) -> (E f(X), Var f(X))``.

    >>> layer = MomentAct("tanh")
    >>> mean, variance = layer(torch.zeros(3), torch.ones(3))
    >>> mean.tolist(), bool((variance < 0.4).all())
    ([0.0, 0.0, 0.0], True)
    """

    def __init__(self, spec: Any) -> None:
        super().__init__()
        self.activation: Activation = get(spec)
        if len(self.activation.inputs) != 1:
            raise InputError(f"MomentAct of {self.activation.label}: it takes {len(self.activation.inputs)} inputs; "
                             "moments go through an activation of one")  # fmt: skip

    def forward(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        return propagate(self.activation, mean, variance)

    def extra_repr(self) -> str:
        return self.activation.label


class MPGELU(nn.Module):
    """``g x`` with the gate ``g = E Phi(X) = Phi(mean/sqrt(1 + variance))`` of the input's statistics.

    GELU's gate opens for each x by itself; here one gate serves the whole distribution, so both moments are closed:
    ``(g mean, g^2 variance)``. On an input without variance it is GELU. The idea of a nonlinearity on the statistics
    is Hirayama and Takamaeda-Yamazaki's (2022); the gate is this library's reading of it: the mean of GELU's own.

    >>> mean, variance = MPGELU()(torch.tensor([1.0]), torch.tensor([0.0]))
    >>> bool(torch.allclose(mean, nn.functional.gelu(torch.tensor([1.0])))), variance.item()
    (True, 0.0)
    """

    def forward(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        _check("mp_gelu", mean, variance)
        gate = torch.special.ndtr(mean * torch.rsqrt(1.0 + variance))
        return gate * mean, gate.square() * variance


class MomentLinear(nn.Module):
    """``y = W x + b``, weights normal: ``E y = M E x + m``, ``Var y = M^2 Var x + S ((E x)^2 + Var x) + s``.

    M and S are the means and variances of W, m and s those of b; exact for independent inputs. ``weight`` and
    ``bias`` are the means; ``log_weight`` and ``log_bias`` the logarithms of the variances.

    Args:
        inputs, outputs: sizes of the last dimension.
        bias: whether there is one.
        variance: of every weight at first, above 0, as a share of 1/inputs.

    >>> layer = MomentLinear(4, 2)
    >>> mean, variance = layer(torch.ones(3, 4), torch.zeros(3, 4))
    >>> mean.shape, bool((variance > 0).all())
    (torch.Size([3, 2]), True)
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, variance: float = 1e-3) -> None:
        super().__init__()
        if not (math.isfinite(variance) and variance > 0.0):
            raise ParameterError(f"MomentLinear: variance={variance!r}; it takes a number above 0")
        start = math.log(variance / inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))
        self.log_weight = nn.Parameter(torch.full((outputs, inputs), start))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.log_bias = nn.Parameter(torch.full((outputs,), start)) if bias else None

    def forward(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        _check("MomentLinear", mean, variance)
        if mean.shape[-1] != self.weight.shape[1]:
            raise InputError(f"MomentLinear({self.weight.shape[1]}, {self.weight.shape[0]}): the mean has shape "
                             f"{tuple(mean.shape)}")  # fmt: skip
        spread = self.log_weight.exp()
        out = nn.functional.linear(variance, self.weight.square() + spread)
        out = out + nn.functional.linear(mean.square(), spread)
        if self.log_bias is not None:
            out = out + self.log_bias.exp()
        return nn.functional.linear(mean, self.weight, self.bias), out
