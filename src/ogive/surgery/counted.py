"""Calls in a module's own code, counted as they are made, and others made in their place."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ogive.errors import OgiveError
from ogive.surgery.operations import plain_name
from ogive.surgery.sites import Site

See = Callable[[str, Tensor], None]
Undo = list[Callable[[], None]]


def place(owner: str) -> tuple[str, int]:
    """The path of a module and which of its runs an owner such as ``block.act#2`` names."""
    path, _, run = owner.partition("#")
    return path, int(run or 1)


class Exchange:
    """One site in a run: holds what the site was given until its last call, whose result it then makes.

    ``at`` is the module that holds the one to call and the name it has there, asked at every call: what stands there
    is a site of its own and may be exchanged in turn. None leaves the result as it is; ``see`` is shown the input.
    """

    def __init__(self, site: str, at: tuple[nn.Module, str] | None, see: See | None) -> None:
        self.site, self.at, self.see = site, at, see
        self.held: Tensor | None = None
        self.met = False

    @property
    def instead(self) -> nn.Module | None:
        """What makes the result, where something does."""
        return None if self.at is None else self.at[0]._modules.get(self.at[1])

    def take(self, x: Tensor) -> None:
        self.met = True
        if self.see is not None:
            self.see(self.site, x)
        self.held = x if self.at is not None else None

    def give(self, into: Tensor | None) -> Tensor:
        """The result; written into the tensor that the site would have overwritten."""
        x, self.held, instead = self.held, None, self.instead
        assert x is not None and instead is not None
        if into is None:
            result: Tensor = instead(x)
            return result
        return into.copy_(instead(x.clone()))


