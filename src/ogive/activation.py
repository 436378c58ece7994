"""The activation: a formula with a name, parameters and a source; and ``define``, which makes one."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ogive.errors import FormulaError, InputError, ParameterError, closest
from ogive.expr import Expr, as_expr, const, number_text, var
from ogive.kernels import Form, apply, direct, graph, into, result_dtype
from ogive.rewrite import simplify

SHARING = ("layer", "channel", "group", "neuron")


@dataclass(frozen=True)
class Param:
    """A parameter of a formula: its default, the open interval it lives in (``closed`` adds the end points),
    and advice from its source: over what it is shared when learned, and whether weight decay suits it."""

    default: float | None = None
    low: float = -math.inf
    high: float = math.inf
    closed: bool = False
    share: str = "layer"
    decay: bool = True
    note: str = ""

    def __post_init__(self) -> None:
        if self.share not in SHARING:
            raise ParameterError(f"share={self.share!r}: a parameter is shared over one of {', '.join(SHARING)}")
        if not self.low < self.high:
            raise ParameterError(f"the interval from {self.low} to {self.high} is empty")

    def admits(self, value: float) -> bool:
        """Whether ``value`` is finite and inside the interval."""
        inside = self.low <= value <= self.high if self.closed else self.low < value < self.high
        return math.isfinite(value) and inside

    @property
    def interval(self) -> str:
        """The interval as text, empty when there is no constraint."""
        if math.isinf(self.low) and math.isinf(self.high):
            return ""
        lo = "-inf" if math.isinf(self.low) else number_text(self.low)
        hi = "inf" if math.isinf(self.high) else number_text(self.high)
        left = "[" if self.closed and math.isfinite(self.low) else "("
        right = "]" if self.closed and math.isfinite(self.high) else ")"
        return f"{left}{lo}, {hi}{right}"


@dataclass(frozen=True, eq=False)
class Activation:
    """A scalar function of one tensor (or of two, a gate), known by its formula.

    ``written`` is the formula as its author wrote it, ``expr`` its stable form; all else is derived from
    them. ``backward`` is a declared surrogate derivative (None: the true one). ``exceptions`` names the laws
    the entry cannot meet, each with the reason.
    """

    written: Expr
    inputs: tuple[str, ...] = ("x",)
    params: Mapping[str, Param] = field(default_factory=dict)
    name: str | None = None
    cite: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    note: str = ""
    family: str | None = None
    backward: Expr | None = None
    same_as: str | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict)
    key: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        object.__setattr__(self, "exceptions", MappingProxyType(dict(self.exceptions)))
        object.__setattr__(self, "key", graph.register(self))

    @cached_property
    def expr(self) -> Expr:
        """The formula in stable form."""
        return simplify(self.written)

    @cached_property
    def form(self) -> Form:
        """What the kernels run."""
        defaults = tuple(0.7 for _ in self.inputs[1:]) + tuple(self.defaults.values())
        surrogate = None if self.backward is None else simplify(self.backward)
        return Form(self.expr, (*self.inputs, *self.params), defaults, surrogate)

    @property
    def defaults(self) -> dict[str, float]:
        """Parameter names and default values, in the order of the formula's signature."""
        return {k: float(p.default) for k, p in self.params.items() if p.default is not None}

    @cached_property
    def _numbers(self) -> tuple[float, ...]:
        return tuple(self.defaults.values())

    @property
    def label(self) -> str:
        """The name, or the formula of a nameless one."""
        return self.name or str(self)

    def settle(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters: ``given`` over defaults, checked. Raises :class:`ParameterError`."""
        values: dict[str, Any] = self.defaults
        for key, value in given.items():
            if key not in self.params:
                known = ", ".join(self.params) or "it has none"
                near = closest(key, self.params, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ParameterError(f"{self.label} has no parameter {key!r} (parameters: {known}){hint}")
            values[key] = self._check(key, value)
        return values

    def _check(self, key: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            if not value.is_floating_point():
                raise ParameterError(f"{self.label}: parameter {key}={value.dtype} tensor; it takes floating point")
            return value
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ParameterError(f"{self.label}: parameter {key}={value!r}; it takes a number or a tensor")
        if not self.params[key].admits(float(value)):
            inside = self.params[key].interval
            need = f"a number in {inside}" if inside else "a finite number"
            raise ParameterError(f"{self.label}: parameter {key}={value!r}; it takes {need}")
        return float(value)

    def __call__(self, *inputs: Any, out: Any = None, **params: Any) -> Any:
        """Compute on tensors, numbers or trees; compose with another activation.

        Inputs: floating tensors of any shape (several broadcast). Parameters: numbers, or tensors that
        broadcast against the input. The result has the dtype and the memory format of the input. ``out``
        receives it (no gradient is recorded then) and may be the input itself.
        """
        if out is None and not params and len(inputs) == len(self.inputs) == 1 and not torch.compiler.is_compiling():
            usual = direct.call(self.form, inputs[0], self._numbers)
            if usual is not None:
                return usual
        if len(inputs) != len(self.inputs):
            need = ", ".join(self.inputs)
            raise InputError(f"{self.label} takes {len(self.inputs)} input(s) ({need}); got {len(inputs)}")
        if any(isinstance(v, Activation) for v in inputs):
            return self._compose(inputs, params)
        if any(isinstance(v, Expr) for v in inputs) or any(isinstance(v, Expr) for v in params.values()):
            trees = {k: as_expr(v) for k, v in {**self.defaults, **params}.items()}
            return self.written.substitute({**dict(zip(self.inputs, map(as_expr, inputs))), **trees})
        settled = self.settle(params) if params else self.defaults
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in inputs):
            wide = [torch.tensor(float(v), dtype=torch.float64) for v in inputs]
            return float(apply(self.form, torch.float64, (*wide, *settled.values())))
        dtype = result_dtype(self.label, inputs)
        if out is not None:
            return into.write(self.label, self.form, dtype, (*inputs, *settled.values()), out)
        if torch.compiler.is_dynamo_compiling():
            return graph.call(self.key, dtype, (*inputs, *settled.values()))
        return apply(self.form, dtype, (*inputs, *settled.values()), torch.compiler.is_compiling())

    def with_params(self, **params: float) -> Activation:
        """The same formula with other defaults; no longer the published entry, so it has no name."""
        values = self.settle(params)
        changed = {k: replace(p, default=values[k]) for k, p in self.params.items()}
        return replace(self, params=changed, name=None, aliases=(), same_as=None)

    def fixed(self) -> Activation:
        """The same function with its parameters written into the formula as numbers."""
        values = {k: const(v) for k, v in self.defaults.items()}
        back = None if self.backward is None else self.backward.substitute(values)
        return replace(self, written=self.written.substitute(values), params={}, backward=back,
                       name=None, aliases=(), same_as=None)  # fmt: skip

    def breakpoints(self, **params: float) -> list[float]:
        """Where the formula has a kink or a jump: exact where the argument is affine in x, else to 1 ulp,
        sorted, within [-64, 64]."""
        from ogive.breaks import breakpoints

        return breakpoints(self.expr, self.inputs[0], self.settle(params))

    # Arithmetic of activations: parameters of both sides stay parameters.
    def __add__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: a + b)

    def __radd__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: b + a)

    def __sub__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: b * a)

    def __truediv__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> Activation:
        return _combine(self, other, lambda a, b: b / a)

    def __neg__(self) -> Activation:
        return _combine(self, -1.0, lambda a, b: b * a)

    def _compose(self, inner: tuple[Any, ...], params: Mapping[str, Any]) -> Activation:
        outer = self.with_params(**params) if params else self
        merged: dict[str, Param] = dict(outer.params)
        trees: list[Expr] = []
        free: list[str] = []
        for part in inner:
            if isinstance(part, Activation):
                expr, extra = _renamed(part, merged)
                merged.update(extra)
                free += [n for n in part.inputs if n not in free]
            else:
                expr = as_expr(part)
            trees.append(expr)
        written = outer.written.substitute(dict(zip(outer.inputs, trees)))
        _no_surrogate((outer, *inner), "composed")
        return Activation(written, tuple(free), merged)

    def __str__(self) -> str:
        return str(self.written)

    def __repr__(self) -> str:
        params = "".join(f", {k}={number_text(v)}" for k, v in self.defaults.items())
        return f"<Activation {self.name or 'unnamed'}: {self.written}{params}>"

    def __reduce__(self) -> Any:
        return (_rebuild, (self.written, self.inputs, dict(self.params), self.name, self.cite, self.aliases,
                           self.note, self.family, self.backward, self.same_as, dict(self.exceptions)))  # fmt: skip

    def __deepcopy__(self, memo: object) -> Activation:
        return self


def _rebuild(*fields: Any) -> Activation:
    return Activation(*fields)


def _no_surrogate(parts: tuple[Any, ...], what: str) -> None:
    for p in parts:
        if isinstance(p, Activation) and p.backward is not None:
            raise FormulaError(
                f"{p.label} has a declared surrogate derivative, which cannot be {what} with another formula; "
                "define the whole formula with backward=... instead"
            )


def _renamed(part: Activation, taken: Mapping[str, Param]) -> tuple[Expr, dict[str, Param]]:
    """The formula of ``part`` with parameters renamed away from ``taken``: beta, beta_2, ..."""
    names: dict[str, str] = {}
    for k in part.params:
        new, i = k, 2
        while new in taken or new in part.inputs or new in names.values():
            new, i = f"{k}_{i}", i + 1
        names[k] = new
    expr = part.written.substitute({k: var(v) for k, v in names.items()})
    return expr, {names[k]: p for k, p in part.params.items()}


def _combine(a: Activation, b: Any, op: Callable[[Expr, Expr], Expr]) -> Activation:
    if not isinstance(b, Activation):
        if isinstance(b, bool) or not isinstance(b, (int, float)):
            raise FormulaError(f"{a.label} combines with numbers and activations; got {b!r}")
        _no_surrogate((a,), "combined") if a.backward is not None else None
        return Activation(op(a.written, as_expr(b)), a.inputs, a.params)
    _no_surrogate((a, b), "combined")
    expr, extra = _renamed(b, a.params)
    inputs = a.inputs + tuple(n for n in b.inputs if n not in a.inputs)
    return Activation(op(a.written, expr), inputs, {**a.params, **extra})


def define(
    formula: Callable[..., Any] | str | None = None,
    /,
    *,
    name: str | None = None,
    cite: str | tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    params: Mapping[str, Param | float] | None = None,
    backward: Callable[..., Any] | None = None,
    same_as: str | None = None,
    exceptions: Mapping[str, str] | None = None,
) -> Any:
    """Make an :class:`Activation` from a Python function over the op table or from a string.

    As a decorator or a call. Of a function, arguments without a default are inputs and the others are
    parameters; of a string, ``x`` (and ``y``) are inputs and ``params`` declares the rest. ``backward`` is a
    surrogate derivative with the same signature. Raises :class:`FormulaError`.

    >>> mine = define("x * sigmoid(beta * x)", params={"beta": 1.5})
    >>> mine
    <Activation unnamed: x*sigmoid(beta*x), beta=1.5>
    >>> round(mine(1.0), 6)
    0.817574
    """
    if formula is None:
        return lambda f: define(f, name=name, cite=cite, aliases=aliases, params=params, backward=backward,
                                same_as=same_as, exceptions=exceptions)  # fmt: skip
    declared = {k: p if isinstance(p, Param) else Param(default=p) for k, p in (params or {}).items()}
    note, family = "", None
    if isinstance(formula, str):
        written, inputs = _read(formula, declared)
    else:
        written, inputs, declared = _trace(formula, declared)
        called = getattr(formula, "__name__", "<lambda>")
        if called != "<lambda>":
            name, note = name or called, inspect.getdoc(formula) or ""
        family = getattr(formula, "__module__", "").rsplit(".", 1)[-1]
    for key, p in declared.items():
        if p.default is None or not p.admits(p.default):
            why = f"outside {p.interval}" if p.interval else "which is not a finite number"
            raise ParameterError(f"{name or formula}: parameter {key} has the default {p.default!r}, {why}")
    surrogate = None
    if backward is not None:
        surrogate = as_expr(backward(*map(var, inputs), **{k: var(k) for k in declared}))
    return Activation(written, inputs, declared, name, (cite,) if isinstance(cite, str) else tuple(cite),
                      tuple(aliases), note, family, surrogate, same_as, exceptions or {})  # fmt: skip


def _read(text: str, declared: Mapping[str, Param]) -> tuple[Expr, tuple[str, ...]]:
    from ogive.catalogue import callables
    from ogive.parse import parse

    written = parse(text, ("x", "y", *declared), callables())
    free = written.variables()
    if "x" not in free:
        raise FormulaError(f"the formula '{text}' does not depend on x, the input")
    unused = [k for k in declared if k not in free]
    if unused:
        raise FormulaError(f"the formula '{text}' does not use the parameter {unused[0]!r}")
    return written, ("x", "y") if "y" in free else ("x",)


def _trace(function: Callable[..., Any], given: Mapping[str, Param]) -> tuple[Expr, tuple[str, ...], dict[str, Param]]:
    label = getattr(function, "__name__", "formula")
    inputs: list[str] = []
    declared: dict[str, Param] = {}
    if "out" in inspect.signature(function).parameters:
        raise FormulaError(f"{label}: an argument called 'out' would be taken for the tensor to write into; rename it")
    for key, arg in inspect.signature(function).parameters.items():
        if arg.kind in (arg.VAR_POSITIONAL, arg.VAR_KEYWORD):
            raise FormulaError(f"{label}: a formula has named arguments only; got *{key}")
        if arg.default is arg.empty and key not in given:
            inputs.append(key)
        else:
            default = given[key].default if arg.default is arg.empty else arg.default
            if isinstance(default, bool) or not isinstance(default, (int, float)):
                raise ParameterError(f"{label}: parameter {key} has the default {default!r}; it takes a number")
            declared[key] = replace(given.get(key, Param()), default=float(default))
    extra = [k for k in given if k not in declared]
    if extra:
        raise ParameterError(f"{label}: params declares {extra[0]!r}, which the formula does not take")
    if not 1 <= len(inputs) <= 2:
        raise FormulaError(f"{label}: a formula has one input or two (a gate); got {len(inputs)}: {inputs}")
    try:
        result = function(*(var(k) for k in inputs), **{k: var(k) for k in declared})
    except (TypeError, AttributeError) as error:
        raise FormulaError(
            f"{label}: tracing the formula failed: {error}; use the functions of ogive.ops (or from ogive.ops "
            "import *) instead of torch's, numpy's or math's"
        ) from None
    return as_expr(result), tuple(inputs), declared
