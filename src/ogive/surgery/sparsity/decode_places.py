"""Where a model would read fewer weights: zeros on its data, and what can stand in the place of what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import called, outputs
from ogive.surgery.modes import evaluating
from ogive.surgery.sparsity.blocks import FeedForward
from ogive.surgery.sparsity.decode_modules import SparseFFN, SparseGLU, SparseLinear
from ogive.surgery.sparsity.decode_rows import MOST
from ogive.surgery.sparsity.decode_text import NAMES
from ogive.surgery.sparsity.linear import RankAwareLinear, ThresholdedLinear
from ogive.surgery.wiring import packed

SMALL = 1 << 18  # weights of a matrix below which choosing what to read (20 us) costs more than reading all
_CLOSE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}  # a block and what stands for it, relative


@dataclass(frozen=True)
class Place:
    """A module to exchange: what stands there instead, and the shares of zeros and of weights read."""

    path: str
    label: str
    new: nn.Module
    zeros: float
    weights: int
    read: float
    error: float
    note: str = ""


class Layouts:
    """Weights in two layouts while both are measured; afterwards in the new one alone."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Tensor, Tensor | None, tuple[int, ...], Tensor | None]] = {}

    def note(self, weight: Tensor) -> None:
        if id(weight) not in self.kept:
            self.kept[id(weight)] = weight, weight.data, weight.stride(), None

    def put(self) -> None:
        for key, (weight, old, stride, new) in list(self.kept.items()):
            new = weight.data.t().contiguous().t() if new is None else new
            weight.data = new
            self.kept[key] = weight, old, stride, new

    def away(self) -> None:
        for weight, old, stride, _ in self.kept.values():
            if old is None and weight.stride() != stride:
                old = torch.empty_strided(weight.shape, stride, dtype=weight.dtype, device=weight.device)
                old.copy_(weight.data)
            if old is not None:
                weight.data = old

    def forget(self) -> None:
        """No second copy from here on."""
        self.kept = {k: (weight, None, stride, None) for k, (weight, _, stride, _) in self.kept.items()}


