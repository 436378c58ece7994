"""What backward keeps, as a policy of the caller: the input, the output and a bit, a few bits, or nothing new."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from contextlib import ContextDecorator, ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ogive.errors import ParameterError

if TYPE_CHECKING:
    from ogive.kernels.eager import Form
    from ogive.kernels.recompute import Recompute

NAMES = ("x", "y+bit", "nothing", "approx-bp", "mobiletl", "s2a")


@dataclass(frozen=True)
class Policy:
    """``name`` is one of the names or "bits", which has the number of bits and the density of the inputs:
    N(0, sigma^2), or like ``sample``."""

    name: str
    bits: int = 0
    sigma: float = 1.0
    sample: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.name != "bits":
            return self.name
        more = ", sample=..." if self.sample else f", sigma={self.sigma:g}" if self.sigma != 1.0 else ""
        return f"bits={self.bits}{more}"


@dataclass(frozen=True)
class _Scope:
    """A policy in force, the checkpoint it was set inside of, the outputs it has seen, and what ends it. It lives
    in a context variable, so that one ``saving`` serves many threads."""

    policy: Policy
    checkpoint: object
    outputs: Recompute | None
    end: ExitStack


_scope: ContextVar[_Scope | None] = ContextVar("ogive_saving", default=None)
_lock = threading.Lock()
# How many scopes are open in the process. Kernels look at this number first: it is zero for almost everybody.
in_use = 0


class saving(ContextDecorator):
    """Choose what backward keeps of every activation called inside: a context manager, a decorator, and the
    value of ``Act(..., saving=...)``.

    ============== ======================= ===================================================================
    policy         kept for an element     derivative
    ============== ======================= ===================================================================
    ``"x"``        x                       exact; all that follow fall back to it where they cannot work
    ``"y+bit"``    1 bit or nothing        rebuilt from the output, which the next layer keeps anyway, and the
                                           branch: to 1e-6 in float32, in 16 bits within 1.5 times the error of
                                           rounding it to bfloat16
    ``bits=k``     k bits                  the best step function of 2^k steps for inputs ~ N(0, sigma^2), or
                                           distributed like ``sample``
    ``"approx-bp"`` 2 bits                 ReGELU2, ReSiLU2 (for gelu and silu)
    ``"mobiletl"`` 1 bit                   1 where x > 0 (for hardswish and relu6)
    ``"s2a"``      4 bits                  sixteen steps of equal change of the derivative
    ``"nothing"``  x, and the layers that  exact; outputs of activations are computed again when the backward
                   follow do not keep y    of the layer that used them asks for them
    ============== ======================= ===================================================================

    Values are exact under every policy. Where a policy does not suit a call, the input is kept as ever and one
    warning says why: gates and learned parameters (their gradients need x), derivatives that the output does not
    determine, ``torch.compile`` (which decides itself). Function transforms and forward mode keep x silently. A
    second derivative through anything but "x" and "nothing" is an error. Under ``torch.utils.checkpoint`` a
    policy holds if it is set inside the checkpointed function: the recomputation happens outside of any ``with``
    around the forward pass, and both have to keep the same.

    Args:
        policy: a name from the table, a number of bits, or another ``saving``.
        bits: 1 to 8, in place of a name.
        sigma: standard deviation of the inputs, for ``bits``.
        sample: inputs of the activation, for ``bits``, in place of sigma.

    Raises:
        ParameterError: for an unknown name or number of bits.

    >>> import ogive
    >>> x = torch.linspace(-3, 3, 5).requires_grad_()
    >>> with saving(bits=2):
    ...     y = ogive.get("silu")(x)
    >>> y.sum().backward()
    >>> [round(g, 3) for g in x.grad.tolist()]
    [0.034, 0.034, 0.345, 0.966, 0.966]
    """

    def __init__(
        self,
        policy: str | int | saving | None = None,
        *,
        bits: int | None = None,
        sigma: float = 1.0,
        sample: Tensor | Sequence[float] | None = None,
    ) -> None:
        self.policy = _read(policy, bits, sigma, sample)

    def __enter__(self) -> saving:
        if torch.compiler.is_dynamo_compiling():  # the compiler decides what to keep
            return self
        from ogive.kernels.recompute import Recompute

        stack = ExitStack()
        checkpoint = _checkpoint()
        outputs = Recompute() if self.policy.name == "nothing" else None
        if outputs is not None and checkpoint is None:  # a checkpoint's hooks do more than ours would
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(outputs.pack, outputs.unpack))
        token = _scope.set(_Scope(self.policy, checkpoint, outputs, stack))
        stack.callback(_scope.reset, token)
        _count(1)
        stack.callback(_count, -1)
        return self

    def __exit__(self, *error: object) -> None:
        scope = None if torch.compiler.is_dynamo_compiling() else _scope.get()
        if scope is not None:
            scope.end.close()

    def details(self, spec: Any, dtype: torch.dtype = torch.float32, **params: float) -> dict[str, Any]:
        """What the policy does to an activation: bits kept beside the output, error of the derivative under
        N(0, 1) (relative, L2), and ``why_not``, which is empty when the policy applies.

        >>> saving("y+bit").details("relu")
        {'bits': 0, 'table_bytes': 43024, 'error': 0.0, 'rounding': 0.0, 'why_not': ''}
        """
        from ogive.kernels.kept import plan
        from ogive.lookup import scalar

        act, values = scalar(spec, f"saving {self.policy}", params)
        found = plan(self.policy, act.form, tuple(values.values()), dtype)
        return {"why_not": found} if isinstance(found, str) else {**found.to_dict(), "why_not": ""}

    def __reduce__(self) -> Any:
        return _again, (self.policy,)

    def __repr__(self) -> str:
        return f"saving({str(self.policy) if self.policy.name == 'bits' else repr(self.policy.name)})"


def _again(policy: Policy) -> saving:
    made = saving("x")
    made.policy = policy
    return made


def _read(policy: Any, bits: Any, sigma: float, sample: Any) -> Policy:
    if isinstance(policy, saving):
        return policy.policy
    if type(policy) is int and bits is None:
        policy, bits = None, policy
    if (policy is None) == (bits is None):
        raise ParameterError(f"saving({policy!r}, bits={bits!r}): give a policy ({', '.join(NAMES)}) or bits=1 to 8")
    if bits is None:
        if policy not in NAMES:
            raise ParameterError(f"saving({policy!r}): the policies are {', '.join(NAMES)}, and bits=1 to 8")
        if sample is not None or sigma != 1.0:
            raise ParameterError(f"saving({policy!r}): sigma and sample describe the inputs for bits=1 to 8")
        return Policy(policy)
    if type(bits) is not int or not 1 <= bits <= 8:
        raise ParameterError(f"saving(bits={bits!r}): a code has 1 to 8 bits")
    from ogive.kernels.fewbit import Density

    density = Density(float(sigma)) if sample is None else Density.like(sample)
    return Policy("bits", bits, density.sigma, density.sample)


def _count(by: int) -> None:
    global in_use
    with _lock:
        in_use += by


def _checkpoint() -> object:
    """The innermost non-reentrant checkpoint around this call, which records or replays what is saved."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is None or getattr(hooks[0], "__module__", "") != "torch.utils.checkpoint":
        return None
    return hooks[0]


