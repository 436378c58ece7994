"""The transforms by verb: what `ogive surgery VERB` and `ogive.surgery.VERB` find."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ogive.errors import UnknownName, closest

TRANSFORMS = {
    "swap": "ogive.surgery.swap",
    "distil": "ogive.surgery.distil",
    "tabulate": "ogive.surgery.integer.tabulate",
    "integer_only": "ogive.surgery.integer.forms",
    "equalise": "ogive.surgery.integer.equalise",
    "bias_correction": "ogive.surgery.integer.correction",
    "sparsify": "ogive.surgery.sparsity.sparsify",
    "relufy": "ogive.surgery.sparsity.relufy",
    "cats": "ogive.surgery.sparsity.gates",
    "fat_relu": "ogive.surgery.sparsity.gates",
    "teal": "ogive.surgery.sparsity.teal",
    "rsparse": "ogive.surgery.sparsity.rsparse",
    "cett": "ogive.surgery.sparsity.cett",
    "ppl_sparsity": "ogive.surgery.sparsity.budget",
    "top_k": "ogive.surgery.sparsity.topk",
    "stochastic": "ogive.surgery.sparsity.stochastic",
    "prosparse": "ogive.surgery.sparsity.prosparse",
    "accelerate": "ogive.surgery.sparsity.decode",
    "lighten": "ogive.surgery.memory.lighten",
    "harden": "ogive.surgery.hardening.harden",
    "vra": "ogive.surgery.hardening.rectify",
    "linearise": "ogive.surgery.depth.leaning",
    "merge": "ogive.surgery.depth.merge",
    "compress_depth": "ogive.surgery.depth.compress",
    "channel_idle": "ogive.surgery.depth.idle",
    "fold_idle": "ogive.surgery.depth.idle",
    "nora": "ogive.surgery.tuning.nora",
    "safs": "ogive.surgery.tuning.safs",
    "activate_while_prune": "ogive.surgery.tuning.wake",
    "polynomialise": "ogive.surgery.private.polynomialise",
    "autorep": "ogive.surgery.private.autorep",
}


def transform(verb: str) -> Callable[..., Any]:
    """The function of a verb: ``f(model, data, **options) -> Report``.

    Raises UnknownName with the nearest verbs.

    >>> transform("swap").__name__
    'swap'
    """
    if verb not in TRANSFORMS:
        near = ", ".join(closest(verb, list(TRANSFORMS), 3))
        raise UnknownName(f"no transform is called {verb!r}; the nearest are {near}")
    found: Callable[..., Any] = getattr(importlib.import_module(TRANSFORMS[verb]), verb)
    return found


def summary(verb: str) -> str:
    """The first sentence of a transform's documentation.

    >>> summary("swap")[:28]
    'Put other activations in the'
    """
    paragraph = (inspect.getdoc(transform(verb)) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "'").partition("; ")[0]
