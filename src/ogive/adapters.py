"""Ogive's names in other libraries' registries: transformers' ``ACT2FN`` and timm's activation factory."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ogive import catalogue
from ogive.errors import OgiveError
from ogive.layers.act import Act


@dataclass(frozen=True)
class Registered:
    """What :func:`register_transformers` or :func:`register_timm` did: names that now mean Ogive's functions
    there, and names left alone with the reason."""

    library: str
    added: tuple[str, ...]
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return {"library": self.library, "added": list(self.added), "skipped": dict(self.skipped)}

    def __str__(self) -> str:
        kept = f"; left alone: {', '.join(self.skipped)}" if self.skipped else ""
        return f"{len(self.added)} activations registered in {self.library}{kept}"


def register_transformers(prefix: str = "", *, overwrite: bool = False) -> Registered:
    """Make every catalogue entry of one input a name of ``transformers.activations.ACT2FN``, so that
    ``BertConfig(hidden_act="golu")`` works.

    Args:
        prefix: put before every name, to tell ``ogive_gelu`` from transformers' own ``gelu``.
        overwrite: also replace the names transformers has; without it they stay and are reported.

    Raises:
        OgiveError: when transformers is not installed.
    """
    table = _installed("transformers.activations", "transformers").ACT2FN

    def taken(key: str) -> bool:
        return key in table and dict.__getitem__(table, key) != (Act, {"spec": key.removeprefix(prefix)})

    def put(key: str, name: str) -> None:
        table[key] = (Act, {"spec": name})

    return _register("transformers", taken, put, prefix, overwrite)


def register_timm(prefix: str = "", *, overwrite: bool = False) -> Registered:
    """Make every catalogue entry of one input a name of timm's activation factory, as a layer and as a
    function, so that ``timm.create_model(..., act_layer="golu")`` works.

    timm's models ask for ``inplace=True`` in training too, where it would be wrong for a function whose
    gradient needs its input; the registered names take the argument and compute out of place.

    Args:
        prefix: put before every name.
        overwrite: also replace the names timm has; without it they stay and are reported.

    Raises:
        OgiveError: when timm is not installed or its factory has another form.
    """
    factory = _installed("timm.layers.create_act", "timm")
    try:
        layers, fast_layers = factory._ACT_LAYER_DEFAULT, factory._ACT_LAYER_ME
        functions, fast_functions = factory._ACT_FN_DEFAULT, factory._ACT_FN_ME
    except AttributeError as error:
        raise OgiveError(f"timm's activation factory has another form ({error}); timm 1.0 works") from None

    def taken(key: str) -> bool:
        ours = getattr(layers.get(key), "func", None) is _layer
        return not ours and any(key in t for t in (layers, fast_layers, functions, fast_functions))

    def put(key: str, name: str) -> None:
        layers[key], functions[key] = partial(_layer, name), partial(_function, name)
        fast_layers.pop(key, None)  # timm looks there first
        fast_functions.pop(key, None)

    return _register("timm", taken, put, prefix, overwrite)


def _register(
    library: str,
    taken: Callable[[str], bool],
    put: Callable[[str, str], None],
    prefix: str,
    overwrite: bool,
) -> Registered:
    added: list[str] = []
    skipped: dict[str, str] = {}
    for name, entry in catalogue.entries().items():
        key = prefix + name
        if len(entry.inputs) > 1:
            skipped[key] = "a gate of two inputs"
        elif taken(key) and not overwrite:
            skipped[key] = f"{library} has this name; overwrite=True replaces it, prefix= avoids it"
        else:
            put(key, name)
            added.append(key)
    return Registered(library, tuple(added), MappingProxyType(skipped))


def _installed(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:  # installed, but something it needs is not
            raise OgiveError(f"{package} cannot be imported: {error}") from error
        raise OgiveError(f"{package} is not installed: pip install {package}") from None


def _layer(name: str, inplace: bool = False, **params: Any) -> Act:
    return Act(name, **params)


def _function(name: str, x: Tensor, inplace: bool = False) -> Tensor:
    result: Tensor = catalogue.lookup(name)(x)
    return result
