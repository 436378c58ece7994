"""Smooth-SwiGLU: a gated feed-forward layer whose hidden units survive a cast to 8-bit floats."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from ogive.diff import differentiate
from ogive.errors import ParameterError, closest
from ogive.expr import Expr, const, value_of
from ogive.layers.ffn import FFN
from ogive.rewrite import simplify

FORMATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
SCALINGS = ("channel", "tensor")


class SmoothSwiGLU(FFN):
    """``y = W_down S^-1 Q(S z)`` with ``z = act(W_gate x) * act_up(W_up x)``, Q a cast to an 8-bit float and
    S a diagonal of one power of two for each channel.

    Where training has aligned the gate's and the linear branch's weights of a channel, z grows with the
    square of x there, and one scale for the whole tensor leaves too few bits for the others. S brings the
    largest value of each channel just below the largest number of the format. It stands on the linear branch
    and is undone in the columns of the last map, so without the cast the function is that of :class:`FFN`:
    exactly, since powers of two do not round. The cast is simulated (weights and sums stay in their dtype;
    backward passes straight through it), S is taken anew from each batch and has no gradient.
    Source: Fishman et al. 2024, "Scaling FP8 training to trillion-token LLMs".

    Args:
        dim, hidden, act, act_up, **options: as for :class:`FFN`, and with its names in ``state_dict``.
        fp8: ``"e4m3"`` (largest number 448), ``"e5m2"`` (57344), or None for no cast.
        grad_fp8: format of a cast of z's gradient, with one scale for the tensor; None for no cast.
        scaling: ``"channel"``, or ``"tensor"``, the usual FP8 recipe with one scale, to compare with.

    Raises:
        ParameterError: for an unknown format or scaling, and what :class:`FFN` refuses.

    >>> ffn = SmoothSwiGLU(4, 8)
    >>> x = torch.randn(16, 4)
    >>> bool((ffn(x) - ffn.folded(x)(x)).abs().max() < 0.1)
    True
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        act: Any = "silu",
        act_up: Any = "identity",
        *,
        fp8: str | None = "e4m3",
        grad_fp8: str | None = None,
        scaling: str = "channel",
        **options: Any,
    ) -> None:
        super().__init__(dim, hidden, act, act_up, **options)
        for what, value, known in (("fp8", fp8, FORMATS), ("grad_fp8", grad_fp8, FORMATS)):
            if value is not None and value not in known:
                raise ParameterError(f"SmoothSwiGLU: {what}={value!r}; it is 'e4m3', 'e5m2' or None")
        if scaling not in SCALINGS:
            near = closest(str(scaling), SCALINGS, 1)[0]
            raise ParameterError(
                f"SmoothSwiGLU: scaling={scaling!r}; it is 'channel' or 'tensor' (did you mean {near!r}?)"
            )
        self.fp8, self.grad_fp8, self.scaling = fp8, grad_fp8, scaling

    def units(self, x: Tensor) -> Tensor:
        """The hidden units after the cast, ``S^-1 Q(S z)``, shape (..., hidden)."""
        z = super().units(x)
        if self.fp8 is None and self.grad_fp8 is None:
            return z
        result: Tensor = _Cast.apply(z, self.fp8, self.grad_fp8, self.scaling)
        return result

    def channel_scale(self, x: Tensor) -> Tensor:
        """The diagonal of S on the batch ``x``: shape (hidden,), powers of two, 1 for a channel that is zero."""
        with torch.no_grad():
            return scale_of(super().units(x), self.fp8 or "e4m3", "channel").flatten()

    def folded(self, x: Tensor) -> FFN:
        """The layer for inference: a plain :class:`FFN` with the same function, S of the batch ``x`` multiplied
        into the rows of the linear branch and its inverse into the columns of the last map.

        Raises:
            ParameterError: when the formula is not linear in the second branch.
        """
        entry = self.act.entry
        if not _linear(entry.expr, entry.inputs[1]):
            raise ParameterError(f"SmoothSwiGLU: {entry.label} is not linear in its second branch; S does not pass it")
        s = self.channel_scale(x)
        weights = {k: v for k, v in self.state_dict().items() if not k.startswith("act.")}
        order = {"gate": self.act.gate or "first", "interleaved": self.act.interleaved}
        layer = FFN.from_state_dict(weights, layout="llama", dropout=self.dropout.p, **order)
        layer.act = copy.deepcopy(self.act)
        layer.train(self.training)
        with torch.no_grad():
            up, down = layer.get_submodule("up_proj"), layer.get_submodule("down_proj")
            for rows in up.parameters():
                rows.mul_(s if rows.dim() == 1 else s[:, None])
            down.get_parameter("weight").div_(s)
        return layer

    def outlier_ratio(self, x: Tensor) -> float:
        """How far the hidden units of ``x`` are from sharing one scale: the largest |z| of all channels over
        the median channel's; what grows over long training (2 to 4 for Gaussian units, 1e3 and more then)."""
        with torch.no_grad():
            peak = super().units(x).abs().flatten(0, -2).amax(0)
        return float(peak.max() / peak.median())

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, fp8={self.fp8}, grad_fp8={self.grad_fp8}, scaling={self.scaling}"


class _Cast(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, fp8: str | None, grad_fp8: str | None, scaling: str) -> Tensor:
        return z.clone() if fp8 is None else cast(z, fp8, scaling)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.grad_fp8 = inputs[2]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        g = grads[0]
        return (g if ctx.grad_fp8 is None else cast(g, ctx.grad_fp8, "tensor")), None, None, None


def cast(z: Tensor, fp8: str, scaling: str = "channel") -> Tensor:
    """``S^-1 Q(S z)``: z (..., channels) rounded to an 8-bit float, in the dtype of z. What is not finite stays
    as it is, so that a diverged training shows.

    >>> cast(torch.tensor([[1.0, 1000.0], [0.3, 0.9]]), "e4m3")
    tensor([[1.0000e+00, 1.0240e+03],
            [3.1250e-01, 8.7500e-01]])
    """
    s = scale_of(z, fp8, scaling)
    rounded = (z.to(s.dtype) * s).to(FORMATS[fp8]).to(s.dtype) / s
    return torch.where(z.isfinite(), rounded.to(z.dtype), z)


def _linear(expr: Expr, name: str) -> bool:
    at_zero = simplify(expr.substitute({name: const(0.0)}))
    return name not in differentiate(expr, name).variables() and value_of(at_zero) == 0.0


def scale_of(z: Tensor, fp8: str, scaling: str) -> Tensor:
    """The largest power of two s with ``s max |z|`` at most the format's largest number, over the finite z of
    each channel (the last dimension) or of the tensor; 1 where all of them are zero."""
    wide = torch.promote_types(z.dtype, torch.float32)
    size = torch.where(z.detach().isfinite(), z.detach().abs(), 0.0).to(wide)
    size = size.reshape(-1, z.shape[-1] if scaling == "channel" else 1)
    peak = size.amax(0) if len(size) else size.new_zeros(size.shape[1])
    mantissa, exponent = torch.frexp(peak)
    top_mantissa, top_exponent = math.frexp(torch.finfo(FORMATS[fp8]).max)
    power = top_exponent - exponent - (mantissa > top_mantissa).int()
    # 2^power from its bits: torch's pow and exp2 may round a power of two
    bits = (power.clamp(-126, 126).int() + 127).bitwise_left_shift(23)
    return torch.where(peak > 0, bits.view(torch.float32).to(wide), 1.0)
