"""Runs generated Triton kernels in Triton's interpreter and prints what came out as JSON.

A program of its own, because the interpreter is chosen when Triton is first imported. The interpreter runs every
block in numpy, so value and slope of an entry go through one launch. It stores bfloat16 by cutting digits off
where the GPU rounds; results are therefore stored as float32 here and rounded by torch.
"""

from __future__ import annotations

import json
import math
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch

import ogive
from ogive import catalogue
from ogive.diff import differentiate
from ogive.expr import const
from ogive.kernels import Form
from ogive.kernels import triton as gpu
from ogive.kernels.eager import evaluate
from tests.rounding import rounding

torch.set_num_threads(1)
SPECIAL = [0.0, -0.0, 1e-30, -1e-6, 50.0, -50.0, 88.0, -88.0, 1e3, -1e3, 3e4, -3e4, math.inf, -math.inf, math.nan]
FAR = torch.tensor([1e10, -1e10, 1e19, -1e20, 1e30, -1e30, 3e38, -3e38])


def points(count: int) -> torch.Tensor:
    """``count`` float32 numbers, a multiple of 16, special ones at the end."""
    gen = torch.Generator().manual_seed(11)
    normal = count // 2
    some = torch.randn(normal, generator=gen) * 2
    flat = torch.rand(count - normal - len(SPECIAL), generator=gen) * 60 - 30
    return torch.cat([some, flat, torch.tensor(SPECIAL)])


def reference(form: Form, args: list) -> torch.Tensor:
    """The eager program in float64."""
    wide = [torch.as_tensor(a).double() for a in args]
    return form.program.run(wide, torch.float64).expand(args[0].shape)


def programs(form: Form) -> tuple:
    """The program of the value (and of the slope times g) over the names of the slope's Form."""
    slope = form.vjp(0)
    value = Form(form.expr, slope.names, slope.defaults)
    return gpu._program(value), gpu._program(slope)


