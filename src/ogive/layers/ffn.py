"""The gated feed-forward layer of transformers, under the names that checkpoints use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ogive.diff import differentiate
from ogive.errors import InputError, ParameterError, closest
from ogive.layers.gate import GLU
from ogive.layers.learn import Learn

if TYPE_CHECKING:
    from typing_extensions import Self

# layout -> names of the linear maps: gate, up, down; or gate and up in one, down.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "llama": ("gate_proj", "up_proj", "down_proj"),
    "t5": ("wi_0", "wi_1", "wo"),
    "fused": ("gate_up_proj", "down_proj"),
}
_PARTS = ("gate", "up", "down")


def two_thirds(dim: int, multiple_of: int = 1) -> int:
    """``2/3 * 4 * dim`` rounded up to a multiple: the hidden size at which a gated layer with its three
    matrices has the parameters of a plain one four times as wide; Shazeer 2020, Touvron et al. 2023.

    >>> two_thirds(4096, 256), two_thirds(512)
    (11008, 1366)
    """
    return -(-8 * dim // (3 * multiple_of)) * multiple_of


class FFN(nn.Module):
    """``y = W_down (act(W_gate x) * act_up(W_up x))``, biases and dropout aside.

    Args:
        dim: size of the last dimension of input and output, positive.
        hidden: units between, positive; None takes ``2/3 * 4 * dim`` rounded up to ``multiple_of``.
        act, act_up: activations of the gate and of the linear branch, as for :class:`GLU`. An entry of two
            inputs ("swiglu_oai") is the whole gate when its first input is what it squashes.
        layout: what the weights are called: ``"llama"`` (gate_proj, up_proj, down_proj), ``"t5"`` (wi_0,
            which is the gate, wi_1, wo) or ``"fused"`` (gate_up_proj, down_proj, as in Phi-3).
        gate: which half of the rows of gate_up_proj is the gate, ``"first"`` or ``"second"``.
        interleaved: rows of gate and up alternate in gate_up_proj (gpt-oss).
        multiple_of: what the automatic ``hidden`` is a multiple of; Llama takes 256.
        bias: whether the linear maps have one.
        dropout: share of hidden units zeroed in training, in [0, 1).
        device, dtype: of the weights.
        **params: of the activations, among them ``expand``: numbers or ``ogive.learn(...)``.

    Raises:
        ParameterError: for a size, layout or share that it cannot take.
        UnknownName, FormulaError: for an activation.

    >>> ffn = FFN(6, act="gelu", layout="t5")
    >>> [f"{name} {tuple(w.shape)}" for name, w in ffn.named_parameters()]
    ['wi_0.weight (16, 6)', 'wi_1.weight (16, 6)', 'wo.weight (6, 16)']
    >>> ffn(torch.zeros(2, 5, 6)).shape
    torch.Size([2, 5, 6])
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        act: Any = "silu",
        act_up: Any = "identity",
        *,
        layout: str = "llama",
        gate: str = "first",
        interleaved: bool = False,
        multiple_of: int = 1,
        bias: bool = False,
        dropout: float = 0.0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **params: float | Learn,
    ) -> None:
        super().__init__()
        for what, size in (("dim", dim), ("hidden", hidden), ("multiple_of", multiple_of)):
            if (type(size) is not int or size < 1) and not (what == "hidden" and size is None):
                raise ParameterError(f"FFN: {what}={size!r}; it takes a positive whole number")
        if layout not in LAYOUTS:
            near = closest(str(layout), LAYOUTS, 1)[0]
            raise ParameterError(f"FFN: layout={layout!r}; it is one of {', '.join(LAYOUTS)} (did you mean {near!r}?)")
        if layout != "fused" and (gate != "first" or interleaved):
            said = "interleaved=True" if gate == "first" else f"gate={gate!r}"
            raise ParameterError(f"FFN: {said} describes layout='fused'; in {layout!r} the names say what the gate is")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0.0 <= dropout < 1.0:
            raise ParameterError(f"FFN: dropout={dropout!r}; it takes a number in [0, 1)")
        self.dim, self.layout, self.bias = dim, layout, bool(bias)
        self.hidden = two_thirds(dim, multiple_of) if hidden is None else hidden
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.act = _gate(act, act_up, gate, interleaved, channels=self.hidden, **where, **params)
        *into, out = LAYOUTS[layout]
        for name in into:
            self.add_module(name, nn.Linear(dim, self.hidden * (3 - len(into)), bias=self.bias, **where))
        self.add_module(out, nn.Linear(self.hidden, dim, bias=self.bias, **where))
        self.dropout = nn.Dropout(dropout)

    def units(self, x: Tensor) -> Tensor:
        """The hidden units, ``act(W_gate x) * act_up(W_up x)``, shape (..., hidden)."""
        if not isinstance(x, Tensor) or not x.dim() or x.shape[-1] != self.dim:
            got = tuple(x.shape) if isinstance(x, Tensor) else f"{type(x).__name__} {x!r}"[:80]
            raise InputError(f"FFN takes a tensor whose last dimension is dim={self.dim}; got {got}")
        result: Tensor = self.act(*(getattr(self, name)(x) for name in LAYOUTS[self.layout][:-1]))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        result: Tensor = getattr(self, LAYOUTS[self.layout][-1])(self.dropout(self.units(x)))
        return result

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], layout: str | None = None, **options: Any) -> Self:
        """The layer of a checkpoint's weights, which say the layout, the sizes and whether there is a bias.

        Args:
            state: weights under the names of any layout, without a prefix.
            layout: of the new layer; None keeps that of ``state``.
            **options: of the constructor: ``act`` and its parameters, ``dropout``, and for fused weights,
                read or written, ``gate`` and ``interleaved``.

        Raises:
            InputError: when the names are those of no layout.

        >>> llama = FFN(4, 8)
        >>> fused = FFN.from_state_dict(llama.state_dict(), layout="fused")
        >>> fused.gate_up_proj.weight.shape, bool(torch.allclose(fused(torch.ones(4)), llama(torch.ones(4))))
        (torch.Size([16, 4]), True)
        """
        found = next((k for k, names in LAYOUTS.items() if all(f"{n}.weight" in state for n in names)), None)
        if found is None:
            known = "; ".join(f"{k}: {', '.join(names)}" for k, names in LAYOUTS.items())
            raise InputError(f"FFN: weights called {', '.join(state)[:200] or 'nothing'} are of no layout ({known})")
        target = found if layout is None else layout
        order = options.get("gate", "first"), options.get("interleaved", False)
        if target != "fused":
            options = {k: v for k, v in options.items() if k not in ("gate", "interleaved")}
        parts = _split(state, found, *order)
        hidden, dim = parts["gate.weight"].shape
        first = parts["gate.weight"]
        new = cls(dim, hidden, layout=target, bias="gate.bias" in parts,
                  **{"device": first.device, "dtype": first.dtype, **options})  # fmt: skip
        learned = {k: v for k, v in state.items() if k.startswith("act.")}
        new.load_state_dict({**_join(parts, target, *order), **learned})
        return new

    def extra_repr(self) -> str:
        return f"{self.dim}, hidden={self.hidden}, layout={self.layout}"


