"""Follow the signal through one forward run of any model.

One mechanism for every model: a ``TorchFunctionMode`` sees functions, tensor methods and operators alike.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.surgery.follower import Follower, OnLinear
from ogive.surgery.graph import Graph
from ogive.surgery.modes import evaluating
from ogive.surgery.provenance import STARTS, Known, tensors_in


def follow(model: nn.Module, example: Any, on_linear: OnLinear | None = None) -> Graph:
    """The graph of ``model`` on ``example``: a tensor, a tuple of arguments or a dict of named ones.

    The model runs once in evaluation mode (batch normalisation with the statistics of the example) and is left as
    it was. Raises :class:`~ogive.errors.InputError` for an example without tensors; errors of the model itself
    pass through.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a model, an nn.Module; got {type(model).__name__}: {str(model)[:80]!r}")
    args, kwargs = arguments(example)
    follower = Follower(model, on_linear)
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        if "torch._dynamo" in sys.modules:  # what was compiled runs as it was written
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        args, kwargs = _own(args), _own(kwargs)
        for tensor in tensors_in((args, kwargs)):
            if tensor.is_floating_point():
                follower._learn(tensor, Known(follower._node("input", "input", (), tensor)))
        stack.enter_context(follower.hooks())
        with follower:
            output = model(*args, **kwargs)
        last = []
        for t in tensors_in(output if isinstance(output, (tuple, list, Mapping)) else (output,)):
            known = follower.see(t)
            if known is not None and known.node.kind not in STARTS:
                last.append(follower._use(known, t))
    return Graph(tuple(follower.nodes), tuple(dict.fromkeys(last)), tuple(follower.stops.values()))


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping) and all(isinstance(k, str) for k in example) and tensors_in(dict(example)):
        return (), dict(example)
    if isinstance(example, (tuple, list)) and tensors_in(tuple(example)):
        return tuple(example), {}
    raise InputError(
        f"the example is what the model is called with: a tensor, a tuple of arguments or a dict of named ones; "
        f"got {type(example).__name__}: {str(example)[:80]!r}"
    )


def _own(value: Any) -> Any:
    """Copies that record gradients, so that the autograd graph leads back to them."""
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            return value
        copy = value.detach().clone()
        return copy.requires_grad_().clone()
    if isinstance(value, dict):
        return {k: _own(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_own(v) for v in value)
    return value
