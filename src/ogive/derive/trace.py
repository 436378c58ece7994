"""From code to formula: a function written with torch operations runs once on a tree and leaves its formula."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive import ops
from ogive.activation import Activation
from ogive.derive.torch_names import FORMULAS
from ogive.errors import InputError, OgiveError
from ogive.expr import Expr, as_expr, var
from ogive.lookup import get

# What changes no value: dtypes, layouts, copies.
_SAME = {
    "to",
    "float",
    "double",
    "half",
    "bfloat16",
    "type",
    "type_as",
    "contiguous",
    "clone",
    "alias",
    "requires_grad_",
}
_CONDITIONS = ("gt", "ge")


class Untraceable(InputError):
    """Code that has no formula the tree could hold; the message says which call stopped it."""


class Symbol:
    """Stands for a tensor while code runs: torch's functions, methods and operators build a formula from it."""

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    is_cuda, requires_grad, is_floating_point = False, False, lambda self: True

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return call(getattr(func, "__name__", str(func)), args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("shape", "ndim", "size", "dim", "numel", "item", "tolist", "numpy", "data", "mean", "std", "sum"):
            raise Untraceable(f"it reads .{name}, which is not known of one number; a formula acts on each by itself")
        return lambda *args, **kwargs: call(name, (self, *args), kwargs)

    def __bool__(self) -> bool:
        raise Untraceable("it asks whether a value is true (if, and, or), so its formula depends on the input; "
                          "torch.where says the same for every element")  # fmt: skip

    def __add__(self, other: Any) -> Any:
        return call("add", (self, other), {})

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return call("sub", (self, other), {})

    def __rsub__(self, other: Any) -> Any:
        return call("sub", (other, self), {})

    def __mul__(self, other: Any) -> Any:
        return call("mul", (self, other), {})

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return call("div", (self, other), {})

    def __rtruediv__(self, other: Any) -> Any:
        return call("div", (other, self), {})

    def __pow__(self, other: Any) -> Any:
        return call("pow", (self, other), {})

    def __rpow__(self, other: Any) -> Any:
        return call("pow", (other, self), {})

    def __neg__(self) -> Any:
        return call("neg", (self,), {})

    def __abs__(self) -> Any:
        return call("abs", (self,), {})

    def __gt__(self, other: Any) -> Any:
        return call("gt", (self, other), {})

    def __ge__(self, other: Any) -> Any:
        return call("ge", (self, other), {})

    def __lt__(self, other: Any) -> Any:
        return call("lt", (self, other), {})

    def __le__(self, other: Any) -> Any:
        return call("le", (self, other), {})

    def __and__(self, other: Any) -> Any:
        return call("logical_and", (self, other), {})

    def __or__(self, other: Any) -> Any:
        return call("logical_or", (self, other), {})

    def __invert__(self) -> Any:
        return call("logical_not", (self,), {})


def call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The torch operation ``name`` on symbols and numbers: a new symbol. Raises :class:`Untraceable`."""
    name = name.lstrip("_").removeprefix("special_")
    if name in _SAME:
        return args[0]
    writes = name.endswith("_")
    plain = name.rstrip("_") if writes else name
    formula = FORMULAS.get(plain)
    if formula is None:
        raise Untraceable(f"it calls torch's {name}, which is not a function of one number that formulas know")
    options = {k: _number(v) for k, v in kwargs.items() if k not in ("inplace", "out", "dtype", "training")}
    if kwargs.get("training"):
        raise Untraceable(f"it calls {name} in training mode, which draws random numbers")
    if plain == "where" and len(args) == 1:
        raise Untraceable("it calls torch.where with a condition only, which returns positions, not values")
    try:
        built = formula(*(_number(a) for a in args), **options)
        expr = built if isinstance(built, Expr) else as_expr(built)
    except TypeError as error:
        raise Untraceable(f"it calls torch's {name} with arguments a formula cannot follow: {error}") from None
    if writes or kwargs.get("inplace"):
        args[0].expr = expr
        return args[0]
    return Symbol(expr)


def _number(value: Any) -> Any:
    """What a formula can hold of an argument: trees, numbers, one-element tensors, words."""
    if isinstance(value, Symbol):
        return value.expr
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise Untraceable(f"it uses a tensor of shape {tuple(value.shape)}, one value per element or channel; "
                              "a formula has one number for all")  # fmt: skip
        return float(value.detach())
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    raise Untraceable(f"it uses {type(value).__name__} {str(value)[:60]!r} where a formula has a number")


def trace(subject: Any) -> Activation:
    """The formula of a Python function of one tensor or of an ``nn.Module`` (in evaluation mode), found by
    running it once on a symbol.

    Functions, methods and operators of torch that act on each element are followed; numbers it reads from its
    parameters are written into the formula. Names, formulas and activations are returned as they are. Raises
    :class:`Untraceable` that names the call it could not follow.

    >>> print(trace(lambda x: x * torch.tanh(torch.nn.functional.softplus(x))))
    x*tanh(softplus(x))
    >>> print(trace(torch.nn.LeakyReLU(0.2)))
    where(x > 0, x, 0.2*x)
    """
    if isinstance(subject, (str, Activation)) or isinstance(getattr(subject, "activation", None), Activation):
        return get(subject)
    if not callable(subject):
        raise InputError(f"trace takes a function or a module; got {type(subject).__name__}: {str(subject)[:80]!r}")
    label = name_of(subject)
    run = copy.deepcopy(subject).eval() if isinstance(subject, nn.Module) else subject
    try:
        with torch.no_grad():
            result = run(Symbol(var("x")))
    except OgiveError as error:
        raise Untraceable(f"{label} cannot be read as a formula: {error}") from None
    except Exception as error:
        raise Untraceable(
            f"{label} cannot be read as a formula: it fails on a symbol with {type(error).__name__}: {error}"
        ) from error
    if not isinstance(result, Symbol):
        raise Untraceable(f"{label} cannot be read as a formula: it returns {type(result).__name__} instead of "
                          "something computed from its input")  # fmt: skip
    expr = result.expr
    if expr.op in _CONDITIONS:
        expr = ops.where(expr, 1.0, 0.0)
    if "x" not in expr.variables() and expr.op != "const":
        raise Untraceable(f"{label} cannot be read as a formula: its result does not depend on its input")
    return Activation(expr)


def name_of(subject: Any) -> str:
    """What to call a subject in messages.

    >>> name_of(torch.nn.ReLU())
    'ReLU()'
    """
    if isinstance(subject, nn.Module):
        return " ".join(str(subject).split())[:60] or type(subject).__name__
    return str(getattr(subject, "__name__", type(subject).__name__))
