"""``signal``: how a model carries signals and gradients, measured against predicted, where it breaks, what mends it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ogive.errors import InputError
from ogive.probe.measurement import run
from ogive.probe.prediction import predict
from ogive.probe.remedy import Remedy, names_of, remedies
from ogive.probe.verdict import Break, breaks
from ogive.surgery.residual import branches


@dataclass(frozen=True)
class Layer:
    """The output y of one linear map or convolution.

    ``mean`` and ``variance`` are over all elements, ``channels`` is the mean over channels of the squared mean,
    ``correlation`` the mean cosine of two examples, ``gradient`` the norm per example of the gradient of a random
    direction of the model's output. ``square`` is E y^2. The three predictions are those of a network of great width
    with weights of this size; ``restarted`` says from what: "" from the layers before, else what was measured here.
    ``branch`` is "end" where a residual branch ends, "skip" for a projection on the way around one.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    weight_std: float
    mean: float
    variance: float
    square: float
    channels: float
    correlation: float
    gradient: float
    predicted_square: float
    predicted_correlation: float
    predicted_gradient: float
    restarted: str
    branch: str


@dataclass(frozen=True)
class Stream:
    """The sum behind one residual branch: its mean square, and that of the branch that was added."""

    after: str
    square: float
    branch: float


@dataclass(frozen=True)
class Signal:
    """What :func:`signal` found: layers in order of execution, residual sums, breaks, remedies that were tried."""

    layers: tuple[Layer, ...]
    streams: tuple[Stream, ...]
    breaks: tuple[Break, ...]
    remedies: tuple[Remedy, ...]
    stops: tuple[str, ...]
    examples: int

    @property
    def best(self) -> Remedy | None:
        """The first remedy that leaves no break, else the one that leaves the fewest; None if none leaves fewer."""
        ran = [r for r in self.remedies if not r.failed and len(r.breaks) < len(self.breaks)]
        return min(ran, key=lambda r: len(r.breaks), default=None)

    def __repr__(self) -> str:
        from ogive.probe.sheet import sheet

        return sheet(self)

    def to_dict(self) -> dict[str, Any]:
        """All fields and the remedy that does best, ready for JSON (numbers that do not exist are None)."""
        best = self.best
        found = _plain(asdict(self) | {"best": best.call if best is not None else None})
        assert isinstance(found, dict)
        return found

    def plot(self) -> Any:
        """The profile by depth as an SVG, a string with ``save(path)``."""
        from ogive.probe.picture import picture

        return picture(self)


def signal(model: nn.Module, example: Any, *, mend: bool = True, seed: int = 0) -> Signal:
    """Measure mean, variance, correlation and gradient behind every weight of ``model`` and set them beside prediction.

    The model runs once forward and once backward, in evaluation mode (batch normalisation with the statistics of the
    example), and is left as it was. Where something breaks (a mean square 10,000 times smaller or larger than the
    first layer's, a gradient 100 times that of the last, inputs that have lost 98 % of what told them apart)
    initialisations and tailoring are tried on copies.

    Args:
        model: any module; a call that cannot be followed is named in ``stops`` and the rest is measured all the same.
        example: what the model is called with: a tensor, a tuple of arguments or a dict of named ones; two examples
            or more, the first dimension counts them.
        mend: whether to try remedies when something breaks.
        seed: of the direction of the gradient and of the weights tried.

    Raises:
        InputError: for something that is not a module, an example without tensors, or a model in which no linear map
            or convolution was reached.

    Source: signal propagation plots, Brock, De and Smith 2021; the predictions, Schoenholz et al. 2017.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> layers = [m for _ in range(12) for m in (nn.Linear(128, 128), nn.ReLU())]
    >>> found = signal(nn.Sequential(*layers, nn.Linear(128, 10)), torch.randn(16, 128))
    >>> [b.what for b in found.breaks], found.best.call
    (['inputs become alike', 'the gradient vanishes'], 'init_(model, x)')
    """
    measured = run(model, example, seed)
    if not measured.seen:
        why = f" ({measured.graph.stops[0]})" if measured.graph.stops else ""
        raise InputError(f"signal: no linear map or convolution was reached in {type(model).__name__}{why}")
    names = names_of(measured.seen)
    tree = branches(measured.graph).values()
    ends = {b.end.index: "end" for b in tree if b.end is not None}
    ends |= {b.projection.index: "skip" for b in tree if b.projection is not None}
    layers = []
    for name, s, p in zip(names, measured.seen, predict(measured)):
        restarted = [what for what, is_so in (("input", p.restarted), ("gradient", p.gradient_restarted)) if is_so]
        layers.append(Layer(
            name, s.node.op, s.node.shape, math.sqrt(s.weight), s.mean, s.variance, s.square, s.channels, s.correlation,
            s.gradient, p.square, p.correlation, p.gradient, " and ".join(restarted), ends.get(s.node.index, ""),
        ))  # fmt: skip
    streams = []
    for b in tree:
        branch = next((p for p in b.add.parents if p is not b.skip), b.add)
        streams.append(Stream(b.end.weight.name if b.end is not None and b.end.weight else b.add.owner or b.add.op,
                              b.add.moment, branch.moment))  # fmt: skip
    broken = breaks(measured, names)
    tried: Iterable[Remedy] = remedies(model, example, seed) if broken and mend else ()
    return Signal(tuple(layers), tuple(streams), broken, tuple(tried), tuple(map(str, measured.graph.stops)),
                  measured.examples)  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
