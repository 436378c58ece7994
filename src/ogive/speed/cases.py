"""What is timed: for one function, dtype, size and direction, every contender and the floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.kernels import evaluate, gate, several
from ogive.speed.formulas import textbook
from ogive.speed.measure import Run
from ogive.speed.natives import NATIVES, Native

DIRECTIONS = ("forward", "backward", "both")
OUTPUTS = ("preallocated", "fresh")
LEARNED = {"prelu": ("a",)}  # parameters that a network always trains: tensors with a gradient where there is one


@dataclass(frozen=True)
class Contender:
    """One thing to call: "ogive", "native", "eager" or "compiled", where its result goes, and what it calls."""

    name: str
    output: str
    run: Run
    timed: str


@dataclass(frozen=True)
class Operands:
    """Tensors of one size and dtype: two inputs from N(0, 4), an upstream gradient from N(0, 1), and places for
    results. Results never overwrite an input: repeated in place, an activation ends in denormal numbers."""

    inputs: tuple[Tensor, Tensor]
    g: Tensor
    out: Tensor
    second: Tensor

    @classmethod
    def make(cls, size: int, dtype: torch.dtype, device: torch.device) -> Operands:
        """Seeded operands of ``size`` elements."""
        dice = torch.Generator(device=device).manual_seed(0)
        x, y, g = (torch.randn(size, generator=dice, device=device, dtype=torch.float32) for _ in range(3))
        inputs = ((2.0 * x).to(dtype), (2.0 * y).to(dtype))
        return cls(inputs, g.to(dtype), torch.empty_like(inputs[0]), torch.empty_like(inputs[0]))


@dataclass(frozen=True)
class Case:
    """One function on some operands."""

    act: Activation
    on: Operands
    compiled: Mapping[str, Callable[..., Any]] | None = None

    @property
    def xs(self) -> tuple[Tensor, ...]:
        """As many inputs as the function takes."""
        return self.on.inputs[: len(self.act.inputs)]

    @cached_property
    def params(self) -> dict[str, float]:
        """The parameters as numbers."""
        return self.act.defaults

    @cached_property
    def native(self) -> Native | None:
        """torch's own form, if it has one."""
        return NATIVES.get(self.act.name or "")

    @cached_property
    def leaves(self) -> tuple[tuple[Tensor, ...], dict[str, Any], tuple[Tensor, ...]]:
        """Inputs and parameters as a training step has them, and all that need a gradient."""
        xs = tuple(x.detach().requires_grad_() for x in self.xs)
        trained = LEARNED.get(self.act.name or "", ())
        params = {
            k: torch.tensor([v], dtype=xs[0].dtype, device=xs[0].device, requires_grad=True) if k in trained else v
            for k, v in self.params.items()
        }
        return xs, params, (*xs, *(p for p in params.values() if isinstance(p, Tensor)))

    def floor(self, direction: str) -> tuple[Run, str]:
        """The cheapest torch operations that move as much memory, into given tensors.

        A gate reads two inputs, so its forward is held against the three-stream add, and its backward, which
        reads three tensors and writes two, against the add and a copy."""
        x, g, out, second = self.on.inputs[0], self.on.g, self.on.out, self.on.second
        copy: Run = lambda: out.copy_(x)  # noqa: E731
        add: Run = lambda: torch.add(x, g, out=out)  # noqa: E731
        extra: Run = lambda: second.copy_(x)  # noqa: E731
        gate = len(self.xs) == 2
        forward, backward = ([add], [add, extra]) if gate else ([copy], [add])
        texts = ("add", "add + copy_") if gate else ("copy_", "add")
        steps = {"forward": forward, "backward": backward, "both": forward + backward}[direction]
        text = {"forward": texts[0], "backward": texts[1], "both": " + ".join(texts)}[direction]
        if len(steps) == 1:
            return steps[0], text

        def several() -> None:
            for step in steps:
                step()

        return several, text

    def contenders(self, direction: str) -> list[Contender]:
        """All that can be timed of ``direction``."""
        made = {"forward": self._forward, "backward": self._backward, "both": self._both}[direction]()
        if self.on.out.numel() < 1000 and direction != "both":  # call overhead: only what users call
            made = [c for c in made if c.output == "fresh"]
        return made

    def _forward(self) -> list[Contender]:
        act, xs, out, native = self.act, self.xs, self.on.out, self.native
        args: tuple[Any, ...] = (*xs, *self.params.values())
        formula = textbook(act)
        found = [Contender("ogive", "fresh", lambda: act(*xs), "act(x)")]
        run: Run = lambda: evaluate(act.form, out.dtype, False, args, out=out)  # noqa: E731
        found.append(Contender("ogive", "preallocated", run, "kernels.evaluate(form, ..., out=out)"))
        if native is not None:
            found.append(Contender("native", "fresh", lambda: native.call(*args), "torch's function"))
            if native.into is not None:
                write = native.into
                found.append(Contender("native", "preallocated", lambda: write(xs[0], out), "torch.ops.aten, out="))
        found.append(Contender("eager", "fresh", lambda: formula(*args), "the textbook formula"))
        if self.compiled is not None:
            forward = self.compiled["forward"]
            found.append(Contender("compiled", "fresh", lambda: forward(*args), "torch.compile of the textbook"))
        return found

    def _backward(self) -> list[Contender]:
        act, xs, g, native = self.act, self.xs, self.on.g, self.native
        args: tuple[Any, ...] = (*xs, *self.params.values())
        forms = [act.form.vjp(i) for i in range(len(xs))]
        places = (self.on.out, self.on.second)
        dtype = g.dtype

        def fresh() -> None:
            if len(xs) == 1 or several.gradients(act.form, args, g, [0, 1]) is None:
                for form in forms:
                    evaluate(form, dtype, False, (*args, g))

        what = "kernels.evaluate of the vjp by x" if len(xs) == 1 else "both gradients, as backward makes them"
        found = [Contender("ogive", "fresh", fresh, what)]

        def given() -> None:
            if len(xs) == 1 or gate.run(act.form, args[2:], xs[0], xs[1], g, places) is None:
                for form, place in zip(forms, places):
                    evaluate(form, dtype, False, (*args, g), out=place)

        found.append(Contender("ogive", "preallocated", given, what + ", out=out"))
        if native is not None:
            found += self._native_backward(native, args)
        found.append(Contender("eager", "fresh", self._kept(textbook(act)), "torch.autograd.grad of a kept graph"))
        if self.compiled is not None:
            vjp = self.compiled["backward"]
            found.append(Contender("compiled", "fresh", lambda: vjp(g, *args), "torch.compile of the textbook's vjp"))
        return found

    def _native_backward(self, native: Native, args: tuple[Any, ...]) -> list[Contender]:
        x, g, out, run = self.xs[0], self.on.g, self.on.out, native.backward
        if run is None:
            return [Contender("native", "fresh", self._kept(native.call), native.text)]
        y = native.call(*args)
        found = [Contender("native", "fresh", lambda: run(g, x, y), native.text)]
        if native.grad is not None:
            into = {native.grad: out}
            found.append(Contender("native", "preallocated", lambda: run(g, x, y, **into), f"{native.text}, out="))
        return found

    def _kept(self, function: Callable[..., Tensor]) -> Run:
        """The backward of ``function`` alone, by inputs only; the graph is built by the first call."""
        xs, g = self.leaves[0], self.on.g
        graph: list[Tensor] = []

        def backward() -> object:
            if not graph:
                graph.append(function(*xs, *self.params.values()))
            return torch.autograd.grad(graph[0], xs, g, retain_graph=True, allow_unused=True)

        return backward

    def _both(self) -> list[Contender]:
        act, g, native = self.act, self.on.g, self.native
        xs, params, wanted = self.leaves
        args = (*xs, *params.values())
        formula = textbook(act)
        calls: dict[str, Callable[[], Tensor]] = {"ogive": lambda: act(*xs, **params)}
        if native is not None:
            calls["native"] = lambda: native.call(*args)
        calls["eager"] = lambda: formula(*args)
        if self.compiled is not None:
            forward = self.compiled["forward"]
            calls["compiled"] = lambda: forward(*args)

        def step(call: Callable[[], Tensor]) -> Run:
            return lambda: torch.autograd.grad(call(), wanted, g, allow_unused=True)

        return [Contender(name, "fresh", step(call), "torch.autograd.grad(f(x), x, g)") for name, call in calls.items()]


def compiled_textbook(act: Activation) -> dict[str, Callable[..., Any]]:
    """torch.compile of the textbook formula and of its vector-Jacobian product, compiled when first called."""
    formula = textbook(act)
    inputs = len(act.inputs)

    def vjp(g: Tensor, *args: Any) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = torch.func.vjp(lambda *xs: formula(*xs, *args[inputs:]), *args[:inputs])[1](g)
        return parts

    return {"forward": torch.compile(formula, dynamic=False), "backward": torch.compile(vjp, dynamic=False)}
