"""What sites and linears are given on the data, and thresholds from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.effect import run
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site
from ogive.surgery.sparsity.blocks import Blocks
from ogive.surgery.sparsity.linear import why_not_plain

VALUES = 1 << 17  # kept of each site: the standard error of a median's rank is then 0.14 %
TOKENS = 512  # rows kept of each linear


class Draw:
    """Values or rows kept by name, an even random share of each batch."""

    def __init__(self, batches: int, most: int, seed: int, rows: bool) -> None:
        self.share, self.rows = max(most // batches, 1), rows
        self.rng = torch.Generator().manual_seed(seed)
        self.parts: dict[str, list[Tensor]] = {}

    def add(self, name: str, x: Tensor) -> None:
        """Keep a share of ``x``. Raises OgiveError for values that are not finite."""
        x = x.detach()
        if not bool(torch.isfinite(x).all()):
            bad = int((~torch.isfinite(x)).sum())
            raise OgiveError(f"{name} is given {bad} values that are not finite on this data; clean the data or the "
                             "model (float16 overflows above 65504: calibrate in bfloat16 or float32)")  # fmt: skip
        x = x.reshape(-1, x.shape[-1]) if self.rows else x.flatten()
        if x.shape[0] > self.share:
            x = x[torch.randint(x.shape[0], (self.share,), generator=self.rng).to(x.device)]
        self.parts.setdefault(name, []).append((x if x.dtype == torch.float64 else x.float()).clone())

    def joined(self, names: list[str]) -> dict[str, Tensor]:
        """What was kept, by name. Raises OgiveError for a name that the data never reached."""
        missing = [n for n in names if n not in self.parts]
        if missing:
            raise OgiveError(f"this data never reaches {missing[0]}; give data that does")
        return {name: torch.cat(self.parts[name]) for name in names}


def site_inputs(model: nn.Module, found: list[Site], batches: list[Any], seed: int) -> dict[str, Tensor]:
    """Up to 131,072 inputs of each site, in one dimension."""
    kept = Draw(len(batches), VALUES, seed, rows=False)
    with rewire(model, found, {}, kept.add):
        run(model, batches)
    return kept.joined([s.name for s in found])


def linear_inputs(model: nn.Module, paths: list[str], batches: list[Any], seed: int) -> dict[str, Tensor]:
    """Up to 512 rows of inputs of each Linear, (tokens, in)."""
    kept = Draw(len(batches), TOKENS, seed, rows=True)
    with ExitStack() as stack:
        for path in paths:
            stack.callback(model.get_submodule(path).register_forward_pre_hook(_Keep(path, kept.add)).remove)
        run(model, batches)
    return kept.joined(paths)


class _Keep:
    """A hook that shows the input of one linear under its path."""

    def __init__(self, path: str, add: Callable[[str, Tensor], None]) -> None:
        self.path, self.add = path, add

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.add(self.path, args[0])


def quantile(values: Tensor, share: float) -> float:
    """The least t with ``values <= t`` for at least ``share`` of them; -inf for a share of 0.

    >>> quantile(torch.tensor([4.0, 1.0, 3.0, 2.0]), 0.5)
    2.0
    """
    flat = values.flatten()
    k = -int(-(share * flat.numel()) // 1)
    return float("-inf") if k < 1 else float(flat.kthvalue(min(k, flat.numel())).values)


def share_in(name: str, value: float, *, least: float = 0.0, most: float = 1.0) -> float:
    """A share as a float. Raises ParameterError outside [least, most)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < most:
        raise ParameterError(f"{name}={value!r}; it takes a number in [{least:g}, {most:g})")
    return float(value)


def inner_linears(model: nn.Module, blocks: Blocks) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of the linears that the run used and another one follows; those left out, and why."""
    modules: Mapping[str, nn.Module] = dict(model.named_modules())
    used: dict[str, bool] = {}
    for node in blocks.graph.of_kind("linear"):
        name = node.weight.name.removesuffix(".weight") if node.weight is not None else ""
        if isinstance(modules.get(name), nn.Linear):
            used[name] = used.get(name, False) or any(n.kind == "linear" for n in _after(node.children))
    left = [(p, "nothing linear follows: it is the read-out") for p, followed in used.items() if not followed]
    odd = {p: why for p, followed in used.items() if followed and (why := why_not_plain(modules[p]))}
    left += odd.items()
    paths = [p for p, followed in used.items() if followed and p not in odd]
    if not paths:
        raise OgiveError("no nn.Linear here is followed by another one, so no input can be made sparse: "
                         + ("; ".join(f"{p}: {why}" for p, why in left[:4]) or "the model runs none"))  # fmt: skip
    return paths, left


def _after(children: list[Any]) -> list[Any]:
    seen: dict[int, Any] = {}
    stack = list(children)
    while stack:
        node = stack.pop()
        if node.index not in seen:
            seen[node.index] = node
            if node.kind != "linear":
                stack.extend(node.children)
    return list(seen.values())
