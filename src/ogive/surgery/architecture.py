"""What the connections of a model ask of its weights and its learning rate: in-degrees and the lengths of its paths."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.draw import assign, drawn
from ogive.surgery.follow import follow
from ogive.surgery.graph import Graph, Node, Weight
from ogive.surgery.propagate import power, whole
from ogive.surgery.sites import folded, table

_THROUGH = ("pass", "scale", "join", "mix")


@dataclass(frozen=True)
class Degree:
    """One weight: how many terms the sum has that its output goes into (1 without a sum), what made its input, and the
    standard deviation that follows."""

    weight: Weight
    degree: int
    fed_by: str
    std: float
    last: bool


@dataclass(frozen=True)
class Architecture:
    """What :func:`architecture` read off a model. ``paths`` are pairs: how many nonlinearities lie on a path from an
    input to an output, and how many such paths there are. ``kernel`` is the side of the convolutions' kernels."""

    weights: tuple[Degree, ...]
    paths: tuple[tuple[int, int], ...]
    kernel: float
    stops: tuple[str, ...]

    @property
    def factor(self) -> float:
        """``(sum over paths of L^3)^(-1/2) / q``; largest learning rates stand in this ratio."""
        cubes = sum(count * depth**3 for depth, count in self.paths)
        return 1.0 / (math.sqrt(cubes) * self.kernel) if cubes else math.nan

    def rate(self, known: Architecture, rate: float) -> float:
        """The largest learning rate here, when it is ``rate`` for the model that ``known`` was read off.

        Raises :class:`~ogive.errors.ParameterError` for a rate that is not above 0 and
        :class:`~ogive.errors.OgiveError` when one of the two models has no path through a nonlinearity.
        """
        if not (math.isfinite(rate) and rate > 0.0):
            raise ParameterError(f"architecture: rate={rate!r}; it takes a number above 0")
        if math.isnan(self.factor) or math.isnan(known.factor):
            which = "this model" if math.isnan(self.factor) else "the known one"
            raise OgiveError(f"architecture: no path of {which} goes through a nonlinearity, so no rate follows")
        return rate * self.factor / known.factor

    def __repr__(self) -> str:
        total = sum(count for _, count in self.paths)
        deepest = max((depth for depth, _ in self.paths), default=0)
        head = f"Architecture: {total} path{'s' * (total != 1)}, the deepest of {deepest}; factor {self.factor:.4g}"
        rows: list[tuple[str, ...]] = [("weight", "fed by", "degree", "fan in", "std")]
        rows += [(w.weight.name, w.fed_by, str(w.degree), f"{w.weight.fan_in:g}", f"{w.std:.3g}") for w in self.weights]
        lines = [folded(f"not followed: {s}") for s in self.stops]
        return "\n".join([head, table(rows, (30, 12, 6, 7, 8)), *lines])

    def to_dict(self) -> dict[str, Any]:
        """All fields and the factor, ready for JSON."""
        return asdict(self) | {"factor": None if math.isnan(self.factor) else self.factor}


def architecture(model: nn.Module, example: Any, *, mean_field: bool = True) -> Architecture:
    """In-degrees and path lengths of ``model``: weights get variance ``1/(n d E f(z)^2)`` behind f, where d outputs are
    summed, and the largest learning rate is proportional to ``(sum over paths p of L_p^3)^(-1/2) / q``.

    A path leads from an input to an output; L_p counts the nonlinearities on it (a product of two branches counts none
    of its own), q is the side of the kernels. The theory is for relu, sums of unnormalised layers and plain stochastic
    gradient descent; that E f^2 and the count carry it to another f, that a normalisation ends a sum, and the root
    mean square of different kernel sides are this library's reading. A term that is added as it is counts in d.

    Args:
        model: any module; what cannot be followed is named in ``stops``.
        example: what the model is called with.
        mean_field: whether weights behind which no other follows get the variance 1/(n^2 d E f^2) of the source.

    Raises:
        InputError: for something that is not a module, or a model without a linear map whose weight is stored.

    Source: Chen, Wu, Wang and Hanin 2024, "Principled architecture-aware scaling of hyperparameters", equations 4, 8
    and 9. Equation 4 is printed with the in-degree of the layer before; what keeps equation 3 is that of the layer
    itself, with which appendix B reckons as well.

    >>> mlp = nn.Sequential(nn.Linear(9, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 2))
    >>> found = architecture(mlp, torch.randn(2, 9))
    >>> found.paths, round(found.factor * 8**0.5, 12), round(found.weights[1].std, 12)
    (((2, 1),), 1.0, 0.2)
    """
    graph = follow(model, example)
    found: dict[str, Degree] = {}
    for node in graph.of_kind("linear"):
        if node.weight is not None and node.weight.name and node.weight.name not in found:
            found[node.weight.name] = _degree(node, mean_field)
    if not found:
        why = f" ({graph.stops[0]})" if graph.stops else ""
        raise InputError(f"architecture: no linear map or convolution was reached in {type(model).__name__}{why}")
    sides = [_side(d.weight) for d in found.values() if len(d.weight.inward) > 1]
    kernel = math.sqrt(sum(s * s for s in sides) / len(sides)) if sides else 1.0
    return Architecture(tuple(found.values()), tuple(sorted(_paths(graph).items())), kernel,
                        tuple(map(str, graph.stops)))  # fmt: skip


