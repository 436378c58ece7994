"""What is to be emitted, settled: the formula, its derivative, the names, the parameters and the words above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

import ogive
from ogive.activation import Activation
from ogive.derive.calculus import derivative as derived
from ogive.derive.emit.body import body
from ogive.derive.emit.names import Names, checked, comment_text, proposed
from ogive.derive.emit.printer import Language, Printer
from ogive.diff import differentiate
from ogive.errors import InputError, ParameterError
from ogive.expr import number_text
from ogive.kernels.eager import Form
from ogive.lookup import get

_ORDINAL = {1: "first", 2: "second", 3: "third"}
HIGHEST = 4


@dataclass(frozen=True)
class Request:
    """One text asked for. ``act`` is the function itself or its derivative of order ``derivative``; ``source`` is
    what it is the derivative of. ``single``: arithmetic in float32."""

    act: Activation
    source: Activation
    derivative: int
    name: str | None
    single: bool
    numbers: bool

    @property
    def label(self) -> str | None:
        """The name of the entry, None for a formula."""
        return self.source.name

    def function_name(self, reserved: frozenset[str], language: str) -> str:
        """What the function is called: as the user wants, or after the entry."""
        if self.name is not None:
            return checked(self.name, reserved, language)
        name = proposed(self.label, reserved)
        return name if self.derivative == 0 else f"{name}_d{self.derivative}"

    def heading(self, arithmetic: str) -> list[str]:
        """What stands above the text, as lines without a comment mark."""
        what = comment_text(self.label or "activation")
        inputs = ", ".join(self.source.inputs)
        lines = [f"{what}({inputs}) = {comment_text(str(self.source.written))}"]
        if self.derivative:
            lines.append(f"Here its {_ORDINAL.get(self.derivative, f'{self.derivative}th')} derivative by "
                         f"{self.source.inputs[0]}: {comment_text(str(self.act.expr))}")  # fmt: skip
        if self.derivative and self.source.backward is not None:
            lines.append("The first derivative is declared with the activation (a surrogate), not that of the formula.")
        for key, p in self.source.params.items():
            inside = f", in {p.interval}" if p.interval else ""
            lines.append(f"{comment_text(key)} = {number_text(float(p.default or 0.0))}{inside}"
                         + (" (written in as a number)" if self.numbers else ""))  # fmt: skip
        return [*_wrapped(lines), *([arithmetic] if arithmetic else []), f"Written by ogive {ogive.__version__}."]

    def partial(self, name: str) -> Form:
        """The derivative of the value by one of its variables; a declared surrogate where there is one."""
        form = self.act.form
        if name == self.act.inputs[0] and form.surrogate is not None:
            return Form(form.surrogate, form.names, form.defaults, derived=True)
        return Form(differentiate(form.expr, name), form.names, form.defaults, derived=True)


def _wrapped(lines: list[str]) -> list[str]:
    out: list[str] = []
    for line in lines:
        words, current = line.split(" "), ""
        for word in words:
            if current and len(current) + len(word) > 108:
                out.append(current)
                current = "   "
            current = f"{current} {word}" if current else word
        out.append(current)
    return out


def settle(spec: Any, derivative: int, name: str | None, single: bool, numbers: bool,
           params: Mapping[str, Any]) -> Request:  # fmt: skip
    """The request for ``spec``. Raises InputError and ParameterError, as :func:`ogive.emit` says."""
    act = get(spec)
    if not isinstance(derivative, int) or isinstance(derivative, bool) or not 0 <= derivative <= HIGHEST:
        raise InputError(f"emit of {act.label}: derivative={derivative!r}; it takes an order from 0 to {HIGHEST}")
    settled = act.settle(params)
    for key, value in settled.items():
        if isinstance(value, Tensor):
            raise ParameterError(f"emit of {act.label}: parameter {key} is a tensor; a text takes a number")
    if params:
        act = _renamed(act.with_params(**settled), act)
    source = act
    if numbers:
        act = _renamed(act.fixed(), act)
    wanted = act if derivative == 0 else derived(act, derivative)
    return Request(wanted, source, derivative, name, single, numbers)


def _renamed(changed: Activation, named: Activation) -> Activation:
    from dataclasses import replace

    return replace(changed, name=named.name)


def form_of(request: Request) -> Form:
    """The Form that is printed: a derivative need not turn NaN into NaN."""
    form = request.act.form
    if request.derivative == 0:
        return form
    return Form(form.expr, form.names, form.defaults, derived=True)


@dataclass(frozen=True)
class Draft:
    """A function ready to be written: its names, the text of its statements and its helper functions."""

    name: str
    inputs: tuple[str, ...]
    params: Mapping[str, float]
    lines: list[str]
    value: str
    helpers: list[list[str]]
    unused: tuple[str, ...]
    spelled: Mapping[str, str]
    names: Names
    printer: Printer


def draft(request: Request, language: Language) -> Draft:
    """``request`` printed in ``language``."""
    name = request.function_name(language.reserved, language.title)
    act = request.act
    names = Names(language.reserved, [name])
    spelled = {key: names.of(key) for key in (*act.inputs, *act.params)}
    printer = Printer(language, name, Names(language.reserved, [name, *spelled.values()]))
    tree = body(form_of(request), request.single)
    lines, value = printer.statements(tree, spelled, names)
    free = tree.variables()
    inputs = tuple(spelled[k] for k in act.inputs)
    params = {spelled[k]: v for k, v in act.defaults.items()}
    unused = tuple(spelled[k] for k in spelled if k not in free)
    return Draft(name, inputs, params, lines, value, printer.helpers, unused, spelled, names, printer)
