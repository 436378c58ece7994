"""Put a module in the place of a nonlinearity, wherever it is written, and take it away again.

A module that is a site whole is exchanged in its parents. Functions, tensor methods and operators are exchanged as
they are called: the module whose code calls them runs under a mode that counts its calls by name, as :func:`follow`
did when it found the site, and the ones of the site go to the module instead. What the model computes elsewhere, its
parameters and the keys of its ``state_dict`` stay.
"""

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
from ogive.surgery.edits import PutBack
from ogive.surgery.operations import plain_name
from ogive.surgery.sites import Site

See = Callable[[str, Tensor], None]


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


class ByRun(nn.Module):
    """Several functions in the place of one module that is run several times: one after the other, and again."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.run = 0

    def forward(self, x: Tensor) -> Any:
        part = self.parts[self.run % len(self.parts)]
        self.run += 1
        return part(x)

    def restart(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.run = 0


class Rewired:
    """Modules in the place of sites; ``undo()`` gives the model back as it was, bit for bit."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self.modules: dict[str, nn.Module] = {}  # by site

    def undo(self) -> None:
        """Take everything away again; once is enough, twice does no harm."""
        while self._undo:
            self._undo.pop()()
        self.modules = {}

    def __enter__(self) -> Rewired:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()


def rewire(
    model: nn.Module, found: list[Site], instead: Mapping[str, nn.Module] | None = None, see: See | None = None
) -> Rewired:
    """Put ``instead[site.name]`` in the place of each site named there, and show ``see`` the input of every site.

    Args:
        model: changed in place.
        found: sites of this model, of one run (:func:`ogive.sites`).
        instead: modules of one input, by site name; the same module may stand at several sites. Each is taken to the
            device of its site.
        see: called with the site's name and its input in every run.

    Raises:
        OgiveError: for a site that cannot be exchanged; nothing is changed then.
    """
    instead = dict(instead or {})
    modules = dict(model.named_modules())
    for site in found:
        _check(site, modules)
        if site.name in instead:
            _beside(model, site, instead[site.name])
    done = Rewired()
    try:
        whole = [s for s in found if _whole(s, modules)]
        for path in dict.fromkeys(_place(s.module)[0] for s in whole):
            runs = [s for s in whole if _place(s.module)[0] == path]
            _exchange_module(model, path, runs, instead, see, done)
        _exchange_calls(model, [s for s in found if s not in whole], instead, see, done)
    except BaseException:
        done.undo()
        raise
    return done


def with_runs(found: list[Site], chosen: list[Site]) -> list[Site]:
    """The sites to tell ``rewire`` of: a module that runs several times is exchanged run by run, which needs all of its
    sites."""
    shared = {s.module.partition("#")[0] for s in chosen if s.kind == "module"}
    names = {s.name for s in chosen}
    return [s for s in found if s.name in names or (s.kind == "module" and s.module.partition("#")[0] in shared)]


def _beside(model: nn.Module, site: Site, new: nn.Module) -> None:
    """Take ``new`` to the device of the weights before its site, else of those after it, else of the model's first."""
    there = dict(model.named_parameters())
    near = next((there[n] for n in (*site.fed_by, *site.feeds) if n in there), next(iter(there.values()), None))
    if near is not None and any(t.device != near.device for t in (*new.parameters(), *new.buffers())):
        new.to(near.device)


def _place(owner: str) -> tuple[str, int]:
    path, _, run = owner.partition("#")
    return path, int(run or 1)


def _whole(site: Site, modules: Mapping[str, nn.Module]) -> bool:
    return site.kind == "module" and bool(site.module)


