"""Modules that announce themselves to the tracer; those that carry their formula are taken at their word."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ogive.expr import const, var
from ogive.surgery.formulas import carries_formula

if TYPE_CHECKING:
    from ogive.verify.tracer import Tracer


def watch(tracer: Tracer, stack: ExitStack) -> None:
    """Modules announce themselves while the stack lasts; those that carry their formula are taken at their word."""
    for name, module in tracer.model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        before, after = _hooks(tracer, name, carries_formula(module))
        stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        stack.callback(module.register_forward_hook(after, with_kwargs=True).remove)


def _hooks(tracer: Tracer, name: str, formula: bool) -> tuple[Callable[..., None], Callable[..., None]]:
    held: list[tuple[Tensor, ...] | None] = []

    def before(module: Any, args: Any, kwargs: Any) -> None:
        tracer.where.append(name)
        if not formula:
            return
        inputs: tuple[Tensor, ...] | None = None
        if not tracer.quiet:
            inputs = tuple(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
            if len(module.entry.inputs) == 2 and len(inputs) == 1:
                inputs = tuple(module._halves(inputs[0]))
        held.append(inputs)
        tracer.quiet += 1

    def after(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        tracer.where.pop()
        if not formula:
            return
        tracer.quiet -= 1
        inputs = held.pop()
        if inputs is not None and isinstance(output, Tensor):
            tracer.quiet += 1  # shaping parameters is no part of the model
            try:
                act_module(tracer, module, inputs, output)
            finally:
                tracer.quiet -= 1

    return before, after


def act_module(tracer: Tracer, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """The result of ``ogive.Act`` or a gate: its entry's formula with the parameters it has now."""
    entry: Any = module.entry
    known = [tracer.see(t) for t in inputs]
    if all(k is None for k in known):
        return
    values: dict[str, Any] = {}
    for key in entry.params:
        value = module._placed(key, inputs[0])  # type: ignore[operator]
        if isinstance(value, Tensor):
            operand = tracer._operand(value.detach())
            value = const(operand) if isinstance(operand, float) else operand.expr
        values[key] = const(value) if isinstance(value, float) else value
    for name, tensor, source in zip(entry.inputs, inputs, known):
        if source is not None:
            values[name] = source.expr.substitute({"x": var(f"n{source.step}")})
        else:
            operand = tracer._operand(tensor)
            values[name] = const(operand) if isinstance(operand, float) else operand.expr
    tracer._surrogate(entry.backward, entry.label)
    expr = entry.expr.substitute(values)
    steps = sorted({int(v[1:]) for v in expr.variables() if v.startswith("n")})
    tracer.place(output, expr, steps)
