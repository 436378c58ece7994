"""torch's calls that are no formulas: matrix products, convolutions, normalisation, softmax, masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ogive.verify.axis import Softmax
from ogive.verify.linear import Convolution, Dense, Known, Scaled, Traced
from ogive.verify.pooling import adaptive_max, extreme, max_pool
from ogive.verify.products import MatrixProduct
from ogive.verify.replay import Sources, Special, bound

if TYPE_CHECKING:
    from ogive.verify.tracer import Tracer

SUMS = {"sum", "mean", "cumsum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
        "adaptive_avg_pool3d", "trace"}  # fmt: skip
WEIGHTED = {"matmul", "mm", "bmm", "mv", "rmatmul", "einsum", "tensordot", "conv_transpose1d", "conv_transpose2d",
            "conv_transpose3d", "conv1d", "conv2d", "conv3d", "dot", "inner", "outer", "kron", "linear"}  # fmt: skip
_SAME_ORDER = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel"}
NEVER = -1e30  # stands for -inf in a mask: exp of it is 0 in every precision


def keeps_order(name: str, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    return name in _SAME_ORDER and math.prod(before) == math.prod(after)


def _linear(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = bound(("input", "weight", "bias"), args, kwargs, bias=None)
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
    got = bound(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, kwargs, bias=None)
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
    got = bound(("input", "dim"), args, kwargs, dim=None)
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


_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def refuse_batch_statistics(tracer: Tracer, args: Any, kwargs: Mapping[str, Any]) -> None:
    got = bound(_BATCH_NORM, args, kwargs, training=False)
    if got["training"] or got["running_mean"] is None:
        raise tracer.refuse("batch normalisation", "uses the statistics of the batch, so that examples depend on each "
                            "other; it is followed with running statistics only")  # fmt: skip


def _batch_norm(tracer: Tracer, args: Any, kwargs: Any, sources: Sources, made: list[Tensor]) -> bool:
    got = bound(_BATCH_NORM, args, kwargs, weight=None, bias=None, training=False, eps=1e-5)
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
    got = bound(("input", "mask", "value"), args, kwargs)
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
    "bmm": _matmul, "rmatmul": _rmatmul, "softmax": _softmax, "amax": extreme(1.0), "max": extreme(1.0),
    "amin": extreme(-1.0), "min": extreme(-1.0), "max_pool1d": max_pool, "max_pool2d": max_pool,
    "max_pool3d": max_pool, "adaptive_max_pool1d": adaptive_max, "adaptive_max_pool2d": adaptive_max,
    "batch_norm": _batch_norm, "masked_fill": _masked, "where": _where, "add": _added,
}  # fmt: skip


__all__ = ["SPECIAL", "SUMS", "WEIGHTED", "keeps_order"]