def _check(site: Site, modules: Mapping[str, nn.Module]) -> None:
    for owner in {site.module, *(c.owner for c in site.calls)}:
        path, _ = _place(owner)
        if path not in modules:
            raise OgiveError(f"{site.name}: the model has no module {path!r}; find the sites again")
        if isinstance(modules[path], torch.jit.ScriptModule):
            raise OgiveError(f"{site.name} is inside TorchScript, where nothing can be exchanged; load the Python "
                             "model instead of the scripted one")  # fmt: skip
        if hasattr(modules[path], "_orig_mod") or "_orig_mod" in path.split("."):
            raise OgiveError(f"{site.name} is inside a compiled module; swap in the model and compile it afterwards")
    if not _whole(site, modules) and (not site.calls or site.calls[0].slot is None):
        raise OgiveError(f"{site.name}: its input is not an argument of {site.calls[0] if site.calls else site.label}, "
                         "so nothing can stand in its place; write it as a module of its own")  # fmt: skip


def _exchange_module(
    model: nn.Module, path: str, runs: list[Site], instead: Mapping[str, nn.Module], see: See | None, done: Rewired
) -> None:
    """A module that is a site: exchanged wherever it hangs; one per run where its runs differ."""
    module = model.get_submodule(path)
    wanted = [instead.get(s.name, module) for s in runs]
    if any(w is not module for w in wanted):
        new = wanted[0] if all(w is wanted[0] for w in wanted) else ByRun(wanted)
        new.train(module.training)
        parents = list(model.modules())
        if isinstance(new, ByRun):
            done._undo.append(model.register_forward_pre_hook(new.restart).remove)
        for parent in parents:
            for name, child in list(parent._modules.items()):
                if child is module:
                    parent._modules[name] = new
                    done._undo.append(PutBack(parent, name, module))
        done.modules.update({s.name: w for s, w in zip(runs, wanted) if w is not module})
    if see is not None:
        watched = _Watch([s.name for s in runs], see)
        target = model.get_submodule(path)
        done._undo.append(target.register_forward_pre_hook(watched).remove)
        done._undo.append(model.register_forward_pre_hook(watched.restart).remove)


class _Watch:
    """Shows the input of a module, under the site's name of each run."""

    def __init__(self, names: list[str], see: See) -> None:
        self.names, self.see, self.run = names, see, 0

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.see(self.names[self.run % len(self.names)], args[0])
        self.run += 1

    def restart(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.run = 0


def _exchange_calls(
    model: nn.Module, found: list[Site], instead: Mapping[str, nn.Module], see: See | None, done: Rewired
) -> None:
    counters: dict[str, Counted] = {}
    runs: Counter[str] = Counter()
    for site in found:
        for call in site.calls:
            path, run = _place(call.owner)
            runs[path] = max(runs[path], run)
    for site in found:
        new, at = instead.get(site.name), None
        if new is not None:
            owner = model.get_submodule(_place(site.module)[0])
            new.train(owner.training)
            done.modules[site.name] = new
            at = owner, _free(owner, f"instead_{site.calls[0].name}")
            owner.add_module(at[1], new)
            done._undo.append(_Removal(*at))
        exchange = Exchange(site.name, at, see)
        for call, ends in ((site.calls[0], False), (site.calls[-1], True)):
            path, run = _place(call.owner)
            if call.nth == 0:
                _hook_module(model.get_submodule(path), exchange, ends, done)
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
        done._undo.append(partial(_uncount, counter))
        if path:
            done._undo.append(model.register_forward_pre_hook(counter.restart).remove)
        for module in owner.modules():
            if module is not owner:
                done._undo.append(module.register_forward_pre_hook(counter.pause).remove)
                done._undo.append(module.register_forward_hook(counter.resume, always_call=True).remove)


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


def _hook_module(module: nn.Module, exchange: Exchange, ends: bool, done: Rewired) -> None:
    """The first or last call of a site may be a module that carries its formula."""

    def before(_: nn.Module, args: tuple[Any, ...]) -> None:
        exchange.take(args[0])

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return exchange.give(None) if exchange.held is not None else output

    hook = module.register_forward_hook(after) if ends else module.register_forward_pre_hook(before)
    done._undo.append(hook.remove)


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