def current() -> Policy | None:
    """The policy in force in this thread, None when none was chosen."""
    scope = _scope.get() if in_use else None
    return None if scope is None else scope.policy


_told: set[tuple[str, str]] = set()


def tell_once(policy: Policy, what: str, reason: str) -> None:
    """One warning per policy and formula."""
    if (str(policy), what) not in _told:
        _told.add((str(policy), what))
        warnings.warn(f"saving({policy}) keeps the input of {what}: {reason}", UserWarning, stacklevel=5)


def apply(form: Form, dtype: torch.dtype, args: Sequence[Tensor | float], fast: bool) -> Tensor | None:
    """``form`` on ``args`` under the policy in force, or None: the caller then keeps the input as ever."""
    scope = _scope.get()
    if scope is None or scope.policy.name == "x" or form.derived or not torch.is_grad_enabled():
        return None
    tensors = [a for a in args if isinstance(a, Tensor)]
    if not any(t.requires_grad for t in tensors):
        return None
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return None
    policy = scope.policy
    if fast:
        tell_once(policy, "compiled functions", "a graph compiler decides itself what backward keeps")
        return None
    checkpoint = _checkpoint()
    if checkpoint is not None and checkpoint is not scope.checkpoint:
        return None
    from ogive.kernels import kept

    if scope.outputs is not None:
        return scope.outputs.run(form, dtype, args)
    found = kept.plan_for(policy, form, dtype, args)
    if isinstance(found, str):
        tell_once(policy, str(form.expr), found)
        return None
    return kept.run(found, form, dtype, args)