class Counted(TorchFunctionMode):
    """Sees the calls that one module's own code makes, not those of the modules in it.

    Where an earlier exchange counts calls of the same code, that one is ``earlier``: it goes first, as it did when the
    sites of this one were found.
    """

    def __init__(self, owner: nn.Module, path: str, runs: int) -> None:
        super().__init__()
        self.owner, self.path, self.runs = owner, path, runs
        self.run = self.paused = 0
        self.counts: Counter[str] = Counter()
        self.earlier: Counted | None = None
        self.first: dict[tuple[int, str, int], tuple[Exchange, int | str]] = {}
        self.last: dict[tuple[int, str, int], Exchange] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if self.paused or name == "__get__":
            return func(*args, **kwargs)
        plain, _ = plain_name(name)
        self.counts[plain] += 1
        key = self.run, plain, self.counts[plain]
        started, ended = self.first.get(key), self.last.get(key)
        overwrites = (name.endswith("_") and not name.endswith("__")) or bool(kwargs.get("inplace")) or name[:3] in _IN
        if started is not None:
            exchange, slot = started
            x = args[slot] if isinstance(slot, int) else kwargs[slot]
            exchange.take(x.clone() if overwrites and ended is None else x)
        if ended is None or ended.instead is None or ended.held is None:
            return func(*args, **kwargs)
        self.paused += 1
        try:
            return ended.give(args[0] if overwrites else None)
        finally:
            self.paused -= 1

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.run = self.run % self.runs + 1
        self.counts.clear()
        mine = [e for (run, _, _), e in self.last.items() if run == self.run]
        for exchange in mine:
            exchange.met = False
        with self:
            if self.earlier is not None:
                output = self.earlier.forward(*args, **kwargs)
            else:
                output = type(self.owner).forward(self.owner, *args, **kwargs)
        missed = [e.site for e in mine if not e.met]
        if missed:
            warnings.warn(
                f"{missed[0]} was not reached: {self.path or 'the model'} took another way than on the example, so "
                "its own function ran; swap again with an example that takes this way", stacklevel=2,
            )  # fmt: skip
        return output

    def pause(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.paused += 1

    def resume(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.paused -= 1

    def restart(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.run = 0


_IN = ("__i",)  # x *= y


def counted(counter: Counted, *args: Any, **kwargs: Any) -> Any:
    """The module's forward, its calls counted. Never compiled: a compiled graph would not ask for each call."""
    if "torch._dynamo" in sys.modules:
        return torch.compiler.disable(counter.forward)(*args, **kwargs)
    return counter.forward(*args, **kwargs)


def exchange_calls(
    model: nn.Module, found: list[Site], instead: Mapping[str, nn.Module], see: See | None, undo: Undo
) -> dict[str, nn.Module]:
    """Put modules in the place of sites that are calls and show ``see`` what all are given; what was put in, by site.

    What takes it back is appended to ``undo``.
    """
    put: dict[str, nn.Module] = {}
    counters: dict[str, Counted] = {}
    runs: Counter[str] = Counter()
    for site in found:
        for call in site.calls:
            path, run = place(call.owner)
            runs[path] = max(runs[path], run)
    for site in found:
        new, at = instead.get(site.name), None
        if new is not None:
            owner = _home(model, site)
            new.train(owner.training)
            put[site.name] = new
            called = site.calls[0].name  # a formula where a module that carries one is called
            at = owner, _free(owner, f"instead_{called}" if called.isidentifier() else "instead")
            owner.add_module(at[1], new)
            undo.append(_Removal(*at))
        exchange = Exchange(site.name, at, see)
        for call, ends in ((site.calls[0], False), (site.calls[-1], True)):
            path, run = place(call.owner)
            if call.nth == 0:
                _hook_module(model.get_submodule(path), exchange, ends, undo)
                continue
            counter = counters.setdefault(path, Counted(model.get_submodule(path), path, runs[path]))
            if ends:
                counter.last[run, call.name, call.nth] = exchange
            else:
                assert call.slot is not None
                counter.first[run, call.name, call.nth] = exchange, call.slot
    for path, counter in counters.items():
        owner = counter.owner
        if "forward" in vars(owner):
            counter.earlier = _counting(owner)
            if counter.earlier is None:
                raise OgiveError(f"{path or 'the model'} has a forward put on the object itself, so its calls cannot "
                                 "be counted; take that away first")  # fmt: skip
        vars(owner)["forward"] = partial(counted, counter)
        undo.append(partial(_uncount, counter))
        if path:
            undo.append(model.register_forward_pre_hook(counter.restart).remove)
        for module in owner.modules():
            if module is not owner:
                undo.append(module.register_forward_pre_hook(counter.pause).remove)
                undo.append(module.register_forward_hook(counter.resume, always_call=True).remove)
    return put


def _home(model: nn.Module, site: Site) -> nn.Module:
    """Where the module for a site is kept: with the code of the site, but in no container that runs its children
    (a hook of a Sequential is code of the Sequential)."""
    for owner in (site.module, *(c.owner for c in site.calls)):
        found = model.get_submodule(place(owner)[0])
        if not isinstance(found, (nn.Sequential, nn.ModuleList)):
            return found
    raise OgiveError(f"{site.name} is computed by hooks of a {type(found).__name__}, where nothing can stand in its "
                     "place; take the hooks away first")  # fmt: skip


def _counting(owner: nn.Module) -> Counted | None:
    """The counter whose forward stands on the object, if it is one of ours."""
    forward = vars(owner).get("forward")
    return forward.args[0] if isinstance(forward, partial) and forward.func is counted else None


def _uncount(counter: Counted) -> None:
    """Take one counter away, whichever came after it."""
    owner, outer = counter.owner, _counting(counter.owner)
    if outer is counter:
        if counter.earlier is None:
            del vars(owner)["forward"]
        else:
            vars(owner)["forward"] = partial(counted, counter.earlier)
        return
    while outer is not None and outer.earlier is not counter:
        outer = outer.earlier
    if outer is not None:
        outer.earlier = counter.earlier


def _hook_module(module: nn.Module, exchange: Exchange, ends: bool, undo: Undo) -> None:
    """The first or last call of a site may be a module that carries its formula."""

    def before(_: nn.Module, args: tuple[Any, ...]) -> None:
        exchange.take(args[0])

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return exchange.give(None) if exchange.held is not None else output

    hook = module.register_forward_hook(after) if ends else module.register_forward_pre_hook(before)
    undo.append(hook.remove)


def _free(owner: nn.Module, name: str) -> str:
    taken = 1
    while hasattr(owner, name if taken == 1 else f"{name}_{taken}"):
        taken += 1
    return name if taken == 1 else f"{name}_{taken}"


class _Removal:
    """Takes a child away."""

    def __init__(self, owner: nn.Module, name: str) -> None:
        self.owner, self.name = owner, name

    def __call__(self) -> None:
        with suppress(KeyError):
            del self.owner._modules[self.name]