def units(got: torch.Tensor, true: torch.Tensor, unit: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Errors in ``unit``, after rounding to ``dtype`` unless that overflows; infinite where one is not a number."""
    rounded, want = got.to(dtype).double(), true.to(dtype).double()
    rounded, want = (torch.where(want.isinf(), v.double(), w) for v, w in ((got, rounded), (true, want)))
    same = (rounded == want) | (rounded.isnan() & want.isnan())
    error = (rounded - true).abs() / unit
    return torch.where(same, 0.0, torch.where(error.isfinite() & want.isfinite(), error, math.inf))


def slope_of(form: Form) -> Form:
    """The slope as a Form of its own, its upstream gradient 1."""
    upstream = f"g{len(form.names)}'"
    return Form(form.vjp(0).expr.substitute({upstream: const(1.0)}), form.names, form.defaults, derived=True)


def measured(entry: ogive.Activation, x: torch.Tensor, far: torch.Tensor, exact: bool) -> dict:
    """The worst error of value and slope, with the input it is at, the result and the truth; and the ``far``
    inputs where a result that fits float32 came out infinite or NaN."""
    count = len(x)
    x = torch.cat([x, far])
    args = [*(x, x.flip(0).contiguous())[: len(entry.inputs)], *entry.defaults.values()]
    both = gpu.launch(programs(entry.form), (torch.float32, torch.float32), (*args, torch.ones_like(x)), exact)
    found = {}
    for which, got, form in zip(("value", "slope"), both, (entry.form, slope_of(entry.form))):
        true = reference(form, args)
        explained = rounding(form.canonical.expr, form.names, [torch.as_tensor(a).double() for a in args])
        for dtype in (torch.float32,) if exact else (torch.float16, torch.bfloat16):
            unit = torch.maximum(unit32(form, args, true), 1.25 * explained.bound(np.float32))
            unit = unit if exact else spacing(true, dtype) + 4.0 * unit
            error = torch.where(explained.over, 0.0, units(got, true, unit, dtype))[:count]
            k = int(error.argmax())
            found[f"{which} {str(dtype)[6:]}"] = [float(error[k]), float(x[k]), float(got[k]), float(true[k])]
        gone = (true.abs() <= torch.finfo(torch.float32).max) & ~got.isfinite() & ~explained.over
        found[f"{which} lost"] = x[count:][gone[count:]].tolist()
    return found


def unit32(form: Form, args: list, true: torch.Tensor) -> torch.Tensor:
    """eps times |f| + |x f'| + |p df/dp|: inputs and parameters are data, known to half a unit of float32. Where the
    rounding of each operation once explains more, the unit is 1.25 of that: the functions err by up to five halves."""
    info = torch.finfo(torch.float32)
    condition = true.abs()
    for name, value in zip(form.names, args):
        partial = Form(differentiate(form.expr, name), form.names, form.defaults, derived=True)
        condition = condition + (torch.as_tensor(value) * reference(partial, args)).abs().nan_to_num(0.0)
    return info.eps * condition + info.smallest_normal


def spacing(true: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance between neighbouring numbers of a 16-bit dtype."""
    info = torch.finfo(dtype)
    return 2.0 ** torch.floor(torch.log2(true.abs().clamp_min(info.smallest_normal))) * info.eps


def sweep(count: int, names: list[str]) -> dict:
    x = points(count)
    half = torch.where(torch.arange(count) % 2 == 0, x.bfloat16().float(), x.half().float())
    result = {}
    for name in names:
        entry = catalogue.lookup(name)
        inexact = {k: v for k, v in measured(entry, half, FAR[:0], False).items() if "lost" not in k}
        result[name] = {**measured(entry, torch.cat([x, x[:8]]), FAR, True), **inexact}
    return result


def gates() -> dict:
    """Both gradients of every gate from one launch against autograd in float64."""
    gen = torch.Generator().manual_seed(3)
    found = {}
    for entry in catalogue.entries().values():
        if len(entry.inputs) != 2:
            continue
        x, y, g = (torch.randn(5, 37, generator=gen) * 3 for _ in range(3))
        wide = [t.double().requires_grad_() for t in (x, y)]
        true = torch.autograd.grad(entry(*wide), wide, g.double())
        got = gpu.gradients(entry.form, (0, 1), (x, y, *entry.defaults.values()), g)
        found[entry.name] = [float(((a - b).abs() / (b.abs() + 0.1)).max()) for a, b in zip(got, true)]
    return found


def layouts() -> dict:
    """Launches that differ in the shape of things, each against the eager path: the largest difference, or None
    where layout, shape or dtype of the result differ from what eager mode gives."""
    x = torch.randn(2, 6, 5, 7)
    prelu, swish, swiglu = (ogive.get(n) for n in ("prelu", "swish", "swiglu"))
    a = torch.linspace(-0.5, 0.5, 6)
    cases = {
        "contiguous": (swish, (x, 1.5)),
        "channels last": (swish, (x.to(memory_format=torch.channels_last), 1.5)),
        "permuted": (swish, (x.permute(3, 1, 0, 2), 1.5)),
        "sliced": (swish, (x[:, ::2], 1.5)),
        "expanded": (swish, (torch.randn(6, 1, 1).expand(6, 5, 7), 1.5)),
        "mixed layouts": (swiglu, (x.permute(3, 1, 0, 2), x.permute(3, 1, 0, 2).contiguous())),
        "broadcast gate": (swiglu, (x, x[:1])),
        "per channel": (prelu, (x, a.view(6, 1, 1))),
        "per channel, channels last": (prelu, (x.to(memory_format=torch.channels_last), a.view(6, 1, 1))),
        "per channel, last": (prelu, (x.permute(0, 2, 3, 1), a)),
        "per neuron": (prelu, (x, torch.randn(6, 5, 7))),
        "tensor scalar": (prelu, (x, torch.tensor(0.3))),
        "empty": (swish, (x[:0], 1.5)),
        "zero dimensions": (swish, (torch.tensor(0.7), 1.5)),
        "one element": (swish, (torch.tensor([0.7]), 1.5)),
        "1025 elements": (swish, (torch.randn(1025), 1.5)),
        "float64": (ogive.get("gelu"), (x.double(),)),
        "float64 mish": (ogive.get("mish"), (x.double(),)),
        "float64 elephant": (ogive.get("elephant"), (x.double(), 1.0, 8.0)),
        "float64 arctan": (ogive.get("arctan"), (x.double(),)),
        "float16": (ogive.get("relu"), (x.half(),)),
    }
    found = {}
    for name, (entry, args) in cases.items():
        dtype = args[0].dtype
        got = gpu.run(entry.form, dtype, args)
        true = evaluate(entry.form, dtype, False, args)
        alike = got.shape == true.shape and got.dtype == true.dtype and gpu.dense(got.shape, got.stride())
        if name in ("channels last", "per channel, channels last"):
            alike = alike and got.is_contiguous(memory_format=torch.channels_last)
        difference = float((got.double() - true.double()).abs().max()) if got.numel() else 0.0
        found[name] = difference if alike else None
    return found


if __name__ == "__main__":
    count, names = int(sys.argv[1]), sys.argv[2].split(",")
    print(json.dumps({"sweep": sweep(count, names), "gates": gates(), "layouts": layouts()}))
