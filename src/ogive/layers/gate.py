"""Gated linear units: one activation times another, from two tensors or from the halves of one."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation, Param
from ogive.errors import FormulaError, InputError, ParameterError, closest
from ogive.expr import Expr, var
from ogive.layers.act import Act
from ogive.layers.learn import Learn
from ogive.lookup import get

SIDES = ("first", "second")
_OWN = ("x", "y", "gate", "interleaved", "expand", "branches")  # no parameter of a branch is called so
_FAR = 1e6


class GLU(Act):
    """``y = act(a) * act_up(b)``: a gate ``a`` and a linear branch ``b``, any activation on either.

    One formula in two inputs: forward and each partial derivative run as one kernel, and backward keeps the
    two inputs and nothing else (the one tensor, when they are cut from it). ReGLU is ``GLU("relu")``, GEGLU
    ``GLU("gelu")``, SwiGLU ``GLU("silu")``, Bilinear ``GLU("identity")``, dReLU ``GLU("relu", "relu")``.

    Called with two tensors, the gate comes first. One tensor is cut in half along ``dim``, and which half is
    the gate is declared by ``gate``, because libraries disagree:

    ========== =============================================================================
    ``first``  Llama's and Phi-3's fused gate_up_proj, T5's wi_0 before wi_1, Shazeer's paper
    ``second`` ``torch.nn.GLU``, WaveNet's gated tanh, GEGLU of diffusion libraries
    ========== =============================================================================

    Args:
        act: activation of the gate: a name, a formula in x, an Activation. An entry of two inputs
            ("swiglu") is the whole gate, called in the order of its formula, the first half its first input.
        act_up: activation of the other branch.
        gate: ``"first"`` or ``"second"``. None follows the source: a bare sigmoid gates by the second half
            (Dauphin et al. 2017, ``torch.nn.GLU``), anything else by the first (Shazeer 2020).
        interleaved: the two branches alternate along ``dim`` (gpt-oss) instead of lying side by side.
        expand: stretch the gate's range from (0, 1) to (-expand, 1 + expand): ``(1 + 2 expand) g - expand``
            for a gate g, times x for a self-gated ``x g(x)`` such as silu; a number or ``ogive.learn(...)``,
            which starts at 0. xSwiGLU of first order is ``GLU("sigmoid", expand=learn())``, xGEGLU
            ``GLU("Phi(x)", expand=learn())``; of second order it is silu and gelu there. Source: Huang 2024,
            "Expanded gating ranges improve activation functions".
        channels: of each half, for parameters learned per channel.
        dim: the dimension that is cut, also that of the channels.
        shape, device, dtype: of learned parameters, as for :class:`ogive.Act`.
        **params: parameters of either branch, numbers or ``ogive.learn(...)``. A name that both have is the
            gate's; ``act_up``'s is ``name_2``.

    Raises:
        UnknownName, FormulaError: for an activation; FormulaError too for a declared surrogate derivative on
            ``act_up`` (give that one as ``act``).
        ParameterError: for a side that is not one, a gate that cannot be expanded, a wrong parameter.

    >>> x = torch.randn(2, 6)
    >>> torch.allclose(GLU()(x), torch.nn.functional.glu(x))
    True
    >>> GLU("swish", "tanh", beta=1.5)
    GLU(swish, tanh, beta=1.5, gate=first, dim=-1)
    >>> list(GLU("sigmoid", expand=Learn()).state_dict())
    ['raw_expand']
    """

    def __init__(
        self,
        act: Any = "sigmoid",
        act_up: Any = "identity",
        *,
        gate: str | None = None,
        interleaved: bool = False,
        expand: float | Learn | None = None,
        channels: int | None = None,
        dim: int = -1,
        shape: tuple[int, ...] | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **params: float | Learn,
    ) -> None:
        first, up = get(act), get(act_up)
        if gate is not None and gate not in SIDES:
            near = closest(str(gate), SIDES, 1)[0]
            raise ParameterError(f"GLU: gate={gate!r}; it is 'first' or 'second' (did you mean {near!r}?)")
        if len(first.inputs) == 2:
            _whole(first, up, gate, expand)
            entry, labels = first, [first.label]
        else:
            entry = gated(first, up, expanded=expand is not None)
            labels = [first.label, up.label]
            published = "second" if first is get("sigmoid") and expand is None else "first"
            gate = gate or published
        given: dict[str, Any] = params if expand is None else {**params, "expand": expand}
        super().__init__(entry, channels=channels, dim=dim, shape=shape, device=device, dtype=dtype, **given)
        self.gate, self.interleaved, self.branches = gate, bool(interleaved), tuple(labels)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """``act(x) * act_up(y)``, or of the two halves of ``x`` along ``dim``."""
        if isinstance(x, Tensor) and isinstance(y, Tensor) and not _broadcast(x.shape, y.shape):
            raise InputError(
                f"{self.entry.label}: its two inputs have the shapes {tuple(x.shape)} and {tuple(y.shape)}, "
                "which do not fit together"
            )
        return super().forward(x, y)

    def _joined(self, x: Tensor) -> Tensor | None:
        self._second_first = self.gate == "second"
        return None if self.interleaved else super()._joined(x)

    def _halves(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.interleaved and isinstance(x, Tensor) and -x.dim() <= self.dim < x.dim() and not x.shape[self.dim] % 2:
            at = self.dim % x.dim()
            halves = x.unflatten(at, (x.shape[at] // 2, 2)).unbind(at + 1)  # views, like those of chunk
        else:
            halves = super()._halves(x)
        return halves[::-1] if self.gate == "second" else halves

    def extra_repr(self) -> str:
        parts = [*self.branches, *(f"{key}={self._shown(key)}" for key in self.entry.params)]
        if self.gate is not None:
            parts.append(f"gate={self.gate}")
        if self.interleaved:
            parts.append("interleaved=True")
        return ", ".join([*parts, f"dim={self.dim}"])


class SimpleGate(GLU):
    """``y = a * b`` of the two halves of the channels, no activation anywhere; Chen et al. 2022, NAFNet.

    Args:
        dim: the dimension that is cut, 1 for images.

    >>> SimpleGate()(torch.full((1, 4, 2, 2), 3.0)).shape
    torch.Size([1, 2, 2, 2])
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__("identity", "identity", gate="first", dim=dim)


