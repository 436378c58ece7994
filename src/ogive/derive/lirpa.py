"""Any activation as a custom operation of auto_LiRPA, with our images and lines in place of its relaxations."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.bounds import bounds, support_lines
from ogive.derive.image import image
from ogive.errors import OgiveError
from ogive.lookup import scalar

OPERATION = "custom::OgiveActivation"
PACE = 0.2  # slopes per unit of alpha: auto_LiRPA's usual rate, 0.1, is meant for points and five times too fast here

_exported: list[tuple[Activation, dict[str, float]]] = []


class LirpaActivation(nn.Module):
    """``f(x)`` for a model that auto_LiRPA is to bound: its graph shows one operation, bounded by this library."""

    def __init__(self, key: int) -> None:
        super().__init__()
        self.key = key

    def forward(self, x: Tensor) -> Tensor:
        """f, element by element."""
        result: Tensor = _Operation.apply(x, self.key)
        return result

    def extra_repr(self) -> str:
        """The activation's name or formula."""
        act, values = _exported[self.key]
        return ", ".join([act.label, *(f"{k}={v:g}" for k, v in values.items())])


class _Operation(torch.autograd.Function):
    @staticmethod
    def symbolic(g: Any, x: Any, key: int) -> Any:
        return g.op(OPERATION, x, key_i=key)

    @staticmethod
    def forward(ctx: Any, x: Tensor, key: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.key = key
        return _value(key, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (g,) = torch.autograd.grad(_value(ctx.key, x), x, grad)
        return g, None


def _value(key: int, x: Tensor) -> Tensor:
    act, values = _exported[key]
    y: Tensor = act(x, **values)
    return y


def lirpa(spec: Any, **params: float) -> LirpaActivation:
    """A module that computes f and that auto_LiRPA bounds with the exact image and the lines of least area.

    In a model given to ``auto_LiRPA.BoundedModule`` use ``lirpa("golu")`` where the activation stands. Its IBP becomes
    the exact image, its CROWN the lines of :func:`ogive.derive.bounds.bounds`; its optimised bounds start from these
    and change their slopes, which :func:`ogive.derive.bounds.support_lines` keeps sound. ``spec`` is an activation of
    one input, ``params`` are numbers. Raises :class:`~ogive.errors.OgiveError` without auto_LiRPA (a package on GitHub,
    Verified-Intelligence/auto_LiRPA; the operation is written against 0.7).
    """
    found = scalar(spec, "auto_LiRPA's operation", params)
    _register()
    _exported.append(found)
    return LirpaActivation(len(_exported) - 1)


@lru_cache(maxsize=1)
def _register() -> None:
    try:
        from auto_LiRPA import register_custom_op
        from auto_LiRPA.operators.activation_base import BoundOptimizableActivation
    except ImportError:
        raise OgiveError(
            "auto_LiRPA is not installed: pip install git+https://github.com/Verified-Intelligence/auto_LiRPA"
        ) from None

    class BoundOgiveActivation(BoundOptimizableActivation):
        """One activation of this library inside a bounded graph; ``alpha`` are slopes of lines over :data:`PACE`."""

        def __init__(self, attr: Any = None, inputs: Any = None, output_index: int = 0, options: Any = None) -> None:
            super().__init__(attr, inputs, output_index, options)
            self.key = int(attr["key"])
            self.use_default_ibp = False

        def forward(self, x: Tensor) -> Tensor:
            return _value(self.key, x)

        def interval_propagate(self, *v: Any) -> tuple[Tensor, Tensor]:
            act, values = _exported[self.key]
            return image(act, v[0][0], v[0][1], **values)

        def _init_opt_parameters_impl(self, size_spec: int, name_start: Any = None) -> Tensor:
            act, values = _exported[self.key]
            lo, hi = self.inputs[0].lower, self.inputs[0].upper
            lines = bounds(act, lo.detach(), hi.detach(), None, **values)
            # slopes of the lower line, then of the upper; of each for the lower and for the upper bound of the start
            both = torch.stack([lines.lower_slope, lines.lower_slope, lines.upper_slope, lines.upper_slope])
            return both.unsqueeze(1).expand(4, size_spec, *lo.shape) / PACE

        def bound_relax(self, x: Any, init: bool = False, dim_opt: Any = None) -> None:
            act, values = _exported[self.key]
            if self.opt_stage in ("opt", "reuse"):
                slopes = self.alpha[self._start] * PACE
                shape = slopes[:2].shape
                made = support_lines(
                    act, x.lower.expand(shape), x.upper.expand(shape), slopes[:2], slopes[2:], **values
                )
            else:
                made = bounds(act, x.lower, x.upper, None, **values)
            self.lw, self.lb = made.lower_slope, made.lower_intercept
            self.uw, self.ub = made.upper_slope, made.upper_intercept

    register_custom_op(OPERATION, BoundOgiveActivation)
