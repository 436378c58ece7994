"""Put a module in the place of a nonlinearity, wherever it is written, and take it away again.

A module that is a site whole is exchanged in its parents. Functions, tensor methods and operators are exchanged as
they are called: the module whose code calls them runs under a mode that counts its calls by name, as :func:`follow`
did when it found the site, and the ones of the site go to the module instead. What the model computes elsewhere, its
parameters and the keys of its ``state_dict`` stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.counted import See, exchange_calls, place
from ogive.surgery.edits import PutBack
from ogive.surgery.sites import Site


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
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for site in found:
        _check(site, modules)
        if site.name in instead:
            _beside(parameters, site, instead[site.name])
    done = Rewired()
    try:
        whole = [s for s in found if _whole(s, modules)]
        for path in dict.fromkeys(place(s.module)[0] for s in whole):
            runs = [s for s in whole if place(s.module)[0] == path]
            _exchange_module(model, path, runs, instead, see, done)
        rest = [s for s in found if s not in whole]
        done.modules |= exchange_calls(model, rest, instead, see, done._undo)
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


def _beside(there: Mapping[str, nn.Parameter], site: Site, new: nn.Module) -> None:
    """Take ``new`` to the device of the weights before its site, else of those after it, else of the model's first."""
    near = next((there[n] for n in (*site.fed_by, *site.feeds) if n in there), next(iter(there.values()), None))
    if near is not None and any(t.device != near.device for t in (*new.parameters(), *new.buffers())):
        new.to(near.device)


def _whole(site: Site, modules: Mapping[str, nn.Module]) -> bool:
    return site.kind == "module" and bool(site.module)


def _check(site: Site, modules: Mapping[str, nn.Module]) -> None:
    for owner in {site.module, *(c.owner for c in site.calls)}:
        path, _ = place(owner)
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