@lru_cache(maxsize=512)
def gated(act: Activation, act_up: Activation, expanded: bool = False) -> Activation:
    """The activation ``act(x) * act_up(y)`` of two inputs; with ``expanded``, its gate stretched by a
    parameter ``expand``, 0 by default. Equal arguments give the same object, so layers share their kernels.

    Raises:
        FormulaError: when ``act_up`` has a declared surrogate derivative, or a branch takes two inputs.
        ParameterError: when ``expanded`` asks for a function that is not gated.

    >>> from ogive import get
    >>> print(gated(get("silu"), get("identity")))
    x*sigmoid(x)*y
    """
    label = f"GLU({act.label}, {act_up.label})"
    for branch in (act, act_up):
        if len(branch.inputs) != 1:
            raise FormulaError(f"{label}: {branch.label} takes two inputs; a branch is an activation of one")
    if act_up.backward is not None:
        raise FormulaError(
            f"{label}: {act_up.label} has a declared surrogate derivative, which works on the gate only; give it "
            f"as act and {act.label} as act_up (the product is the same), with the other half as the gate"
        )
    x, y = var("x"), var("y")
    names, params = _renamed(act, {})
    left = act(x, **names)
    slope = None if act.backward is None else act.backward.substitute({act.inputs[0]: x, **names})
    if expanded:
        params["expand"] = Param(0.0, decay=False)
        wide, shift = 1.0 + 2.0 * var("expand"), var("expand") * (x if _self_gated(act) else 1.0)
        left = wide * left - shift
        slope = None if slope is None else wide * slope - (var("expand") if _self_gated(act) else 0.0)
    names, more = _renamed(act_up, params)
    right = act_up(y, **names)
    surrogate = None if slope is None else slope * right
    return Activation(left * right, ("x", "y"), {**params, **more}, label, backward=surrogate)


def _renamed(act: Activation, taken: Collection[str]) -> tuple[dict[str, Expr], dict[str, Param]]:
    """Names for the parameters of ``act`` that are not ``taken``: beta, beta_2, ..."""
    names: dict[str, Expr] = {}
    params: dict[str, Param] = {}
    for key, param in act.params.items():
        new, i = key, 2
        while new in taken or new in params or new in _OWN:
            new, i = f"{key}_{i}", i + 1
        names[key], params[new] = var(new), param
    return names, params


def _self_gated(act: Activation) -> bool:
    """Whether ``act`` goes as x g(x) with a gate g from 0 to 1, rather than being such a gate."""
    low, high = act(-_FAR), act(_FAR)
    for self_gated, size in ((False, 1.0), (True, _FAR)):
        if abs(high / size - 1.0) < 1e-3 and abs(low / size) < 1e-3:
            return self_gated
    raise ParameterError(
        f"expand: {act.label} goes from {low:.4g} at {-_FAR:g} to {high:.4g} at {_FAR:g}; what can be expanded is "
        "a gate from 0 to 1 (sigmoid) or x times such a gate (silu, gelu, relu)"
    )


def _whole(entry: Activation, up: Activation, gate: str | None, expand: object) -> None:
    """Refuse what cannot be said of an entry that is a gate already."""
    if up is not get("identity") or expand is not None:
        what = f"act_up={up.label!r}" if expand is None else f"expand={expand!r}"
        raise ParameterError(f"GLU({entry.label}): it is a whole gate of two inputs, which {what} cannot change")
    if gate is not None:
        raise ParameterError(
            f"GLU({entry.label}): gate={gate!r}, but the formula {entry} has its own order, the first half is "
            f"{entry.inputs[0]}; name the branches instead, GLU('silu', gate='second')"
        )


def _broadcast(a: torch.Size, b: torch.Size) -> bool:
    return all(m == n or m == 1 or n == 1 for m, n in zip(reversed(a), reversed(b)))
