"""ONNX: a model whose one node is a function of the domain ``ogive``, in the text that onnx.parser reads.

The operations are those of opset 18 that runtimes have for doubles; what is missing (expm1, log1p, erf, hypot, ...) is
spelled out. The function casts what it is given to the arithmetic asked for, and the result back, so that it serves
tensors of any floating type. The graph around it takes a vector of floats and is there to run and to read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ogive.derive.emit.body import body, short_power
from ogive.derive.emit.definitions import definition
from ogive.derive.emit.for_c import shortest_single, single_number
from ogive.derive.emit.names import Names
from ogive.derive.emit.request import Request, form_of, settle
from ogive.errors import InputError
from ogive.expr import Expr, value_of
from ogive.kernels.eager import Form

RESERVED = frozenset(
    [
        "float",
        "double",
        "int",
        "int32",
        "int64",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "string",
        "bool",
        "float16",
        "bfloat16",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "seq",
        "map",
        "optional",
        "sparse_tensor",
        "true",
        "false",
    ]
)
OPSET = 18
_NODES = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "abs": "Abs", "floor": "Floor",
          "round": "Round", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "tanh": "Tanh",
          "pow": "Pow", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal", "isnan": "IsNaN", "isinf": "IsInf",
          "where": "Where", "maximum": "Max", "minimum": "Min", "sign": "Sign"}  # fmt: skip
_FLAGS = frozenset({"gt", "ge", "eq", "isnan", "isinf"})


class _Graph:
    """Nodes of one function body; constants and definitions are written once."""

    def __init__(self, names: Names, single: bool) -> None:
        self.names, self.single = names, single
        self.lines: list[str] = []
        self._constants: dict[float, str] = {}

    def node(self, op: str, *args: str, attributes: str = "") -> str:
        name = self.names.next()
        self.lines.append(f"{name} = {op}{attributes} ({', '.join(args)})")
        return name

    def constant(self, value: float) -> str:
        value = single_number(value) if self.single else value
        if not math.isfinite(value):  # the text has no word for them
            top = self.constant(math.copysign(3e38 if self.single else 1e308, value))
            big = self.constant(10.0)
            return self.node("Mul", top, big) if not math.isnan(value) else self._nan()
        if value not in self._constants:
            kind = "float" if self.single else "double"
            text = shortest_single(value) if self.single else repr(value)
            self._constants[value] = self.node("Constant", attributes=f" <value = {kind} {{{text}}}>")
        return self._constants[value]

    def _nan(self) -> str:
        infinite = self.constant(math.inf)
        return self.node("Sub", infinite, infinite)

    def value(self, expr: Expr, given: Mapping[str, str]) -> str:
        """The name of the value of ``expr``; the definitions it needs are written in line."""
        done: dict[Expr, str] = {}
        for n in expr.walk():
            done[n] = self._of(n, done, given)
        return self._number(expr, done)

    def _of(self, n: Expr, done: Mapping[Expr, str], given: Mapping[str, str]) -> str:
        if n.op == "const":
            return self.constant(float(n.data))  # type: ignore[arg-type]
        if n.op == "var":
            return given[str(n.data)]
        if n.op == "where":
            first = n.args[0]
            flag = first.op in _FLAGS
            cond = done[first] if flag else self.node("Greater", done[first], self.constant(0.0))
            return self.node("Where", cond, *(self._number(a, done) for a in n.args[1:]))
        args = [self._number(a, done) for a in n.args]
        if n.op == "pow" and value_of(n.args[1]) is not None:
            short = short_power(Expr("var", (), "u"), float(n.args[1].data), 4)  # type: ignore[arg-type]
            if short is not None:
                return self.value(short, {"u": args[0]})
        if n.op in _NODES:
            return self.node(_NODES[n.op], *args)
        names, tree = definition(n.op, None if n.data is None else int(n.data))
        return self.value(tree, dict(zip(names, args)))

    def _number(self, n: Expr, done: Mapping[Expr, str]) -> str:
        if n.op not in _FLAGS:
            return done[n]
        return self.node("Cast", done[n], attributes=f" <to = {1 if self.single else 11}>")


def _function(request: Request, form: Form) -> tuple[str, list[str], dict[str, float], list[str]]:
    """Name, inputs, parameters and the lines of the function."""
    name = request.function_name(RESERVED, "ONNX")
    names = Names(RESERVED, [name, "y"])
    spelled = {key: names.of(key) for key in form.names}
    graph = _Graph(names, request.single)
    kind = 1 if request.single else 11
    tree = body(form, request.single)
    wide = {key: graph.node("Cast", text, attributes=f" <to = {kind}>") for key, text in spelled.items()}
    value = graph.value(tree, wide)
    missing = [k for k in request.act.inputs if k not in tree.variables()]
    for key in missing:  # the shape of the inputs
        zero = graph.constant(0.0)
        flat = graph.node("Where", graph.node("Equal", wide[key], wide[key]), zero, zero)
        value = graph.node("Add", value, flat)
    graph.lines.append(f"result = CastLike ({value}, {spelled[request.act.inputs[0]]})")
    inputs = [spelled[k] for k in request.act.inputs]
    params = {spelled[k]: v for k, v in request.act.defaults.items()}
    return name, inputs, params, graph.lines


def write(request: Request) -> str:
    """The text of the model. Parameters are inputs of the function; the graph holds their defaults."""
    name, inputs, params, lines = _function(request, form_of(request))
    wide = "float32" if request.single else "float64"
    head = [
        f"# {line}"
        for line in request.heading(f"Arithmetic in {wide}; the result is rounded once to the type of the input.")
    ]
    call = ", ".join([*inputs, *params])
    versions = f'opset_import: ["" : {OPSET}'
    text = [*head, f'<ir_version: 8, {versions}, "ogive" : 1]>',
            f"{name}_graph ({', '.join(f'float[N] {i}' for i in inputs)}) => (float[N] result)"]  # fmt: skip
    if params:
        starts = ", ".join(f"float {k} = {{{shortest_single(v)}}}" for k, v in params.items())
        text.append(f"<{starts}>")
    text += ["{", f"    result = ogive.{name} ({call})", "}", f'<domain: "ogive", {versions}]>',
             f"{name} ({call}) => (result) {{", *(f"    {line}" for line in lines), "}"]  # fmt: skip
    return "\n".join([*text, ""])


def onnx_model(spec: Any, *, derivative: int = 0, name: str | None = None, dtype: str = "float64",
               numbers: bool = False, **params: float) -> Any:  # fmt: skip
    """The ``onnx.ModelProto`` of the text that :func:`ogive.emit` writes, checked; ``.SerializeToString()`` has its
    bytes and ``.functions[0]`` is the function to add to a model of your own.

    Args as in :func:`ogive.emit`. Raises its errors, and :class:`~ogive.errors.InputError` without the package onnx.

    >>> onnx_model("mish").functions[0].name  # needs onnx
    'mish'
    """
    try:
        import onnx.checker
        import onnx.parser
    except ImportError:
        raise InputError("a ModelProto needs the package onnx: pip install onnx") from None
    if dtype not in ("float64", "float32"):
        raise InputError(f"onnx_model: dtype={dtype!r}; it takes 'float64' or 'float32'")
    model = onnx.parser.parse_model(write(settle(spec, derivative, name, dtype == "float32", numbers, params)))
    onnx.checker.check_model(model)
    return model
