"""Trace a model once, on one example, into the steps that the verifier propagates.

A ``TorchFunctionMode`` sees functions, methods and operators of torch alike. Elementwise calls build up a formula of
the tensor they start from and become a step where something else uses the result, so that ``x * torch.sigmoid(x)`` is
one activation with its own exact bounds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from ogive.breaks import affine
from ogive.derive.torch_names import FORMULAS
from ogive.derive.trace import Symbol, call
from ogive.errors import InputError, OgiveError
from ogive.expr import Expr, const, rebuild, var
from ogive.surgery.modes import evaluating
from ogive.surgery.operations import FRESH, JOIN, PASS, plain_name
from ogive.surgery.provenance import tensors_in
from ogive.verify import calls
from ogive.verify.decompositions import DECOMPOSED
from ogive.verify.linear import Reshaped, Scaled, Traced
from ogive.verify.lower import X, formula, parts, scaled
from ogive.verify.modules import watch
from ogive.verify.network import Network, Step
from ogive.verify.products import Product
from ogive.verify.replay import Replay, replaced

_READS = {"item", "tolist", "numpy", "bool", "float", "int", "index", "nonzero", "equal", "allclose", "is_nonzero",
          "array", "unique", "sort", "argsort", "topk", "argmax", "argmin"}  # fmt: skip
_LONGEST = 60  # nodes of a formula that is still built up


@dataclass
class Seen:
    """What a tensor is: a formula ``expr`` in x of the result of ``step``; ``version`` counts writes into it."""

    step: int
    expr: Expr
    version: int
    where: str = ""


class Tracer(TorchFunctionMode):
    """Builds steps while a model runs under it; use :func:`trace`."""

    def __init__(self, model: nn.Module, live: bool = False) -> None:
        super().__init__()
        self.model, self.live = model, live
        self.steps: list[Step] = []
        self.known = WeakTensorKeyDictionary()
        self.plain = WeakTensorKeyDictionary()  # tensors that have nothing to do with the input
        self.functions: dict[Any, Seen] = {}
        self.values: dict[str, Tensor] = {}
        self.where: list[str] = [""]
        self.notes: dict[str, None] = {}
        self.quiet = 0
        self.refused: InputError | None = None

    # steps

    def step(self, operation: Any, inputs: tuple[int, ...], shape: tuple[int, ...]) -> int:
        self.steps.append(Step(len(self.steps), operation, inputs, tuple(shape), self.where[-1]))
        return len(self.steps) - 1

    def learn(self, tensor: Tensor, step: int, expr: Expr = X) -> None:
        known = Seen(step, expr, tensor._version, self.where[-1])
        self.known[tensor] = known
        if tensor.grad_fn is not None:
            self.functions[tensor.grad_fn] = known

    def held(self, weight: Any) -> Any:
        """A weight as steps keep it: with its gradient only when bounds are trained through."""
        return weight if weight is None or self.live else weight.detach()

    def refuse(self, name: str, why: str) -> InputError:
        where = f"in {self.where[-1]}" if self.where[-1] else "in the model itself"
        self.refused = InputError(f"verify: {name} {where} {why}")
        return self.refused

    def see(self, tensor: Tensor) -> Seen | None:
        """What is known of ``tensor``; None for one that does not depend on the input."""
        found: Seen | None = self.known.get(tensor)
        if found is not None:
            if found.version != tensor._version:
                raise self.refuse("a tensor", "was changed in place through another view of it, which is not followed; "
                                  "write the result into a new tensor")  # fmt: skip
            return found
        if tensor.grad_fn is None or tensor in self.plain:
            return None
        return self._hidden(tensor)

    def _hidden(self, tensor: Tensor) -> Seen | None:
        """A tensor made where torch's Python functions do not see it: by one of Ogive's kernels, or out of sight."""
        function: Any = tensor.grad_fn
        sources: list[Seen] = []
        seen, stack = {function}, [function]
        while stack:
            for below, _ in stack.pop().next_functions:
                if below is None or below in seen:
                    continue
                seen.add(below)
                if below in self.functions:
                    sources.append(self.functions[below])
                else:
                    stack.append(below)
        if not sources:
            self.plain[tensor] = True
            return None
        form, plan = getattr(function, "form", None), getattr(function, "plan", None)
        if form is not None and plan is not None and len(sources) == 1:
            numbers = {k: const(v) for k, v in zip(form.names[1:], plan.numbers)}
            self._surrogate(form.surrogate, str(form.expr))
            expr = form.expr.substitute(numbers).substitute({form.names[0]: X})
            self._compose(tensor, sources[0], expr)
            return self.known.get(tensor)
        name = function.name() if hasattr(function, "name") else type(function).__name__
        raise self.refuse(name, "is out of sight: a custom autograd Function or TorchScript has no formula here. If it "
                          "acts on each element, write it as ogive.Act(formula) or ogive.define(formula); otherwise "
                          "write it with torch's functions")  # fmt: skip

    def _surrogate(self, backward: Any, label: str) -> None:
        if backward is not None:
            self.notes[f"{label} declares a surrogate derivative; bounds are of its forward function"] = None

    def _compose(self, tensor: Tensor, known: Seen, outer: Expr) -> None:
        """``tensor`` is ``outer`` of a known one."""
        expr = outer.substitute({"x": known.expr})
        if known.expr is not X and sum(1 for _ in expr.walk()) > _LONGEST:
            expr, known = outer, Seen(self.use(known, tuple(tensor.shape)), X, 0, self.where[-1])
        self.learn(tensor, known.step, expr)

    def use(self, known: Seen, shape: tuple[int, ...]) -> int:
        """The step whose result ``known`` is: a formula becomes steps here."""
        self.where.append(known.where)
        made = self.build(known.step, known.expr, shape)
        self.where.pop()
        known.step, known.expr = made, X
        return made

    def build(self, step: int, expr: Expr, shape: tuple[int, ...]) -> int:
        if expr is X:
            return step
        if expr.op in ("gt", "ge"):
            expr = rebuild(Expr("where", (expr, const(1.0), const(0.0))), (expr, const(1.0), const(0.0)))
        line = affine(expr, "x")
        if line is not None:
            return self.step(scaled("scale", line, self.values), (step,), shape)
        split = parts(expr)
        before = self.steps[step].shape
        if split.inner[0] != const(1.0) or split.inner[1] != const(0.0):
            step = self.step(scaled("scale", split.inner, self.values), (step,), before)
        made = formula(str(split.core), split.core, self.values, before)
        step = self.step(made, (step,), before)
        if split.outer != (const(1.0), const(0.0)):
            step = self.step(scaled("scale", split.outer, self.values), (step,), shape)
        return step

    # calls

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if self.quiet:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
            if name not in ("T", "mT", "data"):
                return func(*args, **kwargs)
        given = [(t, self.see(t)) for t in tensors_in((args, kwargs))]
        sources = {id(t): k for t, k in given if k is not None}
        plain, swapped = plain_name(name.lstrip("_") if name.startswith("_max_pool") else name)
        if not sources or plain in FRESH:
            return func(*args, **kwargs)
        if plain in DECOMPOSED:
            try:
                with self:
                    return DECOMPOSED[plain](*args, **kwargs)
            except TypeError as error:
                raise self.refuse(f"torch's {plain}", f"is not followed as it is called here ({error})") from error
        if name == "__setitem__" or kwargs.get("out") is not None:
            raise self.refuse(f"torch's {name}", "writes into part of a tensor, which is not followed; make a new one "
                              "with torch.cat, torch.where or arithmetic")  # fmt: skip
        if plain.strip("_") in _READS and name not in ("float",) and not (name == "unique" and not sources):
            raise self.refuse(f"torch's {plain}", "reads values of the signal, so what the model computes depends on "
                              "them and not on a formula; torch.where says the same for every element")  # fmt: skip
        if plain == "batch_norm":
            calls.refuse_batch_statistics(self, args, kwargs)
        before = {id(t): (t, k) for t, k in given if k is not None}
        output = func(*args, **kwargs)
        made = [t for t in tensors_in((output,)) if t.is_floating_point() or t.dtype == torch.bool]
        if not made:
            if tensors_in((output,)):
                raise self.refuse(f"torch's {plain}", "turns the signal into whole or complex numbers, which have no "
                                  "bounds here")  # fmt: skip
            return output
        if plain in PASS and args and isinstance(args[0], Tensor) and id(args[0]) not in before:
            return output  # the shape or the type is the signal's, the values are not
        read = (args[1], args[0], *args[2:]) if swapped and len(args) > 1 else args
        self._record(plain, func, args, read, kwargs, before, made)
        return output

    def _record(
        self, name: str, func: Any, args: Any, read: Any, kwargs: Any, sources: dict[int, tuple[Tensor, Seen]],
        made: list[Tensor],
    ) -> None:  # fmt: skip
        if name in ("to", "float", "double", "half", "bfloat16", "type", "type_as", "contiguous", "clone", "detach",
                    "alias", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "identity",
                    "feature_dropout", "feature_alpha_dropout", "requires_grad_", "data", "detach_", "cpu",
                    "requires_grad", "zero"):  # fmt: skip
            known = next(iter(sources.values()))[1]
            if made[0].dtype != torch.bool and name != "zero":
                self.learn(made[0], known.step, known.expr)
            return
        special = calls.SPECIAL.get(name)
        if special is not None and special(self, args, kwargs, sources, made):
            return
        if name in FORMULAS and name not in PASS and len(made) == 1:
            self._elementwise(name, read, kwargs, sources, made[0])
            return
        if name in PASS | JOIN | calls.SUMS:
            self._traced(name, func, args, kwargs, sources, made, name not in calls.SUMS)
            return
        if name in calls.WEIGHTED and len(sources) == 1:
            self._traced(name, func, args, kwargs, sources, made, False, weighted=True)
            return
        raise self.refuse(f"torch's {name}", "has no bounds here. If it acts on each element, write it as "
                          "ogive.Act(formula); otherwise write it with linear maps, sums, products, maxima, softmax "
                          "and activations")  # fmt: skip

    def inputs(self, sources: dict[int, tuple[Tensor, Seen]]) -> list[tuple[Tensor, int]]:
        return [(t, self.use(k, tuple(t.shape))) for t, k in sources.values()]

    def _traced(
        self, name: str, func: Any, args: Any, kwargs: Any, sources: Any, made: list[Tensor], exact: bool,
        weighted: bool = False,
    ) -> None:  # fmt: skip
        given = self.inputs(sources)
        shapes = [tuple(t.shape) for t, _ in given]
        slots = {id(t): i for i, (t, _) in enumerate(given)}
        weights: list[Tensor] = []
        if weighted:
            for t in tensors_in((args, kwargs)):
                if id(t) not in slots and t.is_floating_point():
                    slots[id(t)] = len(given) + len(weights)
                    weights.append(t.detach())
        for i, result in enumerate(made):
            shape = tuple(result.shape)
            if exact and len(made) == 1 and len(given) == 1 and calls.keeps_order(name, shapes[0], shape):
                operation: Any = Reshaped(name, shapes[0], shape)
            else:
                replay = Replay(func, args, kwargs, slots, i, len(made) > 1)
                operation = Traced(name, replay, shapes, weights, exact)
            self.learn(result, self.step(operation, tuple(s for _, s in given), shape))

    # formulas

    def _elementwise(self, name: str, args: Any, kwargs: Any, sources: Any, made: Tensor) -> None:
        symbols: dict[int, Any] = {}
        for i, (_, known) in sources.items():
            symbols[i] = Symbol(known.expr.substitute({"x": var(f"n{known.step}")}))
        for t in tensors_in((args, kwargs)):
            if id(t) not in symbols:
                symbols[id(t)] = self._operand(t)
        fresh = {i: Symbol(s.expr) if isinstance(s, Symbol) else s for i, s in symbols.items()}
        options = {k: v for k, v in kwargs.items() if k != "inplace"}
        try:
            result = call(name, replaced(args, fresh), replaced(options, fresh))
        except (OgiveError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
            raise self.refuse(f"torch's {name}", f"has no formula as it is called here ({error})") from error
        expr = result.expr if isinstance(result, Symbol) else None
        steps = sorted({int(v[1:]) for v in expr.variables() if v.startswith("n")}) if expr is not None else []
        if expr is None or not steps:
            return
        self.place(made, expr, steps)

    def place(self, made: Tensor, expr: Expr, steps: list[int]) -> None:
        """``made`` is a formula of the results of ``steps``, which broadcast to its shape."""
        shape = tuple(made.shape)
        if len(steps) == 1:
            step = self.spread(steps[0], shape)
            inner = expr.substitute({f"n{steps[0]}": X})
            if sum(1 for _ in inner.walk()) > _LONGEST:
                self.learn(made, self.build(step, inner, shape))
            else:
                self.learn(made, step, inner)
            return
        if expr.op in ("gt", "ge"):
            raise self.refuse("a comparison of two signals", "is not followed; torch.maximum or a formula can be")
        self.learn(made, self.lowered(expr, shape))

    def spread(self, step: int, shape: tuple[int, ...]) -> int:
        """The step broadcast to ``shape``."""
        before = self.steps[step].shape
        if before == shape:
            return step
        replay: Callable[..., Tensor] = lambda x: x.expand(shape)  # noqa: E731
        return self.step(Traced("expand", replay, [before], (), True), (step,), shape)

    def _operand(self, tensor: Tensor) -> Any:
        if tensor.numel() == 1:
            return float(tensor.detach())
        label = f"p{len(self.values)}"
        self.values[label] = tensor.detach().double()
        return Symbol(var(label))

    def lowered(self, expr: Expr, shape: tuple[int, ...]) -> int:
        """The step of a formula of several signals."""
        steps = sorted({int(v[1:]) for v in expr.variables() if v.startswith("n")})
        if len(steps) == 1:
            return self.build(self.spread(steps[0], shape), expr.substitute({f"n{steps[0]}": X}), shape)
        live = [any(v.startswith("n") for v in a.variables()) for a in expr.args]
        if expr.op in ("add", "sub") and all(live):
            pair = tuple(self.lowered(a, shape) for a in expr.args)
            return self.step(Scaled("sum", [1.0, 1.0 if expr.op == "add" else -1.0]), pair, shape)
        if expr.op == "mul" and all(live):
            return self.step(Product(), tuple(self.lowered(a, shape) for a in expr.args), shape)
        if expr.op == "div" and all(live):
            return self.lowered_product(expr.args[0], const(1.0) / expr.args[1], shape)
        if expr.op in ("maximum", "minimum") and all(live):
            sign = 1.0 if expr.op == "maximum" else -1.0
            a, b = (self.lowered(e, shape) for e in expr.args)
            rest = self.step(Scaled("difference", [-sign, sign]), (a, b), shape)
            part = self.build(rest, Expr("maximum", (X, const(0.0))), shape)
            return self.step(Scaled("sum", [1.0, sign]), (a, part), shape)
        if sum(live) == 1:
            at = live.index(True)
            inner = self.lowered(expr.args[at], shape)
            args = tuple(X if i == at else a for i, a in enumerate(expr.args))
            return self.build(inner, rebuild(expr, args), shape)
        raise self.refuse(f"{expr.op} of two signals", "is not followed; write it with sums, products and activations")

    def lowered_product(self, a: Expr, b: Expr, shape: tuple[int, ...]) -> int:
        return self.step(Product(), (self.lowered(a, shape), self.lowered(b, shape)), shape)


def trace(model: nn.Module, example: Tensor, live: bool = False) -> Network:
    """The steps of ``model`` on inputs shaped like ``example``, one example with its batch dimension.

    The model runs in evaluation mode and is left as it was. Weights are shared, so the steps follow what training
    writes into them; with ``live`` bounds also have gradients by them. Raises :class:`~ogive.errors.InputError` for
    what cannot be followed, naming the call and the module.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"verify: expected a model, an nn.Module; got {type(model).__name__}: {str(model)[:80]!r}")
    away = [t.device for t in (example, *model.parameters(), *model.buffers()) if t.device.type != "cpu"]
    if away:
        raise InputError(f"verify: the model or its input lies on {away[0]}; bounds are rounded as a processor rounds, "
                         "so give model.cpu() and x.cpu()")  # fmt: skip
    tracer = Tracer(model, live)
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.random.fork_rng([]))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        start = example.detach().clone().requires_grad_().clone()
        tracer.learn(start, tracer.step(None, (), tuple(example.shape)))
        watch(tracer, stack)
        try:
            with tracer:
                output = model(start)
        except TypeError as error:  # torch's operators turn a TypeError, our refusal too, into one of their own
            raise tracer.refused or error from None
        if not isinstance(output, Tensor):
            raise InputError(f"verify: the model returns {type(output).__name__}; a verifier bounds one tensor of "
                             "scores: wrap the model so that it returns that one")  # fmt: skip
        known = tracer.see(output)
        if known is None:
            raise InputError("verify: the model's output does not depend on its input")
        last = tracer.use(known, tuple(output.shape))
    network = Network(tuple(tracer.steps), last, type(model).__name__, tuple(tracer.notes))
    _agree(network, start.detach(), output.detach())
    return network


def _agree(network: Network, x: Tensor, want: Tensor) -> None:
    """The steps compute what the model did, but for its rounding."""
    with torch.no_grad():
        got = network.evaluate(x.double().unsqueeze(0)).reshape(want.shape)
    far = float((got - want.double()).abs().max()) if want.numel() else 0.0
    if not far <= 1e-2 * (1.0 + float(want.abs().max())) and bool(torch.isfinite(want).all()):
        raise InputError(f"verify: the traced steps give other values than {network.model} (by {far:.3g}), so "
                         "something it does was not seen; write it with torch's functions")  # fmt: skip
