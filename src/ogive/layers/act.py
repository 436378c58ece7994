"""``Act``: any activation as an nn.Module, any of its parameters fixed or learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.diff import differentiate
from ogive.errors import InputError, ParameterError
from ogive.expr import number_text, value_of
from ogive.kernels import result_dtype
from ogive.kernels.halves import halves
from ogive.kernels.saving import saving as keeping
from ogive.layers.inplace import may_overwrite
from ogive.layers.learn import Learn, constrain, decays, fits, learn, place, shape_of, show, unconstrain
from ogive.lookup import get

__all__ = ["Act", "learn"]

# Names that a module and its constructor use themselves.
_TAKEN = {
    "spec", "channels", "dim", "shape", "inplace", "saving", "device", "dtype",
    "entry", "fixed", "learned", "training",
}  # fmt: skip


class Act(nn.Module):
    """``y = f(x)`` for an activation ``f``; a parameter is a number (fixed) or ``ogive.learn(...)`` (trained).

    A learned parameter ``beta`` is stored as ``raw_beta``, which is its key in ``state_dict`` and free to
    take any value; ``act.beta`` is the value in the parameter's interval: ``raw`` itself without a
    constraint, ``low + softplus(raw)`` on (low, inf), ``low + (high - low) sigmoid(raw)`` on (low, high), and
    on a closed interval ``raw`` reflected at the ends. ``act.beta = 0.5`` sets either kind. Fixed parameters
    are arguments of the constructor and not part of the state. The result has the dtype of the input,
    whatever the parameters' dtype, also under autocast.

    A gate of two inputs is called with both, or with one tensor that is cut in half along ``dim``; the
    first half is the first input of the formula (``swiglu`` squashes x, the first; ``glu`` y, the second).

    Args:
        spec: a name, a formula in x, an Activation, or another Act (the function it computes now).
        channels: size of the input along ``dim``, for parameters learned per channel or group. Of a gate,
            the size of each half.
        dim: the channel dimension (1 for (N, C), (N, C, L), (N, C, H, W); -1 for transformers), and the
            dimension along which a gate is cut.
        shape: of one example without the batch, for parameters learned per neuron.
        inplace: write the result into the input. Backward needs the input as it was, so this is for
            inference: it is an error where the result would need a gradient.
        saving: what backward keeps, as of :class:`ogive.saving`: ``"x"``, ``"y+bit"``, a number of bits.
        device, dtype: of learned parameters.
        **params: numbers or ``ogive.learn(...)``; what is not named keeps its default.

    Raises:
        UnknownName, FormulaError: for the spec.
        ParameterError: for a parameter that does not exist or a value it cannot take.

    >>> act = Act("swish", beta=learn("channel", init=1.5), channels=3)
    >>> act
    Act(swish, beta=1.5 (learned per channel, 3), dim=1)
    >>> act(torch.zeros(2, 3)).shape, list(act.state_dict())
    (torch.Size([2, 3]), ['raw_beta'])
    """

    entry: Activation

    def __init__(
        self,
        spec: Any,
        *,
        channels: int | None = None,
        dim: int = 1,
        shape: tuple[int, ...] | None = None,
        inplace: bool = False,
        saving: str | int | keeping | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **params: float | Learn,
    ) -> None:
        super().__init__()
        entry = get(spec)
        clash = [k for k in entry.params if k in _TAKEN or k.startswith("raw_") or hasattr(Act, k)]
        if clash:
            raise ParameterError(
                f"{entry.label}: the parameter name {clash[0]!r} means something else on a module; rename it"
            )
        if dtype is not None and not dtype.is_floating_point:
            raise ParameterError(f"{entry.label}: dtype={dtype}; parameters are floating point")
        if inplace and len(entry.inputs) > 1:
            raise ParameterError(f"{entry.label}: inplace=True is for one input; a gate has two")
        for what, numbers in (("channels", (channels,)), ("shape", shape or ())):
            if any(n is not None and (type(n) is not int or n < 1) for n in numbers):
                wrote = channels if what == "channels" else shape
                raise ParameterError(f"{entry.label}: {what}={wrote!r}; it takes positive whole numbers")
        if type(dim) is not int:
            raise ParameterError(f"{entry.label}: dim={dim!r}; it takes a whole number")
        self.saving = None if saving is None else keeping(saving)
        if self.saving is not None and self.saving.policy.name == "nothing":
            raise ParameterError(
                f"{entry.label}: saving='nothing' is about the layers that follow; put the model's call in "
                "with ogive.saving('nothing')"
            )
        self.channels, self.dim, self.inplace = channels, dim, inplace
        self.shape = None if shape is None else tuple(shape)
        self.learned = {k: v for k, v in params.items() if isinstance(v, Learn)}
        for key, value in params.items():
            if key in entry.params and not isinstance(value, (int, float, Learn)):
                what = f"{entry.label}: parameter {key}={value!r}"
                raise ParameterError(f"{what}; it takes a number, or ogive.learn(...) to train it")
        unknown = {k: 1.0 for k in self.learned if k not in entry.params}  # for settle to refuse
        settled = entry.settle({**unknown, **{k: v for k, v in params.items() if not isinstance(v, Learn)}})
        self.fixed = {k: v for k, v in settled.items() if k not in self.learned}
        self.entry = entry
        for key, want in self.learned.items():
            self._trainable(key, want)
            what = f"{entry.label}: parameter {key}"
            size = shape_of(self._share(key), self.channels, self.shape, what)
            self.register_parameter(f"raw_{key}", nn.Parameter(torch.empty(size, device=device, dtype=dtype)))
        self.reset_parameters()

    def _trainable(self, key: str, want: Learn) -> None:
        """Refuse what could not be trained: a start outside the interval, a parameter without a gradient."""
        param, what = self.entry.params[key], f"{self.entry.label}: parameter {key}={want!r}"
        first = want.init.detach().flatten().tolist() if isinstance(want.init, Tensor) else [want.init]
        wrong = [v for v in first if v is not None and not param.admits(v)]
        if wrong:
            inside = param.interval or "finite numbers"
            raise ParameterError(f"{what}; it starts at {wrong[0]!r} and takes {inside}")
        if value_of(differentiate(self.entry.expr, key)) == 0.0:
            raise ParameterError(f"{what}; the derivative by {key} is zero, so it would never train; give a number")

    def reset_parameters(self) -> None:
        """Set every learned parameter to its first value."""
        for key, want in self.learned.items():
            self._write(key, self.entry.params[key].default if want.init is None else want.init)

    def _write(self, key: str, value: Any) -> None:
        raw, param = self._parameters[f"raw_{key}"], self.entry.params[key]
        assert raw is not None
        # a number goes to the CPU and not to the default device, which may be meta
        device = value.device if isinstance(value, Tensor) else "cpu"
        wide = torch.as_tensor(value, dtype=torch.float64, device=device)
        wide = wide.reshape(()) if wide.numel() == 1 else wide
        if not fits(wide.shape, raw.shape):
            has, got = tuple(raw.shape), tuple(wide.shape)
            raise ParameterError(f"{self.entry.label}: parameter {key} has the shape {has}; got {got}")
        with torch.no_grad():
            raw.copy_(unconstrain(wide, param))

    def _current(self, key: str) -> Tensor | float:
        """The parameter ``key`` in its interval: a number when fixed, a tensor when learned."""
        raw = self._parameters.get(f"raw_{key}")
        return self.fixed[key] if raw is None else constrain(raw, self.entry.params[key])

    def __getattr__(self, name: str) -> Any:
        entry = self.__dict__.get("entry")
        if entry is not None and name in entry.params:
            return self._current(name)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        entry = self.__dict__.get("entry")
        if entry is None or name not in entry.params:
            super().__setattr__(name, value)
        elif name in self.fixed:
            if isinstance(value, (Learn, Tensor)):
                raise ParameterError(f"{entry.label}: {name} is fixed and takes a number; got {value!r}")
            self.fixed[name] = entry.settle({name: value})[name]
        else:
            self._trainable(name, learn(init=value))
            self._write(name, value)

    def _placed(self, key: str, x: Tensor) -> Tensor | float:
        """The parameter ``key``, shaped to broadcast against ``x``."""
        value = self._current(key)
        if isinstance(value, float) or not value.dim() or not isinstance(x, Tensor):
            return value
        return place(value, x, self._share(key), self.dim, self.channels, f"{self.entry.label}: {key}")

    def _share(self, key: str) -> str:
        return self.learned[key].share or self.entry.params[key].share

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``f(x)``; of a gate ``f(x, y)``, or with one tensor f of its halves along ``dim``."""
        entry = self.entry
        if len(entry.inputs) == 1:
            if y is not None:
                raise InputError(f"{entry.label} takes one input; got two")
            inputs: tuple[Any, ...] = (x,)
        else:
            joined = self._joined(x) if y is None else None
            if joined is not None:
                return joined
            inputs = self._halves(x) if y is None else (x, y)
        values = {k: self._placed(k, inputs[0]) for k in entry.params}
        if not self.inplace:
            if self.saving is None or torch.compiler.is_dynamo_compiling():  # a compiler decides itself
                return entry(*inputs, **values)
            with self.saving:
                return entry(*inputs, **values)
        result_dtype(entry.label, inputs)
        may_overwrite(x, any(p.requires_grad for p in self.parameters()), entry.label)
        if torch.compiler.is_compiling():
            return x.copy_(entry(x, **values))
        with torch.no_grad():
            return entry(x, out=x, **values)

    _second_first = False  # whether the formula's first input is the second half

    def _joined(self, x: Tensor) -> Tensor | None:
        """The gate of the halves of ``x`` without cutting it, where a kernel does that."""
        usual = isinstance(x, Tensor) and not self.learned and not torch.compiler.is_compiling() and x.dim() > 0
        if not usual or self.dim not in (-1, x.dim() - 1) or x.shape[-1] % 2:
            return None
        numbers = tuple(self.fixed[k] for k in self.entry.params)
        return halves(self.entry.form, x, numbers, self._second_first)

    def _halves(self, x: Tensor) -> tuple[Tensor, ...]:
        if not isinstance(x, Tensor) or not -x.dim() <= self.dim < x.dim() or x.shape[self.dim] % 2:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"{self.entry.label} is a gate of two inputs: give both, or one tensor of even size along "
                f"dim={self.dim}; got {got}"
            )
        return x.chunk(2, self.dim)

    @property
    def activation(self) -> Activation:
        """The function this module computes now: the entry, with other defaults where parameters differ.

        Raises:
            ParameterError: when a learned parameter has several values, which make several functions.
        """
        now: dict[str, float] = {}
        for key, default in self.entry.defaults.items():
            value = self._current(key)
            if isinstance(value, Tensor):
                value = self._single(key, value.detach())
            if not math.isclose(value, default, rel_tol=1e-6, abs_tol=1e-7 if default == 0.0 else 0.0):
                now[key] = value
        return self.entry.with_params(**now) if now else self.entry

    def _single(self, key: str, value: Tensor) -> float:
        init = self.learned[key].init
        if value.is_meta:
            value = torch.as_tensor(self.entry.defaults[key] if init is None else init)
        low, high = value.min().item(), value.max().item()
        if low != high:
            raise ParameterError(
                f"{self.entry.label}: {key} has several values ({show(value)}), so the module is not one "
                "function; use its .entry, the formula with default parameters"
            )
        return low

    def no_decay(self) -> tuple[str, ...]:
        """Names of the learned parameters that weight decay does not suit: the source advises against it,
        or the raw value is not the value (behind a softplus decay pulls towards log 2, not to zero)."""
        return tuple(f"raw_{k}" for k in self.learned if not decays(self.entry.params[k]))

    def extra_repr(self) -> str:
        parts = [self.entry.label]
        parts += [f"{key}={self._shown(key)}" for key in self.entry.params]
        shares = {self._share(k).split(":")[0] for k in self.learned}
        if shares & {"channel", "group"} or len(self.entry.inputs) > 1:
            parts.append(f"dim={self.dim}")
        if self.inplace:
            parts.append("inplace=True")
        if self.saving is not None:
            parts.append(f"saving={self.saving.policy}")
        return ", ".join(parts)

    def _shown(self, key: str) -> str:
        value = self._current(key)
        if isinstance(value, float):
            return number_text(value)
        share = self._share(key).split(":")[0]
        over = "" if share == "layer" else ", " + "x".join(map(str, value.shape))
        return f"{show(value)} (learned per {share}{over})"
