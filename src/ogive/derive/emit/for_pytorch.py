"""PyTorch: a function of tensors with its own backward, torch operations only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ogive.derive.emit.body import body
from ogive.derive.emit.for_c import single_number
from ogive.derive.emit.for_python import RESERVED, function, head, helpers_text, named, number, signature
from ogive.derive.emit.names import Names
from ogive.derive.emit.printer import Language, Template
from ogive.derive.emit.request import Draft, Request, draft, form_of
from ogive.expr import Expr, value_of


def _bound(op: str) -> Callable[[Expr, Sequence[str]], str]:
    # torch compares two tensors, or a tensor and a number by clamp
    clamp, both = ("clamp_min", "maximum") if op == "maximum" else ("clamp_max", "minimum")

    def text(n: Expr, parts: Sequence[str]) -> str:
        for i in (0, 1):
            if value_of(n.args[i]) is not None:
                return f"torch.{clamp}({parts[1 - i]}, {parts[i]})"
        return f"torch.{both}({parts[0]}, {parts[1]})"

    return text


def _chosen(n: Expr, parts: Sequence[str], wide: str) -> str:
    cond, yes, no = parts
    values = [value_of(a) for a in n.args[1:]]
    if None in values:
        return f"torch.where({cond}, {yes}, {no})"
    # of two numbers torch makes a tensor of its default dtype
    if all(single_number(v) == v for v in values if v is not None):
        return f"torch.where({cond}, {yes}, {no}).to({wide})"
    return f"torch.where({cond}, torch.full_like({cond}, {yes}, dtype={wide}), {no})"


_TORCH: dict[str, Template] = {
    **named("torch", {n: n for n in ("abs", "floor", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tan",
                                      "atan", "sinh", "cosh", "tanh", "asinh", "sign", "round", "pow", "xlogy", "erf",
                                      "erfc", "sigmoid", "isnan", "isinf")}),
    "maximum": _bound("maximum"), "minimum": _bound("minimum"),
    "hypot1": "torch.hypot({0}, torch.ones_like({0}))",
}  # fmt: skip


def torch_language(single: bool) -> Language:
    wide = "torch.float32" if single else "torch.float64"
    calls = {**_TORCH, "where": lambda n, parts: _chosen(n, parts, wide)}
    return Language("Python", "# ", RESERVED, number("torch"), calls, function, as_number=f"({{0}}).to({wide})")


@dataclass(frozen=True)
class _Text:
    """What all functions of one text share."""

    draft: Draft
    request: Request
    wide: str

    @property
    def args(self) -> str:
        return ", ".join([*self.draft.inputs, *self.draft.params])

    def statements(self, lines: Sequence[str], value: str, tree: Expr) -> list[str]:
        """The inside of a function of tensors: all in the wide dtype, and as broad as the inputs."""
        d = self.draft
        start = [f"{a} = {a}.to({self.wide})" for a in (*d.inputs, *d.params)]
        if set(self.request.act.inputs) <= tree.variables():
            return [*start, *lines, f"return {value}"]
        zeros = " + ".join(f"torch.zeros_like({x})" for x in d.inputs)
        return [*start, *lines, f"return {zeros} + ({value})"]

    def slope(self, key: str) -> list[str] | None:
        """The statements of the derivative by ``key``, None where it is zero."""
        form = self.request.partial(key)
        if value_of(form.expr) == 0.0:
            return None
        names = Names(RESERVED, [self.draft.name, *self.draft.spelled.values()])
        tree = body(form, self.request.single)
        lines, value = self.draft.printer.statements(tree, self.draft.spelled, names)
        return self.statements(lines, value, tree)


def pytorch(request: Request) -> str:
    """The value as an autograd function whose backward is printed too; of a derivative, a plain function."""
    d = draft(request, torch_language(request.single))
    text = _Text(d, request, "torch.float32" if request.single else "torch.float64")
    main = text.statements(d.lines, d.value, body(form_of(request), request.single))
    slopes: dict[int, list[str]] = {}
    if request.derivative == 0:
        for i, key in enumerate((*request.act.inputs, *request.act.params)):
            found = text.slope(key)
            if found is not None:
                slopes[i] = found
    lines = [*head(request, ["import torch"]), *helpers_text(d.helpers)]
    for label, inside in (("value", main), *((f"slope{i}", inside) for i, inside in slopes.items())):
        lines += [f"def {d.name}_{label}({text.args}):", *(f"    {line}" for line in inside), "", ""]
    if request.derivative == 0:
        lines += _autograd(text, sorted(slopes))
    call = f"{d.name}_autograd.apply({text.args})" if request.derivative == 0 else f"{d.name}_value({text.args})"
    lines.append(f"def {d.name}({signature(d)}):")
    kind = " + ".join(f"{x}.new_zeros(())" for x in d.inputs)  # two dtypes promote as in a sum
    kind = f"({kind}).dtype" if len(d.inputs) > 1 else f"{d.inputs[0]}.dtype"
    for p in d.params:
        lines.append(f"    if not isinstance({p}, torch.Tensor):")
        lines.append(f"        {p} = torch.tensor({p}, dtype={text.wide}, device={d.inputs[0]}.device)")
    return "\n".join([*lines, f"    return {call}.to({kind})", ""])


def _autograd(text: _Text, slopes: Sequence[int]) -> list[str]:
    d = text.draft
    args = [*d.inputs, *d.params]
    many = text.args if len(args) > 1 else f"{text.args},"
    lines = [f"class {d.name}_autograd(torch.autograd.Function):", "    @staticmethod",
             f"    def forward(ctx, {text.args}):", f"        ctx.save_for_backward({text.args})",
             f"        return {d.name}_value({text.args})", "", "    @staticmethod",
             "    def backward(ctx, grad):", f"        ({many}) = ctx.saved_tensors",
             f"        grads = [None] * {len(args)}"]  # fmt: skip
    for i in slopes:
        lines += [f"        if ctx.needs_input_grad[{i}]:",
                  f"            product = grad * {d.name}_slope{i}({text.args})",
                  f"            grads[{i}] = product.sum_to_size({args[i]}.shape).to({args[i]}.dtype)"]  # fmt: skip
    return [*lines, "        return tuple(grads)", "", ""]
