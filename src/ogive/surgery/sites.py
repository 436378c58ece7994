"""Every nonlinearity of a model, wherever it is written: modules, functions, operators, gates."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from ogive.activation import Activation
from ogive.derive.trace import trace
from ogive.errors import OgiveError
from ogive.surgery.follow import follow
from ogive.surgery.formulas import X, nonlinearity
from ogive.surgery.graph import Call, Graph, Node

_WORKS = ("linear", "act", "gate", "add", "norm", "embedding", "join", "mix", "opaque")
_STEPS = ("pass", "scale", "join", "mix", "norm", "add")  # what a signal goes through between two layers


@dataclass(frozen=True)
class Site:
    """One nonlinearity at one place of the forward run.

    ``name`` is the module's path, or the path of the module whose code computes it and the first call
    (``block.mlp:sigmoid``); a second run of the same code adds ``#2``. It depends on the code and not on the
    weights, so it stays the same after saving and loading. ``kind`` is ``module``, ``call`` or ``gate`` (of two
    inputs). ``gates`` says that the result is multiplied with another branch. ``fed_by`` and ``feeds`` are the
    nearest weights before and after, ``moment`` is the mean square of the result on the example.
    """

    name: str
    kind: str
    label: str
    activation: Activation
    module: str
    calls: tuple[Call, ...]
    gates: bool
    fed_by: tuple[str, ...]
    feeds: tuple[str, ...]
    shape: tuple[int, ...]
    moment: float
    note: str = ""

    def __repr__(self) -> str:
        return f"Site({self.name}: {self.label}, from {_some(self.fed_by)} to {_some(self.feeds)})"

    def to_dict(self) -> dict[str, Any]:
        """All fields as text and numbers, ready for JSON."""
        own = {k: getattr(self, k) for k in self.__dataclass_fields__ if k not in ("activation", "calls")}
        text = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
        return text | {"calls": [str(c) for c in self.calls], "formula": str(self.activation)}


@dataclass(frozen=True)
class Sites:
    """The sites of a model in order of execution, and the calls that could not be followed."""

    sites: tuple[Site, ...]
    stops: tuple[str, ...]

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    def __getitem__(self, name: str) -> Site:
        found = [s for s in self.sites if s.name == name]
        if not found:
            raise KeyError(f"no site {name!r}; there are {', '.join(s.name for s in self.sites[:8]) or 'none'}")
        return found[0]

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("site", "function", "fed by", "feeds")]
        rows += [
            (s.name, s.label + (" (gate)" if s.gates else ""), _some(s.fed_by), _some(s.feeds)) for s in self.sites
        ]
        if len(rows) == 1:
            rows = [("no nonlinearity found", "", "", "")]
        return "\n".join([table(rows, (24, 16, 17, 17)), *(folded(f"not followed: {s}") for s in self.stops)])

    def to_dict(self) -> dict[str, Any]:
        """All sites and stops, ready for JSON."""
        return {"sites": [s.to_dict() for s in self.sites], "stops": list(self.stops)}


def sites(model: nn.Module, example: Any) -> Sites:
    """Every nonlinearity that ``model`` applies to ``example``, with the weights around it.

    The model runs once in evaluation mode and is left as it was. Normalisation, pooling and softmax are no
    sites; the squares and roots of a normalisation written by hand are not either.

    Args:
        model: any module; what of it is not seen (TorchScript, a custom ``autograd.Function``) is reported in
            ``stops`` and the rest is followed all the same.
        example: what the model is called with: a tensor, a tuple of arguments, or a dict of named ones.

    Raises:
        InputError: for something that is not a module, or an example without tensors.

    >>> import torch
    >>> mlp = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2))
    >>> sites(mlp, torch.randn(4, 3))
    site  function  fed by    feeds
    1     gelu      0.weight  2.weight
    """
    return sites_of(follow(model, example), dict(model.named_modules()))


def modules_of(model: nn.Module) -> list[Site]:
    """Sites that need no run: modules without children whose code is an activation's formula."""
    found = []
    for name, module in model.named_modules():
        if not name or any(module.children()):
            continue
        try:
            act = trace(module)
        except OgiveError:
            continue
        if len(act.inputs) == 1 and not act.params:
            act, label, _ = nonlinearity(act.expr.substitute({act.inputs[0]: X}), {})
            found.append(Site(name, "module", label or str(act), act, name, (), False, (), (), (), float("nan")))
    return found


