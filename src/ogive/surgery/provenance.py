"""What is known of each tensor while a model runs: the node it comes from and the formula on the way.

Hooks tell in which module calls happen. What torch's Python functions do not see (a custom ``autograd.Function``,
TorchScript) is bridged by the autograd graph and reported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from ogive.activation import Activation
from ogive.expr import Expr, const
from ogive.surgery.formulas import Operand, X, carries_formula, formula_of, inputs_of, line, nonlinearity
from ogive.surgery.graph import Call, Node, Stop

STARTS = ("constant", "parameter")


@dataclass
class Known:
    """What a tensor is: ``expr`` of the values at ``node``, made by ``calls``."""

    node: Node
    expr: Expr = X
    calls: tuple[Call, ...] = ()
    made: Node | None = None  # the node of the whole formula, once something uses the result


class Provenance(TorchFunctionMode):
    """Where every tensor of a run comes from."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.nodes: list[Node] = []
        self.stops: dict[tuple[str, str], Stop] = {}
        self.known = WeakTensorKeyDictionary()
        self.by_function: dict[Any, Known] = {}
        self.operands: dict[str, Operand] = {}
        self.names = {id(p): name for name, p in model.named_parameters(remove_duplicate=True)}
        self.sizes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self.axes = WeakTensorKeyDictionary()  # of views of parameters: (name, original dimensions)
        self.where: list[str] = [""]
        self.runs: Counter[str] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()  # calls by the code that makes them and their name
        self.quiet = 0
        self.kept: list[Tensor] = []  # so that an id in a formula stays its own
        self.scripted: list[str] = []

    # what happens where

    @property
    def owner(self) -> str:
        return self.where[-1]

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Modules announce themselves while this lasts."""
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    self.scripted.append(name)  # nothing in it calls Python
                    continue
                before, after = self._announce(name), self._leave(name)
                stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(after, with_kwargs=True, always_call=True).remove)
            yield

    def _announce(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            with torch._C.DisableTorchFunction():
                for tensor in tensors_in((args, kwargs)):
                    if not self.quiet and tensor.is_floating_point():
                        self.see(tensor)  # what nobody saw is reported where it happened
            self.runs[name] += 1
            again = self.runs[name]
            self.where.append(name if again == 1 else f"{name}#{again}")
            self.quiet += carries_formula(module)

        return hook

    def _leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if carries_formula(module):
                self.quiet -= 1
                if not self.quiet and isinstance(output, Tensor):
                    with torch._C.DisableTorchFunction():
                        self._act_module(
                            module, [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)], output
                        )
            elif isinstance(module, torch.nn.utils.parametrize.ParametrizationList) and isinstance(output, Tensor):
                self._parametrised(name, output)
            elif not self.quiet and isinstance(output, Tensor):
                with torch._C.DisableTorchFunction():
                    self.see(output)  # what nobody saw is reported under the module it came from
            self.where.pop()

        return hook

    def _parametrised(self, name: str, output: Tensor) -> None:
        path = name.replace("parametrizations.", "", 1) if name.startswith("parametrizations.") else name.replace(
            ".parametrizations.", "."
        )  # fmt: skip
        self.axes[output] = (path, tuple(range(output.dim())))
        self.known[output] = Known(self._start("parameter", path, output))

    # nodes

    def _node(self, kind: str, op: str, parents: tuple[Node, ...], output: Tensor | None, **more: Any) -> Node:
        shape = () if output is None else tuple(output.shape)
        moment = moment_of(output) if kind not in STARTS else math.nan
        node = Node(len(self.nodes), kind, op, self.owner, parents, shape, moment, **more)
        for parent in dict.fromkeys(parents):
            parent.children.append(node)
        self.nodes.append(node)
        return node

    def _start(self, kind: str, op: str, tensor: Tensor) -> Node:
        return Node(-1, kind, op, self.owner, (), tuple(tensor.shape))

    def _learn(self, tensor: Tensor, known: Known) -> None:
        self.known[tensor] = known
        if tensor.grad_fn is not None:
            self.by_function[tensor.grad_fn] = known

    def see(self, tensor: Tensor) -> Known | None:
        """What is known of ``tensor``; None for a number nobody computed from the input."""
        found: Known | None = self.known.get(tensor)
        # what a custom Function allocates looks like a constant until it returns
        if found is not None and (found.node.kind not in STARTS or tensor.grad_fn is None or tensor in self.axes):
            return found
        if found is not None and found.node.kind == "parameter":
            return found
        if isinstance(tensor, nn.Parameter) or id(tensor) in self.names:
            name = self.names.get(id(tensor), "")
            self.axes[tensor] = (name, tuple(range(tensor.dim())))
            found = Known(self._start("parameter", name, tensor))
        elif tensor.grad_fn is not None:
            return self._bridge(tensor)
        else:
            found = Known(self._start("constant", "", tensor))
        self.known[tensor] = found
        return found

    def _bridge(self, tensor: Tensor) -> Known | None:
        """A tensor that came from a call torch's Python functions do not see: its sources by the autograd graph."""
        function: Any = tensor.grad_fn
        parents: list[Known] = []
        learned = False
        seen, stack = {function}, [function]
        while stack:
            for below, _ in stack.pop().next_functions:
                if below is None or below in seen:
                    continue
                seen.add(below)
                source = self.by_function.get(below)
                if source is not None and source.node.kind not in STARTS:
                    parents.append(source)
                elif hasattr(below, "variable"):
                    learned = learned or below.variable.dim() > 1
                else:
                    stack.append(below)
        if not parents:
            if learned or tensor.dim():  # computed from parameters alone
                found = Known(self._start("parameter", "", tensor))
                self.known[tensor] = found
                return found
            return None
        form = getattr(function, "form", None)  # Ogive's own kernels carry their formula
        plan = getattr(function, "plan", None)
        if form is not None and plan is not None and len(parents) == 1:
            numbers = dict(zip(form.names[1:], plan.numbers))
            inner = form.expr.substitute({k: const(v) for k, v in numbers.items()})
            known = self._compose(parents[0], inner.substitute({form.names[0]: X}), "ogive", tensor)
            self._learn(tensor, known)
            return known
        call_name = function.name() if hasattr(function, "name") else type(function).__name__
        what = "a matrix inside it is out of sight" if learned else "its formula is out of sight"
        hidden = f" (TorchScript: {', '.join(self.scripted[:3])})" if self.scripted else ""
        self.stop(call_name, f"torch's Python functions do not see it{hidden}; {what}, its scale is measured")
        node = self._node("opaque", call_name, tuple(self._use(p, None) for p in parents), tensor)
        known = Known(node)
        self._learn(tensor, known)
        return known

    def stop(self, name: str, why: str) -> None:
        self.stops.setdefault((name, self.owner), Stop(name, self.owner, why))

    def _use(self, known: Known, tensor: Tensor | None) -> Node:
        """The node whose values ``known`` is: a formula becomes a node here."""
        if known.expr is X:
            return known.node
        if known.made is None:
            scale = line(known.expr, self.operands)
            more: dict[str, Any] = {"calls": known.calls}
            if scale is not None:
                more |= {"factor": scale.factor, "offset": scale.offset, "learned": scale.learned,
                         "scale_name": scale.scale_name}  # fmt: skip
                known.made = self._node("scale", known.calls[-1].name, (known.node,), tensor, **more)
            else:
                act, name, note = nonlinearity(known.expr, self.operands)
                label = name if name else _label(known.calls, act)
                known.made = self._node("act", known.calls[-1].name, (known.node,), tensor, activation=act, label=label,
                                        note=note, **more)  # fmt: skip
            known.made.owner = _common([c.owner for c in known.calls])
        return known.made

    def _finished(self, tensor: Tensor, known: Known) -> Known:
        """What a module that is not around this code (nor in it) computed is a node, not part of a formula here."""
        if known.calls and not any(nested(c.owner, self.owner) for c in known.calls):
            known = self.known[tensor] = Known(self._use(known, tensor))
        return known

    def _compose(self, known: Known, outer: Expr, name: str, tensor: Tensor) -> Known:
        expr = outer.substitute({"x": known.expr})
        calls = known.calls if outer is X else (*known.calls, Call(self.owner, name, 0, 0))
        return Known(known.node, expr, calls)

    def _act_module(self, module: Any, inputs: list[Tensor], output: Tensor) -> None:
        """A module that carries its formula (``ogive.Act``)."""
        act, note = formula_of(module)
        sources = [self.see(t) for t in inputs]
        live = [(t, s) for t, s in zip(inputs, sources) if s is not None and s.node.kind not in STARTS]
        if not live:
            self.known[output] = Known(self._start("constant", "", output))
        elif len(act.inputs) == 1:
            known = self._compose(self._finished(*live[0]), act.expr.substitute(inputs_of(act)), act.label, output)
            self._learn(output, known)
        else:
            parents = tuple(self._use(s, t) for t, s in live)
            node = self._node("gate", act.label, parents, output, activation=act, label=act.label, note=note)
            self._learn(output, Known(node))


def moment_of(tensor: Tensor | None) -> float:
    if tensor is None or not tensor.numel() or not tensor.is_floating_point():
        return math.nan
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return float(tensor.detach().double().square().mean())


def _label(calls: tuple[Call, ...], act: Activation) -> str:
    names = [c.name for c in calls]
    return names[0] if len(set(names)) == 1 else str(act)


def nested(a: str, b: str) -> bool:
    """Whether one of two modules is inside the other."""
    return a == b or not a or not b or a.startswith(b + ".") or b.startswith(a + ".")


def _common(owners: list[str]) -> str:
    """The innermost module that all of them are in."""
    if len(set(owners)) == 1:
        return owners[0]
    parts = [o.split(".") for o in owners]
    shared = []
    for level in zip(*parts):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ".".join(shared)


def tensors_in(value: Any) -> list[Tensor]:
    """Tensors in nested tuples, lists and dicts, each once."""
    found: dict[int, Tensor] = {}
    stack = [value]
    while stack:
        v = stack.pop()
        if isinstance(v, Tensor):
            found[id(v)] = v
        elif isinstance(v, Mapping):
            stack.extend(reversed(list(v.values())))
        elif isinstance(v, (list, tuple)):
            stack.extend(reversed(v))
    return list(found.values())
