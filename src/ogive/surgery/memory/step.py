"""A training step on the user's batch: its gradient, the bytes kept for backward, its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.surgery.effect import trainable
from ogive.surgery.follow import arguments
from ogive.surgery.memory.peak import peak_bytes
from ogive.surgery.memory.scope import Meter
from ogive.surgery.provenance import tensors_in
from ogive.surgery.report import Figure

Loss = Callable[[nn.Module], Tensor]


@dataclass(frozen=True)
class Step:
    """The loss, the gradient by parameter name (None: the loss does not depend on it), and the bytes kept."""

    loss: float
    gradient: Mapping[str, Tensor | None]
    kept: int


def mean_square(batch: Any) -> Loss:
    """The mean square of the model's first floating output on ``batch``."""

    def loss(model: nn.Module) -> Tensor:
        args, kwargs = arguments(batch)
        output = model(*args, **kwargs)
        found = [t for t in tensors_in(output if isinstance(output, (tuple, list, Mapping)) else (output,))
                 if t.is_floating_point()]  # fmt: skip
        if not found:
            raise InputError("the model returns no floating tensor; give loss=, a function of the model")
        return found[0].float().square().mean()

    return loss


@contextmanager
def as_it_was(model: nn.Module, seed: int) -> Iterator[None]:
    """Buffers and the random state of before, whatever a step in training mode does to them; dropout by ``seed``."""
    buffers = {id(b): (b, b.detach().clone()) for b in model.buffers()}
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in buffers.values():
                    buffer.copy_(value)


def step(model: nn.Module, batch: Any, loss: Loss, seed: int) -> Step:
    """One forward and backward in the model's own mode; ``.grad`` is not touched.

    Kept bytes do not count parameters, buffers and the batch, which are there anyway.
    """
    parameters = trainable(model)
    known = [*model.parameters(), *model.buffers(), *tensors_in(arguments(batch))]
    with as_it_was(model, seed):
        with torch.enable_grad(), Meter(known) as meter:
            value = _scalar(loss(model))
            kept = meter.bytes
        found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    return Step(float(value.detach()), dict(zip(parameters, found)), kept)


def peak(model: nn.Module, loss: Loss, seed: int) -> float:
    """The most bytes that a forward and backward hold at one time, gradients included; what was there before is not."""
    parameters = list(trainable(model).values())
    with as_it_was(model, seed), torch.enable_grad():
        return peak_bytes(
            lambda: torch.autograd.grad(_scalar(loss(model)), parameters, allow_unused=True), model.parameters()
        )


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1 or value.grad_fn is None:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"loss= gave {got}; it takes the model and returns one number that depends on its parameters")
    return value.reshape(())


def step_time(
    model: nn.Module, loss: Loss, put: Callable[[], Callable[[], None]], seed: int, rounds: int = 7
) -> Figure:
    """Milliseconds of forward and backward before and after, in turn, the low quartile of ``rounds`` each."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for changed in (False, True):
            away = put() if changed else None
            try:
                with as_it_was(model, seed), torch.enable_grad():
                    parameters = [p for p in model.parameters() if p.requires_grad]
                    began = time.perf_counter()
                    torch.autograd.grad(_scalar(loss(model)), parameters, allow_unused=True)
                    if turn:
                        took[changed].append(1e3 * (time.perf_counter() - began))
            finally:
                if away is not None:
                    away()
    low = [sorted(t)[len(t) // 4] for t in took]
    return Figure("time of a step", low[0], low[1], unit="ms")


def compared(before: Step, after: Step) -> list[Figure]:
    """Cosine and relative distance of the gradients of the parameters that both have."""
    both = [(a, b) for name, a in before.gradient.items() if a is not None
            for b in [after.gradient.get(name)] if b is not None]  # fmt: skip
    dot = sum(float((a.double() * b.double()).sum()) for a, b in both)
    one, two = (sum(float(t.double().square().sum()) for t in side) for side in zip(*both)) if both else (0.0, 0.0)
    apart = sum(float((a.double() - b.double()).square().sum()) for a, b in both)
    cosine = dot / (one * two) ** 0.5 if one * two > 0.0 else float("nan")
    distance = (apart / one) ** 0.5 if one > 0.0 else float("nan")
    return [Figure("gradient, cosine to exact", 1.0, cosine), Figure("gradient, relative change", 0.0, distance)]
