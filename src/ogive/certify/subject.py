"""What is to be checked: a formula of ours, or somebody's code with the formula it stands for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.trace import Untraceable, name_of, trace
from ogive.errors import InputError
from ogive.lookup import get
from ogive.user_code import imported


@dataclass(frozen=True)
class Subject:
    """``act`` is the formula (None where code has none and resembles no entry), ``run`` the code (None for a
    formula, which runs by itself), ``reference`` says what results are compared with."""

    label: str
    act: Activation | None
    run: Callable[[Tensor], Any] | None
    reference: str
    note: str = ""


EXACT = "exact arithmetic on the formula"


def subject(spec: Any) -> Subject:
    """What ``spec`` is: a name, a formula, an activation, ``pkg.module:callable``, a function or an ``nn.Module``.

    Raises InputError for what is not one function of one number.
    """
    if isinstance(spec, str) and ":" in spec and not spec.strip().startswith(":"):
        return _code(imported(spec), spec)
    if isinstance(spec, (str, Activation)):
        act = get(spec)
        if len(act.inputs) != 1:
            raise InputError(f"check of {act.label}: it takes {len(act.inputs)} inputs ({', '.join(act.inputs)}); "
                             "a certificate is for a function of one")  # fmt: skip
        return Subject(act.label, act, None, EXACT)
    if callable(spec):
        return _code(spec, name_of(spec))
    raise InputError(f"check takes a name, a formula, an activation, pkg:callable, a function or a module; got "
                     f"{type(spec).__name__}: {str(spec)[:80]!r}")  # fmt: skip


def _code(code: Any, label: str) -> Subject:
    run = _in_every_dtype(code) if isinstance(code, nn.Module) else code
    if not callable(run):
        raise InputError(f"check of {label}: it is a {type(run).__name__}, which cannot be called on a tensor")
    elementwise(run, label)
    try:
        act = trace(code)
    except Untraceable as why:
        match = _recognised(code)
        if match is not None:
            return Subject(label, match, run, f"exact arithmetic on {match.label}, which it computes", str(why))
        return Subject(label, None, run, "its own float64 result and central differences of it", str(why))
    return Subject(label, act, run, EXACT)


def _in_every_dtype(module: nn.Module) -> Callable[[Tensor], Any]:
    """A copy of ``module`` in evaluation mode that takes on the dtype of its input."""
    copies: dict[torch.dtype, nn.Module] = {}

    def run(x: Tensor) -> Any:
        if x.dtype not in copies:
            copies[x.dtype] = copy.deepcopy(module).to(x.dtype).eval()
        return copies[x.dtype](x)

    return run


def _recognised(code: Any) -> Activation | None:
    from ogive.derive.find import find

    try:
        best = find(code).best
    except InputError:
        return None
    if best is None or best.kind != "identical":
        return None
    return get(best.name)


def elementwise(run: Callable[[Tensor], Any], label: str) -> None:
    """Raise InputError unless ``run`` maps each number of a float64 tensor by itself, the same way every time."""
    x = torch.linspace(-3.1, 2.9, 48, dtype=torch.float64)

    def at(t: Tensor) -> Tensor:
        try:
            y = run(t.clone())
        except Exception as error:
            raise InputError(f"check of {label}: calling it on a float64 tensor of shape {tuple(t.shape)} fails with "
                             f"{type(error).__name__}: {error}") from error  # fmt: skip
        if not isinstance(y, Tensor):
            raise InputError(f"check of {label}: it returns {type(y).__name__}, not a tensor")
        if y.shape != t.shape:
            raise InputError(f"check of {label}: it maps shape {tuple(t.shape)} to {tuple(y.shape)}; "
                             "a certificate is for functions that act on each number by itself")  # fmt: skip
        return y.detach()

    def same(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)

    first = at(x)
    if not same(first, at(x)):
        raise InputError(f"check of {label}: two calls on one input differ, so it draws random numbers or keeps a "
                         "state; put it in evaluation mode")  # fmt: skip
    if not same(at(x.flip(0)), first.flip(0)) or not same(at(x[:17]), first[:17]):
        raise InputError(f"check of {label}: the value at a number depends on the other numbers of the tensor "
                         "(like softmax); a certificate is for functions of one number")  # fmt: skip
    if not same(at(x.reshape(6, 8)), first.reshape(6, 8)):
        raise InputError(f"check of {label}: the value at a number depends on the shape of the tensor")
    if not same(at(x), first):
        raise InputError(f"check of {label}: its result changed after other calls, so it keeps a state")