class Seen:
    """Zeros at the inputs of linears, and an input of each module that may be a block."""

    def __init__(self, model: nn.Module, containers: set[str]) -> None:
        self.model, self.containers = model, containers
        self.counts: dict[str, list[int]] = {}
        self.inputs: dict[str, Tensor] = {}
        self.given: dict[str, Tensor] = {}  # of linears

    def run(self, batches: list[Any]) -> Tensor:
        hooks = []
        for path, module in self.model.named_modules():
            if isinstance(module, nn.Linear):
                hooks.append(module.register_forward_pre_hook(partial(self._count, path)))
            if path in self.containers:
                hooks.append(module.register_forward_pre_hook(partial(self._keep, path), with_kwargs=True))
        try:
            return outputs(self.model, batches)
        finally:
            for hook in hooks:
                hook.remove()

    def _count(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0] if args else None
        if isinstance(x, Tensor):
            if bool(torch.isnan(x).any()):
                raise OgiveError(f"accelerate: {path} is given NaN on this data")
            x = module.kept(x) if isinstance(module, ThresholdedLinear) else x
            if path not in self.given:
                self.given[path] = args[0].detach().reshape(-1, x.shape[-1])[:MOST].clone()
            both = self.counts.setdefault(path, [0, 0])
            both[0] += int((x == 0).sum())
            both[1] += x.numel()

    def _keep(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if path not in self.inputs and len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and args[0].dim():
            x = args[0].detach()
            self.inputs[path] = (
                x.reshape(-1, x.shape[-1])[:MOST].view(*(1 for _ in x.shape[2:]), -1, x.shape[-1]).clone()
            )

    def zeros(self, path: str) -> float:
        zero, total = self.counts.get(path, (0, 0))
        return zero / total if total else 0.0


def places_of(
    model: nn.Module, blocks: tuple[FeedForward, ...], seen: Seen, minimum: float, linears: bool, weights: Layouts
) -> tuple[list[Place], list[tuple[str, str]]]:
    modules = dict(model.named_modules())
    owners: dict[int, list[str]] = {}
    for path, module in modules.items():
        for weight in module._parameters.values():
            if weight is not None:
                owners.setdefault(id(weight), []).append(path)
    places: list[Place] = []
    left: list[tuple[str, str]] = []
    taken: set[str] = set()
    for path, share in sorted(((p, seen.zeros(p)) for p in seen.counts), key=lambda pair: -pair[1]):
        linear = modules[path]
        assert isinstance(linear, nn.Linear)
        block = next((b for b in blocks if b.down == path), None)
        others = [p for p in owners[id(linear.weight)] if p != path]
        if share < minimum:
            why = f"{share:.1%} of its inputs are 0, fewer than minimum={minimum:g}"
        elif block is None and not linears:
            why = "linears=False leaves what is in no feed-forward block"
        elif type(linear) not in (nn.Linear, ThresholdedLinear, RankAwareLinear):
            why = f"{type(linear).__name__} may compute something else than nn.Linear"
        elif packed(linear.weight):
            why = packed(linear.weight)
        elif linear.weight.dtype not in NAMES:
            why = f"weights of {str(linear.weight.dtype)[6:]}; there are kernels for float32 and bfloat16"
        elif others:
            why = f"its weight is shared with {others[0]}, which reads it the other way"
        elif linear.weight.numel() < SMALL:
            why = f"{linear.weight.numel()} weights are read as fast as they are chosen"
        elif not path:
            why = "the model is this Linear itself; wrap it in nn.Sequential"
        else:
            weights.note(linear.weight)
            whole = _whole(modules, block, seen, share) if block is not None else "no feed-forward block"
            if isinstance(whole, Place):
                places.append(whole)
                taken |= {p for p in (block.gate, block.up) if p} if block is not None else set()
            else:
                note = f"{whole}; its down projection alone" if block is not None and block.gate else ""
                label = block.site.label if block is not None else "Linear"
                given = seen.given[path]
                with torch.no_grad():
                    want, new = linear(given), SparseLinear(linear)
                    error = _apart(want, new(given))
                places.append(Place(path, label, new, share, linear.weight.numel(), 1.0 - share, error, note))
            continue
        left.append((path, why))
    if not places:
        most = ", ".join(f"{p} {seen.zeros(p):.1%}" for p, _ in sorted(left, key=lambda x: -seen.zeros(x[0]))[:6])
        raise OgiveError(f"accelerate: no place to change. Zeros on this data: {most or 'no nn.Linear was reached'}. "
                         f"{left[0][0] + ': ' + left[0][1] + '. ' if left else ''}Make zeros first, or lower "
                         f"minimum={minimum:g}")  # fmt: skip
    order = {path: i for i, path in enumerate(modules)}
    places = [p for p in places if p.path not in taken]
    left = [(p, why) for p, why in left if p not in taken]
    return sorted(places, key=lambda p: order[p.path]), sorted(left, key=lambda pair: order[pair[0]])


def _whole(modules: Mapping[str, nn.Module], block: FeedForward, seen: Seen, share: float) -> Place | str:
    """One module in the place of the block, or why that cannot be."""
    if not block.name:
        return "no module holds the block alone"
    if block.fused:
        return f"{block.up} makes gate and up at once"
    module, inputs = modules[block.name], seen.inputs.get(block.name)
    if inputs is None:
        return f"{block.name} is called with more than one tensor"
    paths = [p.removeprefix(block.name + ".") for p in (block.gate, block.up, block.down) if p]
    if any(type(module.get_submodule(p)) is not nn.Linear for p in paths):
        return f"{block.name} has layers with thresholds of their own"
    kind: Any = SparseGLU if block.gate else SparseFFN
    try:
        with torch.no_grad(), evaluating(module):
            want = called(module, inputs)
            new: nn.Module = kind(module, *paths, block.site.activation)
            got = new.eval()(inputs)
    except (OgiveError, RuntimeError, ValueError, TypeError) as problem:
        return f"{block.name} does not run by itself ({str(problem)[:60]})"
    if not isinstance(want, Tensor) or want.shape != got.shape:
        return f"{block.name} computes more than the block"
    error = _apart(want, got)
    if not error <= _CLOSE[want.dtype]:
        return f"{block.name} computes more than the block"
    sizes = [module.get_submodule(p).get_parameter("weight").numel() for p in paths]
    read = (sizes[0] + (1.0 - share) * sum(sizes[1:])) / sum(sizes)
    return Place(block.name, block.site.label, new, share, sum(sizes), read, error)


def _apart(want: Tensor, got: Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-300))
