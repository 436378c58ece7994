"""A parameter that is learned: over what it is shared, and how its interval is kept."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ogive.activation import Param
from ogive.errors import InputError, ParameterError, closest
from ogive.expr import number_text


@dataclass(frozen=True, eq=False)
class Learn:
    """A request to train a parameter; see :func:`learn`. ``share`` None means as the source shares it."""

    share: str | None = None
    init: float | Tensor | None = None

    def __repr__(self) -> str:
        first = "" if self.share is None else repr(self.share)
        second = "" if self.init is None else f"init={self.init!r}"
        return f"learn({', '.join(part for part in (first, second) if part)})"


def learn(share: str | None = None, init: float | Tensor | None = None) -> Learn:
    """Ask :class:`ogive.Act` to train a parameter, kept in its interval by reparametrisation.

    Args:
        share: ``"layer"`` (one value), ``"channel"`` (one per channel), ``"group:k"`` (k values, each for
            channels/k neighbouring channels), ``"neuron"`` (one per element of an example). None takes
            what the activation's source does.
        init: first value, a number or a tensor that broadcasts to the shape; None takes the default.

    Raises:
        ParameterError: for another word, or an init that is not a number or a floating tensor.

    >>> learn("channel", init=1.5)
    learn('channel', init=1.5)
    """
    words = ("layer", "channel", "group:k", "neuron")
    if share is not None and not re.fullmatch(r"layer|channel|group:[1-9][0-9]{0,8}|neuron", str(share)):
        near = closest(str(share), words, 1)[0]
        raise ParameterError(
            f"learn({share!r}): a parameter is shared over one of {', '.join(words)}; did you mean {near!r}?"
        )
    number = isinstance(init, (int, float)) and not isinstance(init, bool) and math.isfinite(init)
    if init is not None and not number and not (isinstance(init, Tensor) and init.is_floating_point()):
        raise ParameterError(f"learn(init={init!r}): it takes a finite number or a floating-point tensor")
    return Learn(share, init)


def shape_of(share: str, channels: int | None, shape: tuple[int, ...] | None, what: str) -> tuple[int, ...]:
    """The shape of the trained tensor. ``what`` names the parameter in errors."""
    if share == "layer":
        return ()
    if share == "neuron":
        if shape is None:
            raise ParameterError(
                f"{what} is learned per neuron: give shape=(...), the shape of one example without the batch"
            )
        return shape
    if share == "group":
        raise ParameterError(f'{what} is shared over groups in its source: say how many, learn("group:k")')
    if channels is None:
        per = "channel" if share == "channel" else "group of channels"
        raise ParameterError(
            f'{what} is learned per {per}: give channels=, the size of the input along dim, or learn("layer")'
        )
    groups = channels if share == "channel" else int(share.removeprefix("group:"))
    if channels % groups:
        raise ParameterError(f"{what} is learned as {share!r}: {groups} does not divide channels={channels}")
    return (groups,)


def fits(given: torch.Size, shape: torch.Size) -> bool:
    """Whether a tensor of shape ``given`` broadcasts into ``shape``."""
    return len(given) <= len(shape) and all(a in (1, b) for a, b in zip(reversed(given), reversed(shape)))


def place(value: Tensor, x: Tensor, share: str, dim: int, channels: int | None, what: str) -> Tensor:
    """``value``, one per neuron, channel or group of channels, shaped to broadcast against ``x``."""
    got = f"got an input of shape {tuple(x.shape)}"
    if share == "neuron":
        if x.shape[x.dim() - value.dim() :] != value.shape:
            raise InputError(f"{what} is learned per neuron for shape={tuple(value.shape)}; {got}")
        return value
    if not -x.dim() <= dim < x.dim() or x.shape[dim] != channels:
        raise InputError(f"{what} is learned for channels={channels} along dim={dim}; {got}")
    if value.shape[0] != channels:
        value = value.repeat_interleave(channels // value.shape[0])
    return value.reshape(-1, *(1,) * (x.dim() - 1 - dim % x.dim()))


# Keeping an interval. An open end is approached by softplus or sigmoid and never reached: the value is held
# one unit in the last place inside, where both saturate. A closed end must be reachable, since defaults sit
# on it, so a closed interval is folded: a raw value that steps over an end is reflected back. Clamping would
# kill the gradient beyond the end, or with a straight-through gradient let the raw value drift away; the fold
# is the identity inside, has slope +-1 everywhere, and its derivative is true.
def constrain(raw: Tensor, param: Param) -> Tensor:
    """The value in the interval of ``param`` for the unconstrained ``raw``."""
    low, high = param.low, param.high
    if math.isinf(low) and math.isinf(high):
        return raw
    if param.closed:
        return _fold(raw, low, high)
    if math.isinf(high):
        value = low + F.softplus(raw)
    elif math.isinf(low):
        value = high - F.softplus(raw)
    else:
        value = low + (high - low) * torch.sigmoid(raw)
    eps = torch.finfo(raw.dtype).eps
    tiny = torch.finfo(raw.dtype).tiny
    inner_low = None if math.isinf(low) else low + max(abs(low) * eps, tiny)
    inner_high = None if math.isinf(high) else high - max(abs(high) * eps, tiny)
    return value.clamp(inner_low, inner_high)


def _fold(raw: Tensor, low: float, high: float) -> Tensor:
    if math.isinf(high):
        return torch.where(raw >= low, raw, 2 * low - raw)
    if math.isinf(low):
        return torch.where(raw <= high, raw, 2 * high - raw)
    width = high - low
    t = torch.remainder(raw - low, 2 * width)
    folded = (low + torch.where(t <= width, t, 2 * width - t)).clamp(low, high)
    return torch.where((raw >= low) & (raw <= high), raw, folded)


def unconstrain(value: Tensor, param: Param) -> Tensor:
    """The raw value that :func:`constrain` takes to ``value`` (inside the interval)."""
    low, high = param.low, param.high
    if param.closed or (math.isinf(low) and math.isinf(high)):
        return value
    if math.isinf(high):
        return _softplus_inverse(value - low)
    if math.isinf(low):
        return _softplus_inverse(high - value)
    return torch.log(value - low) - torch.log(high - value)


def _softplus_inverse(v: Tensor) -> Tensor:
    return v + torch.log(-torch.expm1(-v))  # log(e^v - 1), safe for large v


def decays(param: Param) -> bool:
    """Whether weight decay on the raw value suits the parameter: the source does not advise against it, and
    the raw value is the value (behind a softplus, decay would pull towards log 2 and not towards zero)."""
    identity = param.closed or (math.isinf(param.low) and math.isinf(param.high))
    return param.decay and identity


def show(value: Tensor) -> str:
    """One number, or the range of several; ``meta`` where there are none."""
    if value.is_meta:
        return "meta"
    flat = value.detach().double().flatten()
    if not flat.numel():
        return "empty"
    low, high = float(f"{flat.min().item():.5g}"), float(f"{flat.max().item():.5g}")
    texts = [number_text(v) if math.isfinite(v) else str(v) for v in (low, high)]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]}..{texts[1]}"
