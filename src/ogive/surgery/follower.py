"""The calls of torch in a followed run: each extends a formula or leaves a node.

Calls that act on each element build a formula of the last tensor that was not made so; the formula becomes a
nonlinearity where something else uses the result, so that ``x * torch.sigmoid(x)`` is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive import catalogue
from ogive.activation import Activation
from ogive.derive.torch_names import FORMULAS
from ogive.derive.trace import Symbol, call
from ogive.errors import OgiveError
from ogive.expr import var
from ogive.surgery.formulas import Operand
from ogive.surgery.graph import Call, Node, Weight
from ogive.surgery.operations import DIVIDING, FRESH, JOIN, NORM, PASS, PRODUCT, QUOTIENT, REDUCE, SUM, plain_name
from ogive.surgery.provenance import STARTS, Known, Provenance, moment_of, tensors_in
from ogive.surgery.views import axes_of_view, swapped_in, with_symbols
from ogive.surgery.weights import LINEAR, Map, linear_map

_ATTENTION = ("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k",
              "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias")  # fmt: skip


# Called with the node of a linear map, the map, its output, and a function that computes the output of another
# weight; returns an output to go on with, or None.
OnLinear = Callable[[Node, Map, Tensor, Callable[[Tensor], Tensor]], "Tensor | None"]


class Follower(Provenance):
    """Builds the nodes of a graph while the model runs under it; use :func:`ogive.surgery.follow.follow`."""

    def __init__(self, model: nn.Module, on_linear: OnLinear | None = None) -> None:
        super().__init__(model)
        self.on_linear = on_linear

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if self.quiet:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
            if name in ("grad_fn", "grad", "shape", "dtype", "device", "requires_grad"):
                return func(*args, **kwargs)
        plain, swapped = plain_name(name)
        self.counts[self.owner, plain] += 1
        read = (args[1], args[0], *args[2:]) if swapped and len(args) > 1 else args
        given = [(t, self.see(t)) for t in tensors_in((read, kwargs))]
        output = of_the_batch(func, args, kwargs) if plain == "batch_norm" else func(*args, **kwargs)
        if name == "copy_" and given[-1][1] is not None and given[-1][1].node.kind not in STARTS:
            self._learn(output, given[-1][1])  # what was written over it
        made = [t for t in tensors_in((output,)) if t.is_floating_point() or t.dtype == torch.bool]
        if not made or (len(made) == 1 and isinstance(output, Tensor) and name in ("requires_grad_", "copy_")):
            return output
        changed = self._record(plain, func, args, read, kwargs, given, made)
        return output if changed is None else changed

    def _record(
        self,
        name: str,
        func: Callable[..., Any],
        called: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        given: list[tuple[Tensor, Known | None]],
        made: list[Tensor],
    ) -> Any:
        data = [(t, k) for t, k in given if k is not None and k.node.kind not in STARTS]
        if name in PASS and len(made) == 1 and any(made[0] is t for t, _ in given):
            return None  # nothing happened
        if name == "embedding" and made:
            self._embedding(given, made[0])
            return None
        if name in FRESH:
            data = []
        if not data:
            self._from_constants(name, args, kwargs, given, made)
            return None
        if name in LINEAR:
            found = linear_map(name, args, kwargs, self._learned)
            if found is not None:
                return self._linear(name, func, found, called, kwargs, made[0])
        if name == "multi_head_attention_forward":
            self._attention(args, kwargs, made[0])
            return None
        by_element = name in FORMULAS and name not in PASS and len(made) == 1
        if by_element and self._formula(name, called, args, kwargs, given, data, made[0]):
            return None
        if made[0].dtype == torch.bool:
            return None
        parents = tuple(dict.fromkeys(self._use(k, t) for t, k in data))
        if name in NORM:
            self._norm(name, args, kwargs, parents, made[0])
            return None
        kind = "mix"
        if name in PASS:
            kind = "pass"
        elif name in JOIN:
            kind = "join"
        elif len(data) > 1 and len(parents) > 1:
            kind = "add" if name in SUM else "gate" if name in PRODUCT else "mix"
        if name in QUOTIENT and len(parents) == 2 and self._normalises(name, parents, made[0]):
            return None
        if name == "glu":
            self._learn(made[0], Known(self._node("gate", "glu", parents, made[0], activation=_glu(), label="glu")))
            return None
        if kind == "mix":
            inside = [(self.axes.get(t) or ("", ()))[0] for t, k in given if self._learned(t) and t.dim() > 1]
            if inside:
                names = ", ".join(n for n in inside[:2] if n) + (", ..." if len(inside) > 2 else "")
                self.stop(name, f"how it uses {names or 'its weights'} is not followed; its scale is measured")
        for tensor in made:
            self._learn(tensor, Known(self._node(kind, name, parents, tensor)))
        return None

    def _learned(self, tensor: Any) -> bool:
        known = self.see(tensor) if isinstance(tensor, Tensor) else None
        return known is not None and known.node.kind == "parameter"

    def _from_constants(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Any, made: Any
    ) -> None:
        parameters = [t for t, k in given if k is not None and k.node.kind == "parameter"]
        for tensor in made:
            if parameters:
                known = Known(self._start("parameter", "", tensor))
                axes = axes_of_view(name, args, self.axes.get(parameters[0])) if len(parameters) == 1 else None
                if axes is not None:
                    self.axes[tensor] = axes
                self.known[tensor] = known
            else:
                self.known[tensor] = Known(self._start("constant", name, tensor))

    def _formula(
        self,
        name: str,
        called: Any,
        args: Any,
        kwargs: Any,
        given: list[tuple[Tensor, Known | None]],
        data: Any,
        made: Tensor,
    ) -> bool:
        """Extend the formula of the one source; False when there are several or no formula fits."""
        data = [(t, self._finished(t, source)) for t, source in data]
        given = [(t, self.known.get(t)) for t, _ in given]
        sources = {k.node.index for _, k in data}
        if len(sources) != 1 or made.numel() < max(t.numel() for t, _ in data):
            return False
        if any(t.dtype == torch.bool and t.numel() > 1 and (k is None or k.node.kind in STARTS) for t, k in given):
            return False  # a mask
        symbols = {}
        for tensor, known in given:
            if known is not None and known.node.kind not in STARTS:
                symbols[id(tensor)] = Symbol(known.expr)
            else:
                symbols[id(tensor)] = self._operand(tensor)
        try:
            result = call(
                name,
                tuple(with_symbols(a, symbols) for a in args),
                {k: with_symbols(v, symbols) for k, v in kwargs.items()},
            )
        except (OgiveError, TypeError, ValueError, OverflowError, ZeroDivisionError):
            return False
        expr = result.expr if isinstance(result, Symbol) else None
        if expr is None:
            return False
        known = data[0][1]
        calls = dict.fromkeys(c for _, k in data for c in k.calls)
        new = expr is not known.expr or len(data) > 1
        if new:
            slot = slot_of(data[0][0], called, kwargs)
            calls[Call(self.owner, name, self.counts[self.owner, name], slot)] = None
        self._learn(made, Known(known.node, expr, tuple(calls), None if new else known.made))
        return True

    def _operand(self, tensor: Tensor) -> Any:
        """A number as it is; a parameter or a vector as a variable that stands for it."""
        known = self.see(tensor)
        learned = known is not None and known.node.kind == "parameter"
        if tensor.numel() == 1 and not learned:
            return float(tensor.detach())
        values = tensor.detach().double()
        label = f"p{id(tensor)}"
        name = (self.axes.get(tensor) or ("", ()))[0] if learned else ""
        self.operands[label] = Operand(
            float(values.mean()), float(values.square().mean()), learned, name, values.numel()
        )
        self.kept.append(tensor)
        return Symbol(var(label))

    def _normalises(self, name: str, parents: tuple[Node, ...], made: Tensor) -> bool:
        """Whether a signal is divided by a reduction of itself, with no weights on the way: that is a normalisation,
        and the squares and roots in it are no nonlinearities."""
        for whole, part in (parents, parents[::-1]):
            way = [part, *part.ancestors()]
            inside = [n for n in way if n.index > whole.index]
            reduced = min((n.index for n in inside if n.op in REDUCE), default=None)
            if whole not in way or reduced is None or any(n.kind == "linear" for n in inside):
                continue
            later = {c for n in inside if n.index > reduced for c in (*(call.name for call in n.calls), n.op)}
            if (name not in PRODUCT and part is parents[1]) or later & DIVIDING:
                for n in inside:
                    if n.kind == "act":
                        n.kind, n.note = "mix", "inside a normalisation"
                self._learn(made, Known(self._node("norm", "normalisation", (whole,), made)))
                return True
        return False

    def _norm(self, name: str, args: Any, kwargs: Any, parents: tuple[Node, ...], made: Tensor) -> None:
        position = {"layer_norm": 2, "rms_norm": 2, "group_norm": 2, "batch_norm": 3, "instance_norm": 3}.get(name, 99)
        weight = kwargs.get("weight", args[position] if len(args) > position else None)
        label = (self.axes.get(weight) or ("", ()))[0] if isinstance(weight, Tensor) and self._learned(weight) else ""
        main = tuple(p for p in parents if p.kind not in STARTS)
        self._learn(made, Known(self._node("norm", name, main, made, scale_name=label)))

    def _embedding(self, given: list[tuple[Tensor, Known | None]], made: Tensor) -> None:
        table = next((t for t, k in given if k is not None and k.node.kind == "parameter"), None)
        name = (self.axes.get(table) or ("", ()))[0] if table is not None else ""
        shape = tuple(table.shape) if table is not None else ()
        weight = Weight(name, "", shape, 1.0, float(made.shape[-1]), (), (1,), "a table, not a map")
        self._learn(made, Known(self._node("embedding", "embedding", (), made, weight=weight)))

    def _linear(self, name: str, func: Any, found: Map, args: Any, kwargs: Any, made: Tensor) -> Any:
        source = self.see(found.data)
        assert source is not None
        node = self._node("linear", name, (self._use(source, found.data),), made, weight=self._weight(found))
        if found.bias is not None and isinstance(found.bias, Tensor) and self._learned(found.bias):
            node.offset = moment_of(found.bias)
        else:
            node.offset = 0.0

        def again(weight: Tensor) -> Tensor:
            swapped = swapped_in((args, dict(kwargs)), found.weight, weight)
            result: Tensor = func(*swapped[0], **swapped[1])
            return result

        changed = None
        if self.on_linear is not None:
            changed = self.on_linear(node, found, made, again)
        result = made if changed is None else changed
        node.moment = moment_of(result)
        self._learn(result, Known(node))
        return changed

    def _weight(self, found: Map) -> Weight:
        name, turned = self.axes.get(found.weight) or ("", None)
        bias = (self.axes.get(found.bias) or ("", None))[0] if isinstance(found.bias, Tensor) else ""
        stored = self.sizes.get(name, tuple(found.weight.shape))
        why = "" if name else "it is computed in every run, not stored"
        inward = () if turned is None else tuple(turned[d] for d in found.inward)
        outward = () if turned is None else tuple(turned[d] for d in found.outward)
        return Weight(name, bias, stored, found.fan_in, found.fan_out, inward, outward, why)

    def _attention(self, args: Any, kwargs: Any, made: Tensor) -> None:
        """``nn.MultiheadAttention``: three maps in, attention, one map out."""
        given = {**dict(zip(_ATTENTION, args)), **kwargs}
        sources = [self.see(given[k]) for k in ("query", "key", "value")]
        nodes = [self._use(s, given[k]) for s, k in zip(sources, ("query", "key", "value")) if s is not None]
        apart = given.get("use_separate_proj_weight")
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight") if apart else ("in_proj_weight",)
        parts: list[Tensor] = [given[k] for k in names]
        projected = []
        for i, weight in enumerate(parts):
            found = Map(given["value"], weight, given.get("in_proj_bias"), (1,), (0,), float(weight.shape[1]),
                        float(weight.shape[0]) / (1 if len(parts) > 1 else 3))  # fmt: skip
            self.see(weight)
            projected.append(self._node("linear", "attention's input map", (nodes[min(i, len(nodes) - 1)],), None,
                                        weight=self._weight(found), offset=0.0))  # fmt: skip
        mixed = self._node("mix", "attention", tuple(projected), None)
        out = given["out_proj_weight"]
        self.see(out)
        found = Map(made, out, given.get("out_proj_bias"), (1,), (0,), float(out.shape[1]), float(out.shape[0]))
        node = self._node("linear", "attention's output map", (mixed,), made, weight=self._weight(found), offset=0.0)
        self._learn(made, Known(node))


def slot_of(tensor: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | str | None:
    """Which argument a tensor is: its position, its name, or None inside a list."""
    given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    return next((at for at, value in given if value is tensor), None)


def _glu() -> Activation:
    return catalogue.lookup("glu")


def of_the_batch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """With the statistics of the batch, which training will see, and without a trace in the running ones."""
    given = dict(zip(("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"), args))
    given.update(kwargs)
    values = given["input"]
    if values.numel() // max(values.shape[1], 1) < 2:
        return func(*args, **kwargs)
    given.update(running_mean=None, running_var=None, training=True)
    return torch.nn.functional.batch_norm(**given)
