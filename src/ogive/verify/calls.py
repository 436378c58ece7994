"""torch's calls that are no formulas: matrix products, convolutions, pooling, normalisation, softmax, masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ogive.expr import const, var
from ogive.surgery.formulas import carries_formula
from ogive.surgery.provenance import tensors_in
from ogive.verify.axis import Maximum, Softmax
from ogive.verify.linear import Convolution, Dense, Known, Reshaped, Scaled, Traced
from ogive.verify.products import MatrixProduct

if TYPE_CHECKING:
    from ogive.verify.tracer import Seen, Tracer

SUMS = {"sum", "mean", "cumsum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
        "adaptive_avg_pool3d", "lp_pool1d", "trace"} - {"lp_pool1d"}  # fmt: skip
WEIGHTED = {"matmul", "mm", "bmm", "mv", "rmatmul", "einsum", "tensordot", "conv_transpose1d", "conv_transpose2d",
            "conv_transpose3d", "conv1d", "conv2d", "conv3d", "dot", "inner", "outer", "kron", "linear"}  # fmt: skip
_SAME_ORDER = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel"}
NEVER = -1e30  # stands for -inf in a mask: exp of it is 0 in every precision

Sources = dict[int, tuple[Tensor, "Seen"]]
Special = Callable[["Tracer", tuple[Any, ...], Mapping[str, Any], Sources, list[Tensor]], bool]


class Replay:
    """A call with other tensors in the place of those it was traced with; ``which`` of several results."""

    def __init__(
        self, func: Any, args: Any, kwargs: Any, slots: Mapping[int, int], which: int, several: bool
    ) -> None:  # fmt: skip
        self.func, self.slots, self.which, self.several = func, slots, which, several
        self.args, self.kwargs = _detached(args, slots), _detached(kwargs, slots)

    def __call__(self, *values: Tensor) -> Tensor:
        found = self.func(*_filled(self.args, values), **_filled(self.kwargs, values))
        return tensors_in((found,))[self.which] if self.several else found


class _Slot:
    def __init__(self, place: int) -> None:
        self.place = place


def _detached(value: Any, slots: Mapping[int, int]) -> Any:
    if isinstance(value, Tensor):
        return _Slot(slots[id(value)]) if id(value) in slots else value.detach()
    if isinstance(value, Mapping):
        return {k: _detached(v, slots) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_detached(v, slots) for v in value)
    return value


def _filled(value: Any, values: tuple[Tensor, ...]) -> Any:
    if isinstance(value, _Slot):
        return values[value.place]
    if isinstance(value, dict):
        return {k: _filled(v, values) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_filled(v, values) for v in value)
    return value


def replaced(value: Any, symbols: Mapping[int, Any]) -> Any:
    """Arguments with symbols in the place of tensors."""
    if isinstance(value, Tensor):
        return symbols.get(id(value), value)
    if isinstance(value, Mapping):
        return {k: replaced(v, symbols) for k, v in value.items()}
    return tuple(replaced(v, symbols) for v in value) if isinstance(value, (tuple, list)) else value


def keeps_order(name: str, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    return name in _SAME_ORDER and math.prod(before) == math.prod(after)


def reshaped(name: str, before: tuple[int, ...], after: tuple[int, ...]) -> Reshaped:
    return Reshaped(name, before, after)


def _bound(names: tuple[str, ...], args: Any, kwargs: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    return {**defaults, **dict(zip(names, args)), **kwargs}


def _linear(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = _bound(("input", "weight", "bias"), args, kwargs, bias=None)
    if len(sources) != 1 or id(got["input"]) not in sources:
        return False
    step = tracer.inputs(sources)[0][1]
    tracer.learn(
        made[0],
        tracer.step(
            Dense("linear", tracer.held(got["weight"]), tracer.held(got["bias"])), (step,), tuple(made[0].shape)
        ),
    )
    return True


def _conv(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = _bound(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, kwargs, bias=None)
    options: dict[str, Any] = {k: got[k] for k in ("stride", "padding", "dilation", "groups") if k in got}
    if len(sources) != 1 or id(got["input"]) not in sources or isinstance(options.get("padding"), str):
        return False
    x, step = tracer.inputs(sources)[0]
    weight = tracer.held(got["weight"])
    operation = Convolution(f"conv{weight.dim() - 2}d", weight, tracer.held(got["bias"]), tuple(x.shape), options)
    tracer.learn(made[0], tracer.step(operation, (step,), tuple(made[0].shape)))
    return True


def _matmul(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    a, b = args[0], args[1] if len(args) > 1 else kwargs.get("other", kwargs.get("mat2"))
    shape = tuple(made[0].shape)
    if id(a) in sources and id(b) not in sources and b.dim() == 2 and b.shape[0] == a.shape[-1]:
        step = tracer.inputs(sources)[0][1]
        tracer.learn(made[0], tracer.step(Dense("matmul", tracer.held(b).mT, None), (step,), shape))
        return True
    if len(sources) != 2 and a is not b:
        return False
    if a.dim() < 2 or b.dim() < 2:
        raise tracer.refuse(
            "a matrix product of two signals", "has a vector in it, which is not followed; unsqueeze it"
        )
    steps = {i: tracer.use(k, tuple(t.shape)) for i, (t, k) in sources.items()}
    lead = shape[:-2]
    left = tracer.spread(steps[id(a)], (*lead, *a.shape[-2:]))
    right = tracer.spread(steps[id(b)], (*lead, *b.shape[-2:]))
    tracer.learn(made[0], tracer.step(MatrixProduct(), (left, right), shape))
    return True


def _rmatmul(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    return _matmul(tracer, (args[1], args[0]), kwargs, sources, made)


def _softmax(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = _bound(("input", "dim"), args, kwargs, dim=None)
    x, step = tracer.inputs(sources)[0]
    if got["dim"] is None:
        raise tracer.refuse("softmax", "has no dim")
    tracer.learn(made[0], _on_last(tracer, step, tuple(x.shape), got["dim"], Softmax(), False))
    return True


def _on_last(tracer: Tracer, step: int, shape: tuple[int, ...], dim: int, operation: Any, reduces: bool) -> int:
    """A step that acts on the last dimension, applied to ``dim``."""
    at = dim % len(shape)
    order = [i for i in range(len(shape)) if i != at] + [at]
    moved = tuple(shape[i] for i in order)
    if at != len(shape) - 1:
        step = tracer.step(Traced("movedim", lambda x: x.permute(order), [shape], (), True), (step,), moved)
    step = tracer.step(operation, (step,), moved[:-1] if reduces else moved)
    if at != len(shape) - 1 and not reduces:
        back = [order.index(i) for i in range(len(shape))]
        step = tracer.step(Traced("movedim", lambda x: x.permute(back), [moved], (), True), (step,), shape)
    return step


def _extreme(sign: float) -> Special:
    """The largest (or smallest) element over one or several dimensions."""

    def special(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
        got = _bound(("input", "dim", "keepdim"), args, kwargs, dim=(), keepdim=False)
        if len(sources) != 1 or isinstance(got.get("other", got["dim"]), Tensor):
            return False  # of two tensors: a formula
        x, step = tracer.inputs(sources)[0]
        shape = tuple(x.shape)
        dims = got["dim"] if isinstance(got["dim"], (tuple, list)) else (got["dim"],)
        over = sorted({d % len(shape) for d in dims}) or list(range(len(shape)))
        rest = [i for i in range(len(shape)) if i not in over]
        size = (*(shape[i] for i in rest), math.prod(shape[i] for i in over))
        step = _negated(tracer, step, sign)
        replay = lambda v: v.permute(*rest, *over).reshape(size)  # noqa: E731
        step = tracer.step(Traced("movedim", replay, [shape], (), True), (step,), size)
        step = _negated(tracer, tracer.step(Maximum(), (step,), size[:-1]), sign)
        step = tracer.step(Reshaped("reshape", size[:-1], tuple(made[0].shape)), (step,), tuple(made[0].shape))
        tracer.learn(made[0], step)
        return True

    return special


def _negated(tracer: Tracer, step: int, sign: float) -> int:
    return step if sign > 0 else tracer.step(Scaled("neg", [-1.0]), (step,), tracer.steps[step].shape)


def _max_pool(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    got = _bound(names, args, kwargs, stride=None, padding=0, dilation=1, ceil_mode=False)
    x, step = tracer.inputs(sources)[0]
    shape, out = tuple(x.shape), tuple(made[0].shape)
    dims = next(n for n in (1, 2, 3) if len(shape) - n in (1, 2) and _pools(n, shape, got, out))
    size = shape[len(shape) - dims :]
    places = _windows(dims, size, got, out[len(out) - dims :])
    flat = (*shape[: len(shape) - dims], math.prod(size))
    step = tracer.step(Reshaped("flatten", shape, flat), (step,), flat)
    windows = (*flat[:-1], *places.shape)
    step = tracer.step(Traced("windows", lambda v: v[..., places], [flat], (), True), (step,), windows)
    step = tracer.step(Maximum(), (step,), windows[:-1])
    tracer.learn(made[0], tracer.step(Reshaped("unflatten", windows[:-1], out), (step,), out))
    return True


def _pools(dims: int, shape: Any, got: Any, out: Any) -> bool:
    kernel = got["kernel_size"]
    return len(out) == len(shape) and (isinstance(kernel, int) or len(kernel) in (1, dims)) and len(shape) >= dims


def _windows(dims: int, size: tuple[int, ...], got: Mapping[str, Any], out: tuple[int, ...]) -> Tensor:
    """Flat positions of every window's elements, ``[windows, taps]``; what lies outside is repeated from inside."""

    def each(name: str) -> tuple[int, ...]:
        value = got[name] if got[name] not in (None, (), []) else got["kernel_size"]
        return (
            tuple(value) * (dims if len(tuple(value)) == 1 else 1)
            if isinstance(value, (tuple, list))
            else (value,) * dims
        )

    kernel, stride, padding, dilation = (each(n) for n in ("kernel_size", "stride", "padding", "dilation"))
    axes = []
    for n, k, s, p, d, o in zip(size, kernel, stride, padding, dilation, out):
        taps = torch.arange(o).unsqueeze(1) * s - p + torch.arange(k) * d
        inside = (taps >= 0) & (taps < n)
        first = torch.where(inside, taps, n).amin(1, keepdim=True)
        axes.append(torch.where(inside, taps, first))
    index = axes[0]
    for n, more in zip(size[1:], axes[1:]):
        index = index.unsqueeze(1).unsqueeze(-1) * n + more.unsqueeze(0).unsqueeze(-2)
        index = index.flatten(0, 1).flatten(-2)
    return index