def init_by_degree_(
    model: nn.Module, example: Any, *, mean_field: bool = True, distribution: str = "normal",
    generator: torch.Generator | None = None,
) -> Architecture:  # fmt: skip
    """Draw every weight with the standard deviation that :func:`architecture` reports, set its bias to 0, and return
    the report; weights that are computed or inside what cannot be followed stay.

    ``distribution`` is normal, uniform, truncated or orthogonal. Raises as :func:`architecture` does, and
    :class:`~ogive.errors.OgiveError` where an activation has no finite second moment; nothing was changed then.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> init_by_degree_(net, torch.randn(2, 4)).weights[0].std, net[0].bias.abs().max().item()
    (0.5, 0.0)
    """
    found = architecture(model, example, mean_field=mean_field)
    for row in found.weights:
        if not (math.isfinite(row.std) and row.std > 0.0):
            raise OgiveError(f"init_by_degree_: {row.weight.name}: no standard deviation follows from {row.fed_by}")
    for row in found.weights:
        if row.weight.why_not:
            continue
        assign(model, row.weight.name, drawn(row.weight, row.std, distribution, generator))
        if row.weight.bias:
            assign(model, row.weight.bias, torch.zeros(tuple(model.get_parameter(row.weight.bias).shape)))
    return found


def _degree(node: Node, mean_field: bool) -> Degree:
    weight = node.weight
    assert weight is not None
    source = node.parents[0]
    while source.kind in _THROUGH and len(source.parents) == 1:
        source = source.parents[0]
    act, moment = None, 1.0
    if source.kind in ("act", "gate") and source.activation is not None:
        act, _ = whole(source)
        moment = power(act, 1.0) if act is not None else 1.0
    terms, last = _terms(node), not _feeds_linear(node)
    variance = 1.0 / (weight.fan_in * terms * moment) if moment > 0.0 else math.nan
    if mean_field and last:
        variance /= weight.fan_in
    fed_by = source.label or source.op if act is not None else source.kind
    return Degree(weight, terms, fed_by, math.sqrt(variance), last)


def _terms(node: Node) -> int:
    """How many terms the sum has that ``node`` goes into, sums that only this sum uses taken apart."""
    at = node
    while len(at.children) == 1 and at.children[0].kind in ("pass", "scale", "add"):
        at = at.children[0]
    while at is not node and at.kind != "add":
        at = at.parents[0]
    return sum(map(_leaves, at.parents)) if at.kind == "add" else 1


def _leaves(node: Node) -> int:
    """The terms of what is one operand of a sum; a sum that something else uses too is one term."""
    at = node
    while at.kind in ("pass", "scale") and len(at.parents) == 1 and len(at.children) == 1:
        at = at.parents[0]
    return sum(map(_leaves, at.parents)) if at.kind == "add" and len(at.children) == 1 else 1


def _feeds_linear(node: Node) -> bool:
    stack, seen = list(node.children), set()
    while stack:
        at = stack.pop()
        if at.kind == "linear":
            return True
        if at.index not in seen:
            seen.add(at.index)
            stack.extend(at.children)
    return False


def _side(weight: Weight) -> float:
    """The side of a kernel: 3 for 3 x 3."""
    taps = [weight.shape[d] for d in weight.inward[1:]]
    return float(math.prod(taps)) ** (1.0 / len(taps))


def _paths(graph: Graph) -> dict[int, int]:
    """How many paths from an input to an output go through how many nonlinearities."""
    here: dict[int, Counter[int]] = {}
    for node in graph.nodes:
        if node.kind in ("input", "embedding"):
            here[node.index] = Counter({0: 1})
            continue
        step = int(node.kind == "act" or (node.kind == "gate" and node.activation is not None))
        total: Counter[int] = Counter()
        for parent in node.parents:
            for depth, count in here.get(parent.index, Counter()).items():
                total[depth + step] += count
        here[node.index] = total
    found: Counter[int] = Counter()
    for node in graph.outputs:
        found.update(here[node.index])
    return dict(found)
