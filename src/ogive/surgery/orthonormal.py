"""Deep networks without shortcuts: a penalty that keeps filters orthonormal, and gradients evened out on their way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError

_TURNED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)  # stored as (in, out/groups, *kernel)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TURNED)


def orthonormality(model: nn.Module, strength: float = 1.0, *, skip: Iterable[str] = ()) -> Tensor:
    """``strength/2 sum over layers of |G - I|_F^2``, G the inner products of a layer's filters; add it to the loss.

    A filter is what one output of a linear layer or convolution multiplies its inputs with, G = W W^T of shape (out,
    out). Where there are more filters than inputs (in a group) they cannot all be orthogonal, and W^T W is taken; that
    is this library's reading, as is that every linear layer and convolution counts.

    Args:
        model: any module with linear layers or convolutions.
        strength: from 0; the source takes 1e-4.
        skip: names or patterns of modules to leave, such as ``"head*"``.

    Raises:
        InputError: where no layer is left. ParameterError: for a strength below 0.

    Source: Xie, Xiong and Pu 2017, "All you need is beyond a good init".

    >>> layer = nn.Linear(3, 3)
    >>> with torch.no_grad(): _ = layer.weight.copy_(2 * torch.eye(3))
    >>> orthonormality(layer).item()  # 3 (4 - 1)^2 / 2
    13.5
    """
    if not (math.isfinite(strength) and strength >= 0.0):
        raise ParameterError(f"orthonormality: strength={strength!r}; it takes a number from 0")
    total: Tensor | None = None
    for _, layer in _layers(model, skip, "orthonormality"):
        rows = filters(layer)
        if rows.shape[1] > rows.shape[2]:
            rows = rows.transpose(1, 2)
        off = rows @ rows.transpose(1, 2) - torch.eye(rows.shape[1], device=rows.device, dtype=rows.dtype)
        here = off.square().sum()
        total = here if total is None else total + here.to(total)
    assert total is not None
    return 0.5 * strength * total


def filters(layer: nn.Module) -> Tensor:
    """The filters of a linear layer or convolution as rows: (groups, filters of a group, inputs of a filter).

    >>> filters(nn.Conv2d(4, 6, 3, groups=2)).shape
    torch.Size([2, 3, 18])
    """
    if not isinstance(layer, _LAYERS):
        raise InputError(f"filters: {type(layer).__name__} is neither a linear layer nor a convolution")
    weight, groups = layer.weight, int(getattr(layer, "groups", 1))
    if isinstance(layer, _TURNED):
        return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(2)
    return weight.flatten(1).unflatten(0, (groups, -1))


@dataclass
class Modulation:
    """What :func:`modulated` did in the last backward run. ``arrived`` is the norm of the gradient that came to the
    output of each layer, ``factor`` what it was multiplied by, both in the order of the run, from the loss down;
    ``reference`` is the norm that the others are brought to, 0 before the first backward run."""

    arrived: dict[str, float] = field(default_factory=dict)
    factor: dict[str, float] = field(default_factory=dict)
    reference: float = 0.0

    def __repr__(self) -> str:
        if not self.factor:
            return "Modulation(no backward run yet)"
        return (f"Modulation({len(self.factor)} layers, factors from {min(self.factor.values()):.3g} to "
                f"{max(self.factor.values()):.3g})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


@contextmanager
def modulated(model: nn.Module, limit: float = 1.0, *, skip: Iterable[str] = ()) -> Iterator[Modulation]:
    """While open, backward runs give every layer's output a gradient of one norm: that of the layer next to the loss.

    The gradient at a linear layer's or convolution's output is multiplied by ``reference/norm`` where the two differ by
    more than the factor ``limit``, and goes on so to the layers below. Directions stay, so each layer takes the step it
    would have taken with a learning rate of its own. The model may be run many times; a layer that is used twice in one
    run is evened out at each use.

    The source evens the errors of consecutive layers, which a quasi-isometry would keep; of its procedure only the
    outline could be read, so norm, reference and limit are this library's reading.

    Args:
        model: any module; nothing in it is changed, the hooks go when the block ends.
        limit: from 1 (all layers alike); 10 leaves norms within a factor of ten of the reference.
        skip: names or patterns of modules to leave.

    Raises:
        InputError: where no layer is left. ParameterError: for a limit below 1. OgiveError: in the backward run, for a
        gradient that is not finite.

    Source: Xie, Xiong and Pu 2017, "All you need is beyond a good init", backward error modulation.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    >>> with modulated(net) as done:
    ...     net(torch.ones(2, 4)).square().sum().backward()
    >>> list(done.factor), done.factor["2"], abs(done.factor["0"] * done.arrived["0"] / done.reference - 1) < 1e-6
    (['2', '0'], 1.0, True)
    """
    if not (math.isfinite(limit) and limit >= 1.0):
        raise ParameterError(f"modulated: limit={limit!r}; it takes a number from 1")
    done = Modulation()
    layers = _layers(model, skip, "modulated")

    def begin(*_: Any) -> None:
        done.reference = 0.0

    def on_forward(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Tensor) -> Tensor | None:
            if not output.requires_grad:
                return None
            held = output.clone()  # what follows may change its input in place
            held.register_hook(lambda gradient: even(name, gradient))
            return held

        return hook

    def even(name: str, gradient: Tensor) -> Tensor:
        norm = float(torch.linalg.vector_norm(gradient.double()))
        if not math.isfinite(norm):
            raise OgiveError(f"modulated: the gradient at the output of {name or 'the model'} is not finite")
        if done.reference == 0.0:
            done.arrived.clear()
            done.factor.clear()
            done.reference = norm
        apart = norm / done.reference if done.reference > 0.0 else 1.0
        factor = 1.0 / apart if apart > 0.0 and not 1.0 / limit <= apart <= limit else 1.0
        done.arrived[name], done.factor[name] = norm, factor
        return gradient if factor == 1.0 else gradient * factor

    handles = [model.register_forward_pre_hook(begin)]
    handles += [layer.register_forward_hook(on_forward(name)) for name, layer in layers]
    try:
        yield done
    finally:
        for handle in handles:
            handle.remove()


def _layers(model: nn.Module, skip: Iterable[str], what: str) -> list[tuple[str, nn.Module]]:
    if isinstance(skip, str):
        raise ParameterError(f"{what}: skip={skip!r}; it takes a list of names or patterns: [{skip!r}]")
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a model, an nn.Module; got {type(model).__name__}: {str(model)[:80]!r}")
    patterns = tuple(skip)
    found: list[tuple[str, nn.Module]] = [
        (name, m)
        for name, m in model.named_modules()
        if isinstance(m, _LAYERS) and not any(fnmatch(name, p) for p in patterns)
    ]
    if not found:
        raise InputError(f"{what}: {type(model).__name__} has no linear layer or convolution"
                         f"{' that skip leaves' if patterns else ''}")  # fmt: skip
    return found
