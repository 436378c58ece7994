"""Layer norms whose backward needs the output, which the next layer keeps anyway, and not the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ogive.errors import InputError, ParameterError

# xhat = (y - b)/w loses eps (|xhat| + |b/w|). Where |b| > 16 |w| the channel of xhat is kept as it is.
_LARGEST_OFFSET = 16.0


class _FromOutput(torch.autograd.Function):
    """y = w xhat + b with xhat = (x - m)/s, m = 0 without centring; backward from y and 1/s:

    dx = (h - mean(h) - xhat mean(h xhat))/s, h = w dy (no mean(h) without centring); dw = sum dy xhat, db = sum dy.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...], eps: float,
        centred: bool,
    ) -> Tensor:  # fmt: skip
        if centred:
            y, _, scale = torch.native_layer_norm(x, shape, weight, bias, eps)
        else:
            wide = x.to(_wide(x.dtype))
            dims = tuple(range(-len(shape), 0))
            scale = torch.rsqrt(wide.square().mean(dims, keepdim=True) + eps)
            y = (wide * scale).to(x.dtype)
            y = y if weight is None else (y * weight).to(x.dtype)
        lost = _lost_channels(weight, bias)
        kept = None
        if lost is not None:
            dims = tuple(range(-len(shape), 0))
            wide = x.to(_wide(x.dtype))
            wide = wide - wide.mean(dims, keepdim=True) if centred else wide
            kept = (wide * scale).flatten(-len(shape))[..., lost].to(x.dtype)
        ctx.save_for_backward(y, scale, weight, bias, lost, kept)
        ctx.shape, ctx.centred, ctx.dtype = shape, centred, x.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        y, scale, weight, bias, lost, kept = ctx.saved_tensors
        n, wide = len(ctx.shape), _wide(y.dtype)
        hat, g = y.to(wide).flatten(-n), grads[0].to(wide).flatten(-n)
        w = None if weight is None else weight.to(wide).flatten()
        if bias is not None:
            hat = hat - bias.to(wide).flatten()
        if w is not None:
            hat = hat / w
        if lost is not None:
            hat[..., lost] = kept.to(wide)
        h = g if w is None else g * w
        dx = h - hat * (h * hat).mean(-1, keepdim=True)
        if ctx.centred:
            dx -= h.mean(-1, keepdim=True)
        dx = (dx.unflatten(-1, ctx.shape) * scale.to(wide)).to(ctx.dtype)
        rows = tuple(range(g.dim() - 1))
        dw = db = None
        if weight is not None and ctx.needs_input_grad[1]:
            dw = (g * hat).sum(rows).view(ctx.shape).to(weight.dtype)
        if bias is not None and ctx.needs_input_grad[2]:
            db = g.sum(rows).view(ctx.shape).to(bias.dtype)
        return dx, dw, db, None, None, None


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _lost_channels(weight: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """Channels that the output does not determine well, None when there are none."""
    if weight is None:
        return None
    w = weight.detach().flatten().abs()
    bad = w == 0 if bias is None else bias.detach().flatten().abs() >= _LARGEST_OFFSET * w
    return bad.nonzero().flatten() if bool(bad.any()) else None


class _Norm(nn.Module):
    """What both norms share: the shape, eps, and the parameters."""

    centred = True

    def __init__(self, normalized_shape: int | Sequence[int], eps: float, affine: bool, bias: bool, device: Any,
                 dtype: torch.dtype | None) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(int(n) for n in normalized_shape)
        )
        if not self.normalized_shape or min(self.normalized_shape) < 1:
            raise ParameterError(f"{type(self).__name__}: normalized_shape={normalized_shape!r}; it takes positive "
                                 "whole numbers")  # fmt: skip
        if not eps > 0.0:
            raise ParameterError(f"{type(self).__name__}: eps={eps!r}; it is positive")
        self.eps = float(eps)
        made = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.ones(self.normalized_shape, **made)) if affine else None
        self.bias = nn.Parameter(torch.zeros(self.normalized_shape, **made)) if affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The normalised ``x``, of the same shape. Raises InputError when the last dimensions are others."""
        n = len(self.normalized_shape)
        if x.dim() < n or tuple(x.shape[-n:]) != self.normalized_shape:
            raise InputError(f"{type(self).__name__}: the input is {tuple(x.shape)}, its last dimensions have to be "
                             f"{self.normalized_shape}")  # fmt: skip
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or not torch.is_grad_enabled():
            return self._plain(x)  # a compiler decides itself what to keep; transforms want torch's own derivative
        result: Tensor = _FromOutput.apply(x, self.weight, self.bias, self.normalized_shape, self.eps, self.centred)
        return result

    def _plain(self, x: Tensor) -> Tensor:
        if self.centred:
            return nn.functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        wide = x.to(_wide(x.dtype))
        dims = tuple(range(-len(self.normalized_shape), 0))
        y = (wide * torch.rsqrt(wide.square().mean(dims, keepdim=True) + self.eps)).to(x.dtype)
        return y if self.weight is None else (y * self.weight).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps:g}, affine={self.weight is not None}"


class MSLayerNorm(_Norm):
    """``y = w (x - mean)/sqrt(var + eps) + b`` as :class:`torch.nn.LayerNorm`; backward keeps y and one number a row.

    The layer after it keeps y as its input, so nothing is kept twice, where LayerNorm keeps x besides. The normalised
    values are found again as ``(y - b)/w``; a channel where ``|b| >= 16 |w|`` is kept besides. Gradients are those of
    LayerNorm to rounding (of y, in 16 bits). A second derivative is an error.

    Args:
        normalized_shape: sizes of the last dimensions.
        eps: added to the variance, positive.
        elementwise_affine, bias: whether there are w and b; the paper folds both into the linears that follow, as
            ``lighten(..., fold=True)`` does.
        device, dtype: of the parameters.

    Raises:
        ParameterError: for a shape or eps that is not positive.

    Source: Yang et al. 2024, "Reducing Fine-Tuning Memory Overhead by Approximate and Memory-Sharing
    Backpropagation" (MS-LN; there without w and b).

    >>> x = torch.tensor([[1.0, 2.0, 6.0]], requires_grad=True)
    >>> norm = MSLayerNorm(3)
    >>> norm(x)[0, 2].backward()
    >>> [round(v, 4) for v in x.grad[0].tolist()]
    [0.0441, -0.0551, 0.011]
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__(normalized_shape, eps, elementwise_affine, bias, device, dtype)


class MSRMSNorm(_Norm):
    """``y = w x/sqrt(mean(x^2) + eps)`` as :class:`torch.nn.RMSNorm`; backward keeps y and one number a row.

    As :class:`MSLayerNorm` without the mean and without b; only channels with w = 0 are kept besides.

    Args:
        normalized_shape: sizes of the last dimensions.
        eps: added to the mean square, positive.
        elementwise_affine: whether there is w.
        device, dtype: of the parameter.

    Raises:
        ParameterError: for a shape or eps that is not positive.

    >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> MSRMSNorm(2, eps=1e-12)(x)[0, 0].backward()
    >>> [round(v, 4) for v in x.grad[0].tolist()]
    [0.181, -0.1358]
    """

    centred = False

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-6, elementwise_affine: bool = True,
        device: Any = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__(normalized_shape, eps, elementwise_affine, False, device, dtype)
