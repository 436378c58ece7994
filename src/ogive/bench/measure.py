"""Figures of a network that are not its score: cost, memory, dead units."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ogive.surgery.modes import evaluating

DEAD_SLOPE = 1e-3


def forward_flops(model: nn.Module, x: Tensor) -> float:
    """Floating point operations of the forward pass for one example.

    Counts matrix products and convolutions, a multiply-add as two; elementwise work is not counted, so
    the figure is equal for all activations unless one brings weights of its own: time is measured apart.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops() / len(x)


def saved_bytes(model: nn.Module, x: Tensor) -> float:
    """Bytes that autograd keeps for the backward pass of one example.

    Distinct storages, those of parameters, buffers and the input itself left out.
    """
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), x)}
    kept: dict[int, torch.UntypedStorage] = {}  # holding the storages keeps an address from being reused

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(x)
    total = sum(storage.nbytes() for storage in kept.values())
    del out
    return total / len(x)


def cost(model: nn.Module, x: Tensor) -> dict[str, float]:
    """params, flops and saved_bytes of a network on a batch; the network itself stays as it was."""
    model = copy.deepcopy(model)
    params = float(sum(p.numel() for p in model.parameters() if p.requires_grad))
    with torch.random.fork_rng(devices=[]):
        flops = forward_flops(model, x)
        return {"params": params, "flops": flops, "saved_bytes": saved_bytes(model, x)}


def dead_share(model: nn.Module, acts: Sequence[nn.Module], x: Tensor) -> float | None:
    """Share of activation units whose slope is below 1e-3 in size on every example.

    A unit is a channel: the last dimension of an activation's input, the second one when there are four
    or more (images); positions count as examples.

    Returns:
        A number in [0, 1], None when no activation was called or its slope cannot be taken.
    """
    calls: list[tuple[nn.Module, Tensor]] = []

    def before(module: nn.Module, args: Any) -> None:
        calls.append((module, args[0].detach()))

    hooks = [act.register_forward_pre_hook(before) for act in acts]
    with evaluating(model):
        try:
            with torch.no_grad():
                model(x)
        finally:
            for hook in hooks:
                hook.remove()
        dead = [_dead_units(module, inputs) for module, inputs in calls]
    units = sum(count.numel() for count in dead)
    return sum(int(count.sum()) for count in dead) / units if units else None


def _dead_units(act: nn.Module, inputs: Tensor) -> Tensor:
    inputs = inputs.clone().requires_grad_()
    with torch.enable_grad():
        # `* 1` because an activation may work in place, which a leaf does not allow
        (slope,) = torch.autograd.grad(act(inputs * 1).sum(), inputs)
    channel = 1 if inputs.dim() >= 4 else inputs.dim() - 1
    return (slope.abs() < DEAD_SLOPE).movedim(channel, 0).flatten(1).all(1)


def grad_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Euclidean norm of all gradients taken as one vector."""
    norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
    return float(torch.stack(norms).norm()) if norms else 0.0
