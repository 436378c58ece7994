"""Norms of a model exchanged for the ones that keep their output, their gain and offset folded onwards if wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ogive.layers.memory_norm import MSLayerNorm, MSRMSNorm
from ogive.surgery.edits import Edits
from ogive.surgery.follow import follow
from ogive.surgery.graph import Node

_EPS = ("eps", "variance_epsilon", "epsilon")
Norm = MSLayerNorm | MSRMSNorm


def sharing(module: nn.Module) -> Norm | None:
    """The memory-sharing norm that computes what ``module`` does, with its very parameters; None for another module.

    What a module computes is asked of the module: on random rows it has to give the norm's values. One with buffers is
    not run, which would change its statistics.

    >>> sharing(nn.LayerNorm(4)), sharing(nn.Linear(4, 4))
    (MSLayerNorm((4,), eps=1e-05, affine=True), None)
    """
    own = dict(module.named_parameters(recurse=False))
    plain = not any(module.children()) and not any(True for _ in module.buffers()) and set(own) <= {"weight", "bias"}
    if not plain or isinstance(module, (MSLayerNorm, MSRMSNorm)):
        return None
    shape = getattr(module, "normalized_shape", None) or (tuple(own["weight"].shape) if "weight" in own else None)
    found = [getattr(module, name) for name in _EPS if hasattr(module, name)]
    if shape is None or not found or not isinstance(found[0], (float, int, type(None))):
        return None
    weight, bias = own.get("weight"), own.get("bias")
    dtype, device = (torch.float32, torch.device("cpu")) if weight is None else (weight.dtype, weight.device)
    eps = torch.finfo(dtype).eps if found[0] is None else float(found[0])
    if eps <= 0.0 or not dtype.is_floating_point:
        return None
    kinds: tuple[type[Norm], ...] = (MSLayerNorm,) if bias is not None else (MSLayerNorm, MSRMSNorm)
    for kind in kinds:
        candidate: Norm = kind(shape, eps, elementwise_affine=False)
        candidate.weight, candidate.bias = weight, bias
        candidate.train(module.training)
        if _agree(module, candidate, tuple(shape), dtype, device):
            return candidate
    return None


def _agree(module: nn.Module, candidate: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: Any) -> bool:
    """Equal to rounding on rows of several means and sizes, down to where eps shows."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn((6, *shape), generator=draw)
    place = (6, *(1,) * len(shape))
    rows = rows * torch.tensor([1.0, 3.0, 0.1, 1.0, 1e-2, 1e-3]).view(place)
    x = (rows + torch.tensor([0.0, 1.0, 0.0, -2.0, 0.0, 0.0]).view(place)).to(dtype).to(device)
    with torch.no_grad():
        try:
            want, got = module(x), candidate(x)
        except Exception:  # a module of another signature or another kind of input
            return False
    if not isinstance(want, Tensor) or want.shape != got.shape or want.dtype != got.dtype:
        return False
    near = 8 * torch.finfo(dtype).eps
    return torch.allclose(want.double(), got.double(), rtol=max(near, 1e-5), atol=max(near, 1e-6))


def norms_of(model: nn.Module) -> tuple[dict[str, Norm], list[tuple[str, str]]]:
    """The norms that can be exchanged, by path, and what stands there instead; norms that are left and why."""
    found: dict[str, Norm] = {}
    left: list[tuple[str, str]] = []
    for name, module in model.named_modules():
        if not name or isinstance(module, torch.jit.ScriptModule):
            continue
        new = sharing(module)
        if new is None:
            continue
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            left.append((name, "it has hooks, which an exchange would lose"))
        else:
            found[name] = new
    return found, left


def foldable(model: nn.Module, example: Any, norms: dict[str, Norm]) -> dict[str, list[nn.Linear]]:
    """Of each norm whose result goes into linears alone, and of whose gain and offset nothing else knows: those."""
    modules = dict(model.named_modules())
    nodes = follow(model, example).nodes
    times = Counter(n.weight.name for n in nodes if n.weight is not None)
    runs = Counter(n.owner.partition("#")[0] for n in nodes if n.kind == "norm")
    owners = Counter(id(p) for m in model.modules() for p in m._parameters.values() if p is not None)
    result: dict[str, list[nn.Linear]] = {}
    for node in nodes:
        path = node.owner.partition("#")[0]
        if node.kind != "norm" or path not in norms or runs[path] != 1 or len(norms[path].normalized_shape) != 1:
            continue
        new = norms[path]
        users = _users(_last(node))
        linears: list[nn.Linear] = []
        for user in users:
            name = user.weight.name if user.weight is not None else ""
            module = modules.get(name.rpartition(".")[0])
            suits = isinstance(module, nn.Linear) and times[name] == 1 and owners[id(module.weight)] == 1
            if user.kind == "linear" and suits and isinstance(module, nn.Linear) and (
                module.in_features == new.normalized_shape[0]
                and (new.bias is None or (module.bias is not None and owners[id(module.bias)] == 1))
            ):  # fmt: skip
                linears.append(module)
        alone = all(owners[id(p)] == 1 for p in (new.weight, new.bias) if p is not None)
        if users and len(linears) == len(users) and alone and new.weight is not None:
            result[path] = linears
    return result


def _last(node: Node) -> Node:
    """The norm with the gain and offset that its own module applies."""
    users = _users(node)
    while len(users) == 1 and users[0].kind in ("scale", "pass") and users[0].owner == node.owner:
        node, users = users[0], _users(users[0])
    return node


def _users(node: Node) -> list[Node]:
    found: list[Node] = []
    for child in node.children:
        found += _users(child) if child.kind == "pass" else [child]
    return found


def fold(norm: Norm, linears: list[nn.Linear]) -> Callable[[], None]:
    """``W <- W diag(w), c <- c + W b`` in each linear, w and b gone from the norm; computed in float64.

    The result gives back the linears' values and the norm's parameters.
    """
    weight, bias = norm.weight, norm.bias
    assert weight is not None
    saved = [(p, p.detach().clone()) for m in linears for p in (m.weight, m.bias) if p is not None]
    with torch.no_grad():
        for linear in linears:
            wide = linear.weight.double()
            if bias is not None:
                linear.bias.copy_(linear.bias.double() + wide @ bias.double())
            linear.weight.copy_(wide * weight.double())
    norm.weight = norm.bias = None

    def undo() -> None:
        norm.weight, norm.bias = weight, bias
        with torch.no_grad():
            for parameter, value in saved:
                parameter.copy_(value)

    return undo


def put_norms(model: nn.Module, norms: dict[str, Norm], folds: dict[str, list[nn.Linear]]) -> Callable[[], None]:
    """Exchange them; the result gives the model back bit for bit."""
    edits = Edits()
    try:
        for path, new in norms.items():
            old = model.get_submodule(path)
            new.train(old.training)
            if path in folds:
                edits.later(fold(new, folds[path]))
            edits.exchange(model, old, new)
    except BaseException:
        edits.undo()
        raise
    return edits.undo
