"""Triton: the kernel the library itself runs, with the device functions it calls, and a function that launches it."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from ogive.derive.emit.for_python import RESERVED as PYTHON
from ogive.derive.emit.names import Names
from ogive.derive.emit.request import Request, form_of
from ogive.kernels.triton_text import Layout, source

RESERVED = PYTHON | {"triton", "tl", "kernel", "m", "s"}
_BLOCK = 1024


@lru_cache(maxsize=1)
def _device_functions() -> dict[str, str]:
    """The text of every function of kernels/triton_math and triton_special, read without importing Triton."""
    found: dict[str, str] = {}
    for module in ("triton_math", "triton_special"):
        text = (files("ogive.kernels") / f"{module}.py").read_text(encoding="utf-8")
        for part in re.split(r"\n(?=@triton\.jit\n)", text)[1:]:
            body = part.rstrip() + "\n"
            name = re.match(r"@triton\.jit\ndef (\w+)\(", body)
            assert name is not None
            found[name.group(1)] = body
    return found


def _used(text: str, known: dict[str, str]) -> list[str]:
    """The device functions that ``text`` calls as m.f or s.f, those that they call before them."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        for inner in re.findall(r"(?<![\w.])(\w+)\(", known[name].split("\n", 2)[2]):
            if inner in known and inner != name:
                visit(inner)
        order.append(name)

    for name in re.findall(r"\b[ms]\.(\w+)\(", text):
        visit(name)
    return order


def _standalone(text: str, prefix: str) -> str:
    """``text`` of a kernel without a line that imports from the library."""
    known = _device_functions()
    used = _used(text, known)
    start = text.index("@triton.jit")
    kernel = re.sub(r"\b[ms]\.(\w+)\(", rf"{prefix}_\1(", text[start:])
    kernel = kernel.replace("def kernel(", f"def {prefix}_kernel(", 1)
    parts = []
    for name in used:
        own = known[name].replace(f"def {name}(", f"def {prefix}_{name}(", 1)
        for other in used:
            own = re.sub(rf"(?<![\w.]){other}\(", f"{prefix}_{other}(", own)
        parts.append(own)
    return "\n\n".join([*parts, kernel])


def write(request: Request) -> str:
    """A module with the kernel and a function of tensors on a GPU."""
    name = request.function_name(RESERVED, "Triton")
    form = form_of(request)
    program = (form.canonical if request.single else form).program
    names = Names(RESERVED, [name, "out", "n"])
    inputs = [names.of(k) for k in request.act.inputs]
    params = {names.of(k): v for k, v in request.act.defaults.items()}
    kinds = ("data",) * len(inputs) + ("scalar",) * len(params)
    wide = "float64" if not request.single else "float32"
    text = _standalone(source([program], Layout(kinds, double=not request.single)), name)
    head = request.heading(f"Arithmetic in {wide}; 16-bit inputs and outputs are converted once.")
    first = inputs[0]
    lines = [*(f"# {line}" for line in head), "import torch", "import triton", "import triton.language as tl", "", "",
             text.rstrip(), "", ""]  # fmt: skip
    lines.append(f"def {name}({', '.join([*inputs, *(f'{k}={v!r}' for k, v in params.items())])}):")
    if len(inputs) > 1:
        many = ", ".join(inputs)
        lines.append(f"    {many} = (t.contiguous() for t in torch.broadcast_tensors({many}))")
    else:
        lines.append(f"    {first} = {first}.contiguous()")
    for k in params:
        lines.append(f"    {k} = torch.as_tensor({k}, dtype=torch.{wide}, device={first}.device).reshape(1)")
    pointers = ", ".join([*inputs, *params])
    lines += [f"    out = torch.empty_like({first})", "    n = out.numel()", "    if n:",
              f"        {name}_kernel[(triton.cdiv(n, {_BLOCK}),)](",
              f"            out, {pointers}, 0, n, BLOCK={_BLOCK}, WIDE=n > 2**31 - {_BLOCK}", "        )",
              "    return out", ""]  # fmt: skip
    return "\n".join(lines)