def _gate(act: Any, act_up: Any, gate: str, interleaved: bool, **options: Any) -> GLU:
    whole = GLU(act, act_up, interleaved=interleaved, **options)
    if whole.gate is not None:
        return GLU(act, act_up, gate=gate, interleaved=interleaved, **options)
    entry = whole.entry
    squashed = [name in differentiate(entry.expr, name).variables() for name in entry.inputs]
    if squashed == [False, True]:
        raise ParameterError(
            f"FFN: {entry.label} is {entry}, which squashes its second input, and the gate comes first here; "
            "name the activation of the gate instead, act='sigmoid'"
        )
    if gate != "first":
        raise ParameterError(f"FFN: gate={gate!r}, but the formula {entry} has its own order, the gate first")
    return whole


def _split(state: Mapping[str, Tensor], layout: str, gate: str, interleaved: bool) -> dict[str, Tensor]:
    """Weights of a layout as gate.weight, up.weight, down.weight and their biases."""
    parts: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        found = [state[key] for n in LAYOUTS[layout] if (key := f"{n}.{kind}") in state]
        if len(found) == 2:
            both = (found[0][::2], found[0][1::2]) if interleaved else found[0].chunk(2)
            found = [*(both if gate == "first" else both[::-1]), found[1]]
        parts.update({f"{part}.{kind}": w for part, w in zip(_PARTS, found)})
    return parts


def _join(parts: Mapping[str, Tensor], layout: str, gate: str, interleaved: bool) -> dict[str, Tensor]:
    """The inverse of :func:`_split`."""
    state: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        found = [parts[key] for part in _PARTS if (key := f"{part}.{kind}") in parts]
        if found and layout == "fused":
            both = found[:2] if gate == "first" else found[1::-1]
            rows = torch.stack(both, 1).flatten(0, 1) if interleaved else torch.cat(both)
            found = [rows, found[2]]
        state.update({f"{name}.{kind}": w for name, w in zip(LAYOUTS[layout], found)})
    return state
