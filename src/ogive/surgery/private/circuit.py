"""A model as affine maps, polynomials and sums, found by running it on unit vectors."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ogive.errors import InputError, OgiveError
from ogive.layers.act import Act
from ogive.surgery.private.masks import Masked
from ogive.surgery.private.polynomials import depth_of
from ogive.surgery.private.range import PolynomialAct
from ogive.surgery.private.steps import Circuit, Step

_LARGEST = 4096  # entries of a vector: half the smallest ring that holds a few levels
_SHIFT = 16.0  # a square completed with a larger shift would lose digits: (16 + t)^2 already costs eight bits


class _Value:
    """An affine function of one wire: its values at zero and at every unit vector of the wire, as a batch."""

    def __init__(self, wire: int, rows: Tensor, name: str) -> None:
        self.wire, self.rows, self.name = wire, rows, name


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (Act, Masked)) or super().is_leaf_module(m, module_qualified_name)


class _Builder(fx.Interpreter):
    """Runs the graph on :class:`_Value`: affine maps are applied to the unit vectors, which builds their matrix."""

    def __init__(self, module: fx.GraphModule, shape: tuple[int, ...]) -> None:
        super().__init__(module)
        self.steps: list[Step] = []
        self.levels = {0: 0}
        self.shape = shape
        self.generator = torch.Generator().manual_seed(0)

    def start(self, wire: int, shape: tuple[int, ...], name: str) -> _Value:
        size = math.prod(shape)
        if size > _LARGEST:
            raise OgiveError(f"{name}: a vector of {size} entries; an encrypted one holds {_LARGEST}. Make the layer "
                             "smaller or pool before it")  # fmt: skip
        rows = torch.cat([torch.zeros(1, size), torch.eye(size)]).double()
        return _Value(wire, rows.reshape(-1, *shape), name)

    def settled(self, value: _Value, name: str) -> int:
        """The wire that holds ``value``; a step only where it is not a wire already."""
        flat = value.rows.reshape(len(value.rows), -1)
        zero = flat[0]
        weight, bias = (flat[1:] - zero).numpy(), zero.numpy()
        square = weight.shape[0] == weight.shape[1]
        if square and not bias.any() and np.array_equal(weight, np.eye(len(weight))):
            return value.wire
        return self.put("affine", name, (value.wire,), 1, weight=weight, bias=bias)

    def put(self, op: str, name: str, inputs: tuple[int, ...], takes: int, **rest: Any) -> int:
        wire = len(self.levels)
        self.levels[wire] = max(self.levels[i] for i in inputs) + takes
        self.steps.append(Step(op, name, inputs, wire, self.levels[wire], **rest))
        return wire

    def polynomial(self, act: PolynomialAct, value: _Value, name: str) -> _Value:
        best = act.polynomial()
        coefficients = _trimmed(best.coefficients)
        # The division by half goes into the matrix before it, which costs no level; powers of t then stay near 1.
        t = _Value(value.wire, (value.rows - best.centre) / best.half, value.name)
        if len(coefficients) < 2:
            raise OgiveError(f"{name} is a constant polynomial, so nothing after it depends on the input")
        if len(coefficients) == 3 and abs(coefficients[1]) <= 2.0 * _SHIFT * abs(coefficients[2]):
            return self.square(t, name, *torch.tensor(coefficients, dtype=torch.float64))
        wire = self.settled(t, f"{value.name}, to {name}")
        wire = self.put("polynomial", name, (wire,), depth_of(len(coefficients) - 1), coefficients=coefficients)
        return self.start(wire, tuple(value.rows.shape[1:]), name)

    def square(self, t: _Value, name: str, c0: Tensor, c1: Tensor, c2: Tensor) -> _Value:
        """``c0 + c1 t + c2 t^2 = c2 (t + h)^2 + c0 - c2 h^2`` with h = c1/(2 c2): all but the square goes into the
        matrices around it, so that it takes one level, and the coefficients may differ by channel."""
        shift = torch.where(c2 == 0.0, torch.zeros_like(c2), c1 / (2.0 * c2))  # a channel that is always 0
        wire = self.settled(_Value(t.wire, t.rows + shift, t.name), f"{t.name}, to {name}")
        wire = self.put("square", name, (wire,), 1)
        made = self.start(wire, tuple(t.rows.shape[1:]), name)
        return _Value(wire, c2 * made.rows + (c0 - c2 * shift * shift), name)

    def masked(self, module: Masked, value: _Value, name: str) -> _Value:
        if bool(module.mask.any()):
            raise OgiveError(f"{name} keeps {float(module.mask.mean()):.1%} of its activations, which no scheme of "
                             "additions and multiplications can run; autorep(..., budget=0) keeps none")  # fmt: skip
        c0, c1, c2 = module.powers.double()
        t = _Value(value.wire, (value.rows - module.centre) / module.width, value.name)
        if bool((c1.abs() <= 2.0 * _SHIFT * c2.abs()).all()):
            return self.square(t, name, c0, c1, c2)
        # some channels are nearly straight: the line and the square go separate ways, which takes one level more
        wire = self.settled(t, f"{t.name}, to {name}")
        line, shape = self.start(wire, tuple(value.rows.shape[1:]), name), tuple(value.rows.shape[1:])
        bent = self.start(self.put("square", name, (wire,), 1), shape, name)
        return self.sum(_Value(wire, c0 + c1 * line.rows, name), _Value(bent.wire, c2 * bent.rows, name))

    def run_node(self, n: fx.Node) -> Any:
        self.at = n
        return super().run_node(n)

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self.start(0, self.shape, "input")

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module, name = self.fetch_attr(target), str(target).partition(".")[2]
        if isinstance(module, PolynomialAct) and isinstance(args[0], _Value):
            return self.polynomial(module, args[0], name)
        if isinstance(module, Masked) and module.replace == "dapa" and isinstance(args[0], _Value):
            if module.degree != 2:
                raise OgiveError(f"{name} has polynomials of degree {module.degree} that differ by channel; degree 2 "
                                 "can be encrypted (autorep(..., degree=2))")  # fmt: skip
            return self.masked(module, args[0], name)
        return self.affine(lambda *a: module(*a, **kwargs), args, name, type(module).__name__)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(target, "__name__", str(target))
        if kwargs and any(isinstance(v, _Value) for v in kwargs.values()):
            raise OgiveError(f"{self.at.name} gives {name} its input by keyword; give it by position")
        both = len(args) == 2 and all(isinstance(a, _Value) for a in args)
        if both and name in ("add", "iadd") and args[0].wire != args[1].wire:
            return self.sum(args[0], args[1])
        if name == "getattr" and isinstance(args[0], _Value):
            return getattr(args[0].rows, args[1])
        return self.affine(lambda *a: target(*a, **kwargs), args, self.at.name, name)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in ("size", "dim") and isinstance(args[0], _Value):
            return getattr(args[0].rows, target)(*args[1:], **kwargs)
        both = len(args) == 2 and all(isinstance(a, _Value) for a in args)
        if both and target in ("add", "add_") and args[0].wire != args[1].wire:
            return self.sum(args[0], args[1])
        return self.affine(lambda *a: getattr(a[0], target)(*a[1:], **kwargs), args, self.at.name, str(target))

    def sum(self, a: _Value, b: _Value) -> _Value:
        wires = self.settled(a, a.name), self.settled(b, b.name)
        wire = self.put("add", self.at.name, wires, 0)
        return self.start(wire, tuple(a.rows.shape[1:]), self.at.name)

    def affine(self, run: Any, args: Any, name: str, kind: str) -> Any:
        """``run`` on the unit vectors, once it is seen to be affine: f(u) + f(v) = f(u + v) + f(0) for random u and
        v of three sizes."""
        values = [a for a in args if isinstance(a, _Value)]
        if not values:
            return run(*args)
        if len({v.wire for v in values}) > 1:
            raise OgiveError(f"{name}: {kind} takes two results that went through different polynomials; only a sum of "
                             "two is carried out under encryption")  # fmt: skip
        for size in (0.1, 3.0, 100.0):
            u, v = (self.mixed(args, size) for _ in range(2))
            both = [a + b if isinstance(x, _Value) else x for a, b, x in zip(u, v, args)]
            zero = [torch.zeros_like(a) if isinstance(x, _Value) else x for a, x in zip(u, args)]
            with torch.no_grad():
                f = [run(*map(_own, given)) for given in (u, v, both, zero)]
            if not all(isinstance(y, Tensor) for y in f):
                raise OgiveError(f"{name}: {kind} returns no tensor, so it has no matrix")
            rest = (f[0] + f[1] - f[2] - f[3]).abs().max()
            if not float(rest) <= 1e-6 * max(float((f[2] - f[3]).abs().max()), 1e-6 * size):
                hint = ("max pooling: polynomialise(model, data, pool='average')" if "pool" in kind.lower()
                        else "an activation: polynomialise(model, data) first")  # fmt: skip
                raise OgiveError(f"{name}: {kind} is neither an affine map nor a polynomial, so a scheme of "
                                 f"additions and multiplications cannot run it. If it is {hint}; a softmax or a "
                                 "norm of the data itself must stay outside the encrypted part")  # fmt: skip
        with torch.no_grad():
            made = run(*(a.rows.clone() if isinstance(a, _Value) else a for a in args))
        if made.shape[:1] != values[0].rows.shape[:1]:
            raise OgiveError(f"{name}: {kind} changes the batch dimension from {len(values[0].rows)} to "
                             f"{tuple(made.shape)}; flatten with nn.Flatten() or flatten(1)")  # fmt: skip
        return _Value(values[0].wire, made, name)

    def mixed(self, args: Any, size: float) -> list[Any]:
        """Random inputs of the shapes at hand, as many examples as there are rows (reshapes may count on that)."""

        def drawn(value: _Value) -> Tensor:
            return size * torch.randn(value.rows.shape, generator=self.generator, dtype=torch.float64)

        return [drawn(a) if isinstance(a, _Value) else a for a in args]

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(args[0], _Value):
            raise InputError("the model returns something other than one tensor that depends on its input")
        self.settled(args[0], args[0].name)
        return args[0]


def circuit(model: nn.Module, example: Tensor) -> Circuit:
    """The steps of a model whose activations are polynomials: affine maps joined to one matrix each, and polynomials.

    Convolutions, batch norms in evaluation, average pooling, reshapes, sums of branches: whatever is affine becomes a
    matrix by being applied to unit vectors, after a check with random inputs that it is affine. Dropout does nothing.
    A polynomial of degree 2 becomes a square, the rest of it goes into the matrices around.

    Args:
        model: one that :func:`torch.fx.symbolic_trace` can follow; it is left as it was.
        example: one batch; only its shape counts.

    Raises:
        OgiveError: for a step that is neither affine nor a polynomial, by name, or a model that cannot be traced.
        InputError: for an example without a batch dimension.

    >>> from ogive.surgery.private.polynomials import Polynomial
    >>> square = PolynomialAct(Polynomial((0.0, 0.0, 1.0), 0.0, 2.0, -2.0, 2.0))
    >>> circuit(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), square, nn.Linear(4, 2)), torch.zeros(1, 3))
    circuit of depth 3, 3 inputs, 2 outputs
    affine      3 -> 4         level 1   1, to 2
    square                     level 2   2
    affine      4 -> 2         level 3   3
    """
    if not isinstance(example, Tensor) or example.dim() < 2:
        got = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise InputError(f"example={got}: it takes a batch, a tensor whose first dimension counts examples")
    # fx takes the class's forward of what it is given, so the model is a child: functions that were exchanged in its
    # code are exchanged by a forward on the object
    whole = nn.Sequential(copy.deepcopy(model).double().cpu().eval())
    try:
        graph = _Tracer().trace(whole)
    except Exception as error:  # whatever the model's code does with a proxy
        raise OgiveError(f"{type(model).__name__} cannot be traced by torch.fx ({str(error)[:120]}); write it without "
                         "branches that depend on values, activations as modules") from error  # fmt: skip
    builder = _Builder(fx.GraphModule(whole, graph), tuple(example.shape[1:]))
    given = sum(n.op == "placeholder" for n in graph.nodes)
    if given != 1:
        raise InputError(f"{type(model).__name__} takes {given} inputs; one is encrypted")
    try:
        builder.run(example.double())
    except OgiveError as error:  # fx adds its own lines to the message
        raise type(error)(str(error).partition("\n\nWhile executing")[0]) from None
    if not builder.steps:
        raise InputError(f"{type(model).__name__} does nothing to its input")
    last = builder.steps[-1]
    size = math.prod(example.shape[1:])
    return Circuit(tuple(builder.steps), size, _outputs(builder.steps, last, size))


def _outputs(steps: list[Step], last: Step, size: int) -> int:
    by_wire = {s.result: s for s in steps}
    while last.weight is None:
        if last.inputs[0] == 0:
            return size
        last = by_wire[last.inputs[0]]
    return int(last.weight.shape[1])


def _own(value: Any) -> Any:
    """A tensor that may be written into."""
    return value.clone() if isinstance(value, Tensor) else value


def _trimmed(c: tuple[float, ...]) -> tuple[float, ...]:
    """Without leading coefficients that are 0 to 12 digits: they would cost a level."""
    top = max(map(abs, c))
    end = len(c)
    while end > 1 and abs(c[end - 1]) <= 1e-12 * top:
        end -= 1
    return c[:end]