def _adaptive_max(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    x = next(iter(sources.values()))[0]
    dims = 2 if x.dim() - made[0].dim() == 0 and made[0].dim() >= 3 else 1
    wanted = args[1] if len(args) > 1 else kwargs["output_size"]
    if isinstance(wanted, (tuple, list)):
        dims = len(wanted)
    before, after = x.shape[-dims:], made[0].shape[-dims:]
    if any(b % a for a, b in zip(after, before)):
        raise tracer.refuse("adaptive max pooling", f"from {tuple(before)} to {tuple(after)} has windows of several "
                            "sizes, which are not followed")  # fmt: skip
    kernel = tuple(b // a for a, b in zip(after, before))
    return _max_pool(tracer, (x, kernel), {}, sources, made)


_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def refuse_batch_statistics(tracer: Tracer, args: Any, kwargs: Mapping[str, Any]) -> None:
    got = _bound(_BATCH_NORM, args, kwargs, training=False)
    if got["training"] or got["running_mean"] is None:
        raise tracer.refuse("batch normalisation", "uses the statistics of the batch, so that examples depend on each "
                            "other; it is followed with running statistics only")  # fmt: skip


def _batch_norm(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = _bound(_BATCH_NORM, args, kwargs, weight=None, bias=None, training=False, eps=1e-5)
    x, step = tracer.inputs(sources)[0]
    shape = (-1, *(1,) * (x.dim() - 2))
    got |= {k: tracer.held(got[k]) for k in ("weight", "bias")}

    def scale(dtype: torch.dtype) -> Tensor:
        root = torch.rsqrt(got["running_var"].to(dtype) + got["eps"])
        return (root if got["weight"] is None else root * got["weight"].to(dtype)).reshape(shape)

    def shift(dtype: torch.dtype) -> Tensor:
        moved = -got["running_mean"].to(dtype).reshape(shape) * scale(dtype)
        return moved if got["bias"] is None else moved + got["bias"].to(dtype).reshape(shape)

    tracer.learn(made[0], tracer.step(Scaled("batch_norm", [scale], shift, 8.0), (step,), tuple(made[0].shape)))
    return True


def _masked(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = _bound(("input", "mask", "value"), args, kwargs)
    mask, value = got["mask"], got["value"]
    if id(mask) in sources or len(sources) != 1:
        return False
    step = tracer.spread(tracer.inputs(sources)[0][1], tuple(made[0].shape))
    keep = (~mask).double()
    rest = mask.double() * max(float(value), NEVER)
    tracer.learn(made[0], tracer.step(Scaled("mask", [keep.to], rest.to), (step,), tuple(made[0].shape)))
    return True


def _where(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    if len(args) != 3 or id(args[0]) in sources or args[0].numel() == 1:
        return False
    mask, shape = args[0], tuple(made[0].shape)
    factors: list[Any] = []
    steps: list[int] = []
    rest = torch.zeros(shape, dtype=torch.float64)
    for value, where in ((args[1], mask), (args[2], ~mask)):
        chosen = where.double()
        if isinstance(value, Tensor) and id(value) in sources:
            tensor, known = sources[id(value)]
            factors.append(chosen.to)
            steps.append(tracer.spread(tracer.use(known, tuple(tensor.shape)), shape))
        else:
            number = torch.as_tensor(value).detach().double().clamp(min=NEVER)
            rest = rest + chosen * number
    tracer.learn(made[0], tracer.step(Scaled("mask", factors, rest.to), tuple(steps), shape))
    return True


def _added(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    """A mask with -inf in it that is added; anything else is a formula."""
    other = [a for a in args[:2] if not (isinstance(a, Tensor) and id(a) in sources)]
    if len(sources) != 1 or len(other) != 1 or not isinstance(other[0], Tensor) or len(args) != 2:
        return False
    if other[0].numel() == 1 or bool(torch.isfinite(other[0]).all()):
        return False
    step = tracer.spread(tracer.inputs(sources)[0][1], tuple(made[0].shape))
    mask = other[0].detach().double().clamp(min=NEVER)
    tracer.learn(made[0], tracer.step(Scaled("mask", [1.0], mask.to), (step,), tuple(made[0].shape)))
    return True


def _known_range(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    x, step = tracer.inputs(sources)[0]
    tracer.learn(made[0], tracer.step(Known("known range", tuple(x.shape), args[1]), (step,), tuple(x.shape)))
    return True


SPECIAL: dict[str, Special] = {
    "known_range": _known_range,
    "linear": _linear, "conv1d": _conv, "conv2d": _conv, "conv3d": _conv, "matmul": _matmul, "mm": _matmul,
    "bmm": _matmul, "rmatmul": _rmatmul, "softmax": _softmax, "amax": _extreme(1.0), "max": _extreme(1.0),
    "amin": _extreme(-1.0), "min": _extreme(-1.0), "max_pool1d": _max_pool, "max_pool2d": _max_pool,
    "max_pool3d": _max_pool, "adaptive_max_pool1d": _adaptive_max, "adaptive_max_pool2d": _adaptive_max,
    "batch_norm": _batch_norm, "masked_fill": _masked, "where": _where, "add": _added,
}  # fmt: skip


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


__all__ = ["SPECIAL", "SUMS", "WEIGHTED", "Replay", "keeps_order", "replaced", "reshaped", "watch"]