def sites_of(graph: Graph, modules: dict[str, nn.Module]) -> Sites:
    """The sites of a graph that is there already."""
    found, used = [], Counter[str]()
    works = Counter(n.owner for n in graph.of_kind(*_WORKS))
    for node in graph.of_kind("act", "gate"):
        if node.activation is None:
            continue
        owner, (module, _, _) = node.owner, node.owner.partition("#")
        alone = works[owner] == 1  # nothing else is computed there, so the module is the nonlinearity
        whole = bool(module) and module in modules and alone and not any(modules[module].children())
        called = node.calls[0].name if node.calls else node.op
        name = owner if whole else f"{owner}:{called}" if owner else called
        used[name] += 1
        if used[name] > 1:
            name = f"{name}#{used[name]}"
        found.append(Site(
            name=name,
            kind="gate" if node.kind == "gate" else "module" if whole else "call",
            label=node.label, activation=node.activation, module=module,
            calls=node.calls,
            gates=node.kind == "gate" or any(c.kind == "gate" for c in _next(node)),
            fed_by=weights_before(node), feeds=weights_after(node),
            shape=_last(node, owner).shape if whole else node.shape, moment=node.moment, note=node.note,
        ))  # fmt: skip
    return Sites(tuple(found), tuple(map(str, graph.stops)))


def _last(node: Node, owner: str) -> Node:
    """What a module that is a nonlinearity gives: it may work in another shape than that of its input and result."""
    while len(node.children) == 1 and node.children[0].kind == "pass" and node.children[0].owner == owner:
        node = node.children[0]
    return node


def _next(node: Node) -> Iterator[Node]:
    """What uses the values of ``node``, whatever their shape."""
    for child in node.children:
        if child.kind == "pass":
            yield from _next(child)
        else:
            yield child


def weights_before(node: Node) -> tuple[str, ...]:
    """The nearest weights that the signal at ``node`` came through."""
    return _nearest(node, "parents")


def weights_after(node: Node) -> tuple[str, ...]:
    """The nearest weights that the signal at ``node`` goes into."""
    return _nearest(node, "children")


def _nearest(node: Node, direction: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    stack, seen = list(getattr(node, direction))[::-1], set()
    while stack:
        at = stack.pop()
        if at.index in seen:
            continue
        seen.add(at.index)
        if at.weight is not None:
            found[at.weight.name or at.op] = None
        elif at.kind in (*_STEPS, "gate"):
            stack.extend(getattr(at, direction)[::-1])
    return tuple(found)


def _some(names: tuple[str, ...]) -> str:
    return (names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "")) if names else "-"


def folded(line: str) -> str:
    """A line of at most 80 columns, or several."""
    return textwrap.fill(line, 80, subsequent_indent="  ")


def table(rows: list[tuple[str, ...]], limits: tuple[int, ...]) -> str:
    """Rows as aligned text, cells as short as the columns are wide."""
    cut = [[short(c, w) for c, w in zip(row, limits)] for row in rows]
    widths = [max(len(row[i]) for row in cut) for i in range(len(limits))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cut)


def short(cell: str, width: int) -> str:
    """A path with its first names cut to a letter, numbers kept; what is too long even so loses its middle.

    >>> short("encoder.layer.11.intermediate.act_fn", 24), short("x*sigmoid(1.702*x)", 11)
    ('e.l.11.i.act_fn', 'x*sig…02*x)')
    """
    parts = cell.split(".") if " " not in cell and "(" not in cell else [cell]
    for i in range(len(parts) - 1):
        if len(".".join(parts)) <= width:
            break
        parts[i] = parts[i] if parts[i].isdigit() else parts[i][:1]
    cell = ".".join(parts)
    tail = (width - 1) // 2
    return cell if len(cell) <= width else f"{cell[: width - 1 - tail]}…{cell[len(cell) - tail :]}"
