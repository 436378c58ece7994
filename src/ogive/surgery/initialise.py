"""``init_``: initialise a model for the nonlinearities that it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError, closest
from ogive.surgery.draw import DISTRIBUTIONS, assign, drawn
from ogive.surgery.follow import follow
from ogive.surgery.graph import Graph
from ogive.surgery.plan import Plan, plan
from ogive.surgery.rules import check_rule
from ogive.surgery.sites import folded, table

_UNSTABLE = 5.0  # a sample 20 % too long is then twice as long
RESIDUALS = ("depth", "zero", "none")


@dataclass(frozen=True)
class Layer:
    """One weight and what it was given. ``fed_by`` made the layer's input, ``feeds`` takes its output; ``gain`` is
    std * sqrt(fan_in); ``predicted`` and ``measured`` are mean squares of the output (nan where not run). ``bias_std``
    is 0 unless biases are drawn."""

    weight: str
    op: str
    shape: tuple[int, ...]
    fed_by: str
    feeds: str
    fan_in: float
    fan_out: float
    std: float
    bias_std: float
    gain: float
    predicted: float
    measured: float
    note: str


@dataclass(frozen=True)
class Initialised:
    """What :func:`init_` did (or would do): layers, weights left alone, calls it could not follow.

    ``error`` says how many times a small relative error of the input's scale grows on the way to ``error_at``.
    """

    layers: tuple[Layer, ...]
    left: tuple[tuple[str, str], ...]
    zeroed: tuple[tuple[str, str], ...]
    stops: tuple[str, ...]
    error: float
    error_at: str
    rule: str
    mode: str
    distribution: str
    dry_run: bool

    def __getitem__(self, weight: str) -> Layer:
        found = [row for row in self.layers if row.weight == weight]
        if not found:
            near = closest(weight, [row.weight for row in self.layers], 1)
            raise KeyError(f"no weight {weight!r} was initialised{f'; did you mean {near[0]!r}?' if near else ''}")
        return found[0]

    def __repr__(self) -> str:
        done = "would draw" if self.dry_run else "drew"
        how = f"{self.rule}, {self.mode}" if self.rule == "gain" else self.rule
        head = f"init_ {done} {len(self.layers)} weights ({how}, {self.distribution})"
        rows: list[tuple[str, ...]] = [("weight", "fed by", "feeds", "fan in", "std", "E y^2", "run")]
        for row in self.layers:
            measured = "-" if math.isnan(row.measured) else f"{row.measured:.2g}"
            rows.append((row.weight, row.fed_by, row.feeds, f"{row.fan_in:g}", f"{row.std:.3g}",
                         f"{row.predicted:.2g}", measured))  # fmt: skip
        lines = [f"{row.weight}: {row.note}" for row in self.layers if row.note][:12]
        lines += [f"set to 0: {name}, {why}" for name, why in self.zeroed[:12]]
        lines += [f"left: {name}, {why}" for name, why in self.left[:12]]
        if self.error > _UNSTABLE:
            lines.append(f"unstable: at {self.error_at} a small error of the input's scale has grown "
                         f"{self.error:.3g} times; bias='stable', a normalisation or lsuv_ help")  # fmt: skip
        lines += [f"not followed: {s}" for s in self.stops]
        return "\n".join([head, table(rows, (20, 10, 10, 6, 8, 7, 7)), *map(folded, lines)])

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def init_(
    model: nn.Module,
    example: Any,
    mode: str = "forward",
    *,
    distribution: str | None = None,
    rule: str = "gain",
    residual: str = "depth",
    skip: Sequence[str] = (),
    input_moment: float | None = 1.0,
    sigma: float | None = None,
    bias: float | str | None = 0.0,
    generator: torch.Generator | None = None,
    dry_run: bool = False,
    check: bool = True,
) -> Initialised:
    """Draw every linear and convolution weight for the nonlinearities around it, in place.

    One run on ``example`` shows what feeds each layer (see :func:`ogive.surgery.sites`); second moments are then
    carried from layer to layer by the formulas, ``E f(z)^2`` by quadrature, and each weight gets the variance that
    brings its output to a mean square of 1: ``1/(fan_in E f^2)``, the classical gain of any activation where that
    is all there is, and right too behind gates (the product of both branches), normalisations (1), sums and
    scales. Biases become 0; embeddings, normalisations and what cannot be followed stay and are listed.
    Zeros padded around an image are not counted: small padded images measure below the prediction.

    Args:
        mode: for ``rule="gain"``: ``forward`` keeps the signal, ``backward`` the gradient (``1/(fan_out E f'^2)``),
            ``compromise`` is the geometric mean.
        distribution: normal, uniform, truncated (at two standard deviations) or orthogonal; None is normal,
            uniform for SIREN.
        rule: ``gain``; ``kumar`` (first order at 0), ``siren``, ``vi3nr`` (pre-activations of the standard deviation
            that keeps signal and gradient), ``ibp`` (interval bounds keep their width), ``nf`` (1/std f, for
            standardised weights).
        residual: ``depth`` gives the end of each branch 1/L of the stream's mean square, L branches deep;
            ``zero`` starts it at zero, through the scale of the normalisation that ends it if one does;
            ``none`` treats it as any layer.
        skip: names or patterns (``"head.*"``) of weights to leave.
        input_moment: the mean square of what the model is given, 1 for standardised data; None measures it on
            the example.
        sigma: for ``vi3nr``, a standard deviation of pre-activations instead of the one it finds.
        bias: the value of the biases of drawn layers; None leaves them; ``"stable"`` draws them normal where the
            activation stretches errors of the scale (silu, gelu, mish: over 30 plain layers a sample 10 % too long
            becomes many times too long), with the variance that stops this.
        dry_run: decide and report, touch nothing.
        check: run the example once more and report the measured mean squares too.

    Raises:
        ParameterError: for a mode, rule, distribution or residual that is not one.
        InputError: for something that is not a module.
        OgiveError: for a rule that has no value for an activation of the model; nothing was changed then.

    >>> mlp = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 10))
    >>> init_(mlp, torch.randn(8, 64), dry_run=True)
    init_ would draw 2 weights (gain, forward, normal)
    weight    fed by  feeds  fan in  std     E y^2  run
    0.weight  input   tanh   64      0.125   1      -
    2.weight  tanh    -      256     0.0995  1      -
    """
    distribution = distribution or ("uniform" if rule == "siren" else "normal")
    check_rule(rule, mode)
    for what, given, known in (("distribution", distribution, DISTRIBUTIONS), ("residual", residual, RESIDUALS)):
        if given not in known:
            near = closest(str(given), known, 1)[0]
            raise ParameterError(f"init_: {what}={given!r}; it is one of {', '.join(known)} (did you mean {near!r}?)")
    for what, number in (("input_moment", input_moment), ("sigma", sigma)):
        if number is not None and not (math.isfinite(number) and number > 0.0):
            raise ParameterError(f"init_: {what}={number!r}; it takes a positive number")
    if isinstance(bias, str) and bias != "stable":
        raise ParameterError(f"init_: bias={bias!r}; it takes a number, None or 'stable'")
    if isinstance(skip, str):
        raise ParameterError(f"init_: skip={skip!r}; it takes a list of names or patterns: [{skip!r}]")
    if any(p.is_meta for p in model.parameters()):
        raise InputError("init_: the model is on the meta device and has no values to set; "
                         "model.to_empty(device='cpu') makes them")  # fmt: skip
    graph = follow(model, example)
    steps = plan(graph, _matrices(model), rule=rule, mode=mode, residual=residual, skip=tuple(skip),
                 input_moment=input_moment, sigma=sigma, stable=bias == "stable")  # fmt: skip
    bad = [s for s in steps.steps if not math.isfinite(s.std)]
    if bad:
        raise OgiveError(f"init_: {bad[0].weight.name}: no finite standard deviation follows from its input "
                         f"({bad[0].fed_by}); skip={[bad[0].weight.name]!r} leaves it")  # fmt: skip
    measured: dict[str, float] = {}
    if not dry_run:
        _draw(model, steps, distribution, bias, generator)
        if check:
            measured = _moments(follow(model, example))
    layers = tuple(
        Layer(s.weight.name, s.op, s.weight.shape, s.fed_by, s.feeds, s.weight.fan_in, s.weight.fan_out, s.std,
              s.bias_std, s.std * math.sqrt(s.weight.fan_in), s.moment, measured.get(s.weight.name, math.nan), s.note)
        for s in steps.steps
    )  # fmt: skip
    return Initialised(layers, steps.left, steps.zeroed, tuple(map(str, graph.stops)), steps.error,
                       steps.error_at, rule, mode, distribution, dry_run)  # fmt: skip


def _matrices(model: nn.Module) -> list[str]:
    return [name for name, p in model.named_parameters() if p.dim() > 1]


def _moments(graph: Graph) -> dict[str, float]:
    found: dict[str, float] = {}
    for node in graph.of_kind("linear"):
        if node.weight is not None:
            found.setdefault(node.weight.name, node.moment)
    return found


def _draw(
    model: nn.Module, steps: Plan, distribution: str, bias: float | str | None, generator: torch.Generator | None
) -> None:
    for step in steps.steps:
        assign(model, step.weight.name, drawn(step.weight, step.std, distribution, generator))
        if step.weight.bias and bias is not None:
            current = model.get_parameter(step.weight.bias)
            values = torch.full(tuple(current.shape), 0.0 if isinstance(bias, str) else float(bias))
            if step.bias_std:
                values = values.normal_(0.0, step.bias_std, generator=generator)
            assign(model, step.weight.bias, values)
    for name, _ in steps.zeroed:
        assign(model, name, torch.zeros(tuple(model.get_parameter(name).shape)))
