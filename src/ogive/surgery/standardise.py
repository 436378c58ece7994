"""Scaled weight standardisation: weights whose mean over the fan-in is zero and whose gain fits the activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ogive.errors import InputError, OgiveError
from ogive.surgery.follow import follow
from ogive.surgery.plan import plan


class ScaledStandardisation(nn.Module):
    """``W = g s (V - mean V) / sqrt(var V n + eps)`` over the n weights of one output; g is learned per output.

    ``gain`` is s, the constant of the activation before, 1/std f(z). Put on a weight with
    ``torch.nn.utils.parametrize``. Source: Brock, De and Smith 2021, "Characterizing signal propagation to close
    the performance gap in unnormalized ResNets".

    Args:
        weight: the weight it will be put on.
        gain: a positive number.
        inward: dimensions that are summed over, of which mean and variance are taken; None is all but the first.
        learned: whether g is a parameter (1 at first) or there is none.
    """

    def __init__(
        self, weight: Tensor, gain: float = 1.0, *, inward: Sequence[int] | None = None, learned: bool = True,
        eps: float = 1e-4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inward = tuple(range(1, weight.dim())) if inward is None else tuple(inward)
        self.constant, self.eps = float(gain), float(eps)
        shape = [1 if d in self.inward else n for d, n in enumerate(weight.shape)]
        self.gain = nn.Parameter(torch.ones(shape, device=weight.device, dtype=weight.dtype)) if learned else None

    def forward(self, weight: Tensor) -> Tensor:
        """The standardised weight, of the same shape."""
        fan_in = math.prod(weight.shape[d] for d in self.inward)
        variance, mean = torch.var_mean(weight, dim=self.inward, correction=0, keepdim=True)
        scale = self.constant * torch.rsqrt(torch.clamp(variance * fan_in, min=self.eps))
        return (weight - mean) * (scale if self.gain is None else scale * self.gain)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight as it was given: it is standardised whenever it is used."""
        return weight

    def extra_repr(self) -> str:
        return f"gain={self.constant:.6g}, inward={self.inward}, learned={self.gain is not None}"


def standardise_(
    model: nn.Module, example: Any, *, skip: Sequence[str] = (), learned: bool = True, eps: float = 1e-4
) -> dict[str, float]:
    """Put :class:`ScaledStandardisation` on every convolution and linear weight that an activation feeds, with that
    activation's gain 1/std f(z), and with gain 1 on the others; return the gains by weight.

    The last layer (nothing follows it) is left alone, as in the source. ``torch.nn.utils.parametrize`` holds the
    original; ``remove_parametrizations`` makes it permanent.

    Raises:
        InputError: when a weight is standardised already, or no weight can be.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 2))
    >>> {name: round(gain, 5) for name, gain in standardise_(net, torch.randn(1, 3, 6, 6)).items()}
    {'0.weight': 1.0, '2.weight': 1.71286}
    """
    graph = follow(model, example)
    steps = plan(graph, (), rule="nf", mode="forward", residual="none", skip=(), input_moment=1.0, sigma=None).steps
    gains: dict[str, float] = {}
    for step in steps:
        weight = step.weight
        path, _, attribute = weight.name.rpartition(".")
        last = not any(n.kind == "linear" for n in _below(step.node)) and step.feeds == "-"
        if last or not weight.inward or any(fnmatch(weight.name, pattern) for pattern in skip):
            continue
        module = model.get_submodule(path)
        if parametrize.is_parametrized(module, attribute):
            raise InputError(f"standardise_: {weight.name} has a parametrisation already")
        gains[weight.name] = step.std * math.sqrt(weight.fan_in)
    if not gains:
        raise InputError("standardise_: no weight with a layer behind it was found")
    inward = {s.weight.name: s.weight.inward for s in steps}
    for name, gain in gains.items():
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        original = module.get_parameter(attribute)
        if not math.isfinite(gain):
            raise OgiveError(f"standardise_: the gain of {name} is {gain}")
        parametrize.register_parametrization(
            module, attribute, ScaledStandardisation(original, gain, inward=inward[name], learned=learned, eps=eps)
        )
    return gains


def _below(node: Any) -> list[Any]:
    found: dict[int, Any] = {}
    stack = list(node.children)
    while stack:
        at = stack.pop()
        if at.index not in found:
            found[at.index] = at
            stack.extend(at.children)
    return list(found.values())
