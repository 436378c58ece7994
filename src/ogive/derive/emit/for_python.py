"""NumPy and JAX: functions of arrays, written in Python with one library each."""

from __future__ import annotations

import builtins
import keyword
import math
from collections.abc import Callable, Mapping, Sequence

from ogive.derive.emit.printer import Language, Template
from ogive.derive.emit.request import Draft, Request, draft

RESERVED = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "jnp", "jax", "torch", "math", "ctx",
                      "self", "wide", "erf", "erfc", "xlogy"})  # fmt: skip


def number(module: str) -> Callable[[float], str]:
    """How numbers are written where ``module`` has inf and nan."""

    def text(value: float) -> str:
        if math.isfinite(value):
            return repr(value)
        return f"{module}.nan" if math.isnan(value) else f"{module}.inf" if value > 0 else f"-{module}.inf"

    return text


def function(name: str, args: Sequence[str], lines: Sequence[str], value: str) -> list[str]:
    return [f"def {name}({', '.join(args)}):", *(f"    {line}" for line in lines), f"    return {value}"]


def named(module: str, names: Mapping[str, str]) -> dict[str, Template]:
    two = {"maximum", "minimum", "pow", "xlogy"}
    return {op: f"{module}.{n}({{0}}, {{1}})" if op in two else f"{module}.{n}({{0}})" for op, n in names.items()}


_SAME = {n: n for n in ("abs", "floor", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "sinh",
                        "cosh", "tanh", "sign", "maximum", "minimum", "isnan", "isinf")}  # fmt: skip
_NUMPY = {**_SAME, "round": "rint", "atan": "arctan", "asinh": "arcsinh", "pow": "power"}
_ARRAYS: dict[str, Template] = {"where": "np.where({0}, {1}, {2})", "hypot1": "np.hypot({0}, 1.0)"}
NUMPY = Language("Python", "# ", RESERVED, number("np"), {**named("np", _NUMPY), **_ARRAYS}, function,
                 as_number="np.where({0}, 1.0, 0.0)")  # fmt: skip

_JAX: dict[str, Template] = {
    **named("jnp", {**_NUMPY, "round": "round"}), **named("jax.scipy.special", {"xlogy": "xlogy"}),
    "where": "jnp.where({0}, {1}, {2})",
}  # fmt: skip
JAX = Language("Python", "# ", RESERVED, number("jnp"), _JAX, function, as_number="jnp.where({0}, 1.0, 0.0)")


def arithmetic(request: Request) -> str:
    wide = "float32" if request.single else "float64"
    return f"Arithmetic in {wide}; the result is rounded once to the dtype of the input."


def head(request: Request, imports: Sequence[str]) -> list[str]:
    return [*(f"# {line}" for line in request.heading(arithmetic(request))), *imports, "", ""]


def signature(d: Draft) -> str:
    return ", ".join([*d.inputs, *(f"{k}={v!r}" for k, v in d.params.items())])


def helpers_text(helpers: Sequence[Sequence[str]]) -> list[str]:
    return [line for h in helpers for line in (*h, "", "")]


def numpy(request: Request) -> str:
    """A function of arrays that needs NumPy alone."""
    d = draft(request, NUMPY)
    wide = "np.float32" if request.single else "np.float64"
    first, many = d.inputs[0], ", ".join(d.inputs)
    lines = [f"{x} = np.asarray({x})" for x in d.inputs]
    if len(d.inputs) > 1:
        lines.append(f"{many} = np.broadcast_arrays({many})")
        kind = f"np.result_type({many})"
    else:
        kind = f"{first}.dtype"
    out = d.names.of("kind")
    lines.append(f"{out} = {kind} if np.issubdtype({kind}, np.floating) else np.dtype(np.float64)")
    lines += [f"{x} = {x}.astype({wide})" for x in d.inputs]
    lines += [f"{p} = np.asarray({p}, dtype={wide})" for p in d.params]  # a number of Python raises at 1/0
    lines.append('with np.errstate(all="ignore"):')
    lines += [f"    {line}" for line in (*d.lines, f"{first} = {d.value} + np.zeros_like({first})"
                                         if not _spreads(request, d) else f"{first} = {d.value}")]  # fmt: skip
    lines.append(f"    {first} = np.asarray({first}).astype({out})[()]")
    text = [*head(request, ["import numpy as np"]), *helpers_text(d.helpers), f"def {d.name}({signature(d)}):"]
    return "\n".join([*text, *(f"    {line}" for line in lines), f"    return {first}", ""])


def _spreads(request: Request, d: Draft) -> bool:
    """Whether the value has the shape of the input because it depends on it."""
    return d.inputs[0] not in d.unused


def jax(request: Request) -> str:
    """A function of arrays that jit, grad and vmap take."""
    d = draft(request, JAX)
    wide = "jnp.float32" if request.single else "jnp.float64"
    first, many = d.inputs[0], ", ".join(d.inputs)
    lines = [f"{x} = jnp.asarray({x})" for x in d.inputs]
    kind = d.names.of("kind")
    lines.append(f"{kind} = jnp.result_type({many})")
    lines.append(f"{kind} = {kind} if jnp.issubdtype({kind}, jnp.floating) else jnp.float32")
    if len(d.inputs) > 1:
        lines.append(f"{many} = jnp.broadcast_arrays({many})")
    lines += [f"{x} = {x}.astype({wide})" for x in d.inputs]
    lines += [f"{p} = jnp.asarray({p}, dtype={wide})" for p in d.params]
    value = d.value if _spreads(request, d) else f"jnp.full_like({first}, {d.value})"
    lines += [*d.lines, f"return ({value}).astype({kind})"]
    imports = ["import jax", "import jax.numpy as jnp"]
    body_text = "\n".join([*helpers_text(d.helpers), *lines])
    if "jax." not in body_text.replace("import jax", ""):
        imports = imports[1:]
    text = [*head(request, imports), *helpers_text(d.helpers), f"def {d.name}({signature(d)}):"]
    return "\n".join([*text, *(f"    {line}" for line in lines), ""])
