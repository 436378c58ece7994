"""``integer_only``: nonlinearities of a model by shifts or polynomials of integers, with the float form beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation, define
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.effect import Score, batches_of, conduct, examples_in
from ogive.surgery.integer.grid import Grid, chosen
from ogive.surgery.integer.polynomial import polynomial_gate
from ogive.surgery.integer.shift import shift_gate
from ogive.surgery.integer.tabulate import extremes
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.samples import samples
from ogive.surgery.sites import Site, sites

FORMS = ("shift", "polynomial")
_NEAR = 0.05  # a site is x*sigmoid(b x) or x*Phi(b x) where the best b is this near


def sqnr(wanted: Tensor, made: Tensor) -> float:
    """Signal to quantisation noise, ``10 log10(sum y^2 / sum (y' - y)^2)`` in decibels; inf where they are equal.

    >>> round(sqnr(torch.tensor([1.0, 1.0]), torch.tensor([1.1, 0.9])), 3)
    20.0
    """
    noise = float((made.double() - wanted.double()).square().sum())
    return 10.0 * math.log10(float(wanted.double().square().sum()) / noise) if noise > 0.0 else math.inf


class IntegerGate(nn.Module):
    """``x sigmoid(beta x)`` by shifts or ``x Phi(beta x)`` by a parabola, of integers on a grid with zero point 0.

    Called with a floating tensor it rounds, computes in integers, and returns what they stand for; called with an
    integer tensor it returns ``(integers, scale)``. ``reference`` is the same function in floating point. Gradients
    are those of the reference, so that the model around it can be trained.

    Args:
        form: ``shift`` (:func:`~ogive.surgery.integer.shift.shift_gate`) or ``polynomial``
            (:func:`~ogive.surgery.integer.polynomial.polynomial_gate`).
        into: the input's grid, zero point 0.
        beta: the slope inside.
        bits: of the sigmoid (shift).
        lam: the largest exponent (shift), or 0 for no limit.

    >>> from ogive.surgery.integer.grid import grid
    >>> gate = IntegerGate("polynomial", grid(-4.0, 4.0, symmetric=True))
    >>> gate(torch.tensor([-1.0, 1.0])), gate.reference
    (tensor([-0.1663,  0.8417]), <Activation unnamed: x*Phi(x)>)
    """

    def __init__(self, form: str, into: Grid, beta: float = 1.0, bits: int = 8, lam: float = 8.0) -> None:
        super().__init__()
        if form not in FORMS:
            raise ParameterError(f"form={form!r}; it is shift or polynomial")
        if into.zero != 0:
            raise ParameterError(f"an integer-only form takes a grid with zero point 0; got {into}")
        self.form, self.into, self.beta, self.bits, self.lam = form, into, beta, bits, lam
        self.reference = reference(form, beta)

    def forward(self, x: Tensor) -> Any:
        """Values for a floating tensor; integers and their scale for an integer one."""
        if not x.is_floating_point():
            return self.integers(x)
        q, scale = self.integers(self.into.integers(x))
        made = (q.double() * scale).to(x.dtype)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return made
        smooth = self.reference(x)
        return made + (smooth - smooth.detach())

    def integers(self, q: Tensor) -> tuple[Tensor, float]:
        """The form itself: no floating arithmetic on values."""
        if self.form == "shift":
            return shift_gate(q, self.into.scale, self.beta, self.bits, self.lam or None)
        return polynomial_gate(q, self.into.scale, self.beta)

    def extra_repr(self) -> str:
        low, high = self.into.ends
        return f"{self.form}, {self.reference}, [{low:.4g}, {high:.4g}]"


def reference(form: str, beta: float) -> Activation:
    """The function that a form stands for."""
    kernel = {"shift": "sigmoid", "polynomial": "Phi"}[form]
    made: Activation = define(f"x*{kernel}({beta!r}*x)" if beta != 1.0 else f"x*{kernel}(x)")
    return made


def slope_inside(act: Activation, form: str, x: Tensor) -> tuple[float, float]:
    """The beta with which a form is nearest to ``act`` on the inputs ``x``, and the error left: root mean square over
    that of ``act``. Golden-section search in log beta between 1/8 and 8."""
    wanted = act(x)
    power = float(wanted.square().mean())
    kernel = torch.sigmoid if form == "shift" else torch.special.ndtr

    def loss(log_beta: float) -> float:
        return float((x * kernel(math.exp(log_beta) * x) - wanted).square().mean())

    low, high = -math.log(8.0), math.log(8.0)
    shrink = (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(48):
        one, two = high - shrink * (high - low), low + shrink * (high - low)
        low, high = (low, two) if loss(one) < loss(two) else (one, high)
    best = 0.5 * (low + high)
    return math.exp(best), math.sqrt(loss(best) / power) if power > 0.0 else math.inf


def integer_only(
    model: nn.Module,
    data: Any,
    *,
    form: str = "shift",
    bits: int = 8,
    lam: float = 8.0,
    scale: str = "minmax",
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Compute every ``x sigmoid(b x)`` (SiLU, GELU) of a model by shifts or by a parabola of integers, in place.

    The slope b is fitted to what the site is given; a site that no b brings within 5 % is left, with the distance.

    Args:
        model: any module.
        data: what the model is called with, or a list or loader of it.
        form: ``shift`` (I-ViT) or ``polynomial`` (I-BERT).
        bits: of the input grid and of the sigmoid, 4 to 16.
        lam: the largest exponent of the shift form, 0 for no limit.
        scale: how the input's grid is chosen: ``minmax``, ``percentile`` or ``mse``.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: of the sample of inputs.

    Raises:
        ParameterError: for a form, bits or scale that does not exist.
        OgiveError: when no site has such a form. The model is then as it was.

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 2), nn.Tanh())
    >>> report = integer_only(mlp, torch.randn(200, 4), time=False)
    >>> report.changes[0].after, [name for name, why in report.left]
    ('shift form of x*sigmoid(1.68*x)', ['3'])
    """
    if form not in FORMS:
        raise ParameterError(f"integer_only: form={form!r}; it is shift or polynomial")
    if not 4 <= bits <= 16:
        raise ParameterError(f"integer_only: bits={bits!r}; it takes 4 to 16")
    batches = batches_of(data)
    found, left = [], []
    for site in sites(model, batches[0]):
        why = _cannot(site)
        if why:
            left.append((site.name, why))
        else:
            found.append(site)
    if not found:
        raise InputError("integer_only: this model has no site with a function of one input")
    inputs = samples(model, found, batches, seed)
    reach = extremes(model, found, batches) if scale == "minmax" else {}
    instead: dict[str, nn.Module] = {}
    changes = []
    for site in found:
        x = inputs[site.name]
        beta, off = slope_inside(site.activation, form, x)
        if not off <= _NEAR:
            kernel = "sigmoid" if form == "shift" else "Phi"
            left.append((site.name, f"{site.label or site.activation} is {off:.2g} away from the nearest "
                         f"x*{kernel}(b*x), b = {beta:.3g}"))  # fmt: skip
            continue
        beta = float(f"{beta:.3g}")
        into = chosen(x, scale, bits, True, site.activation, reach.get(site.name))
        if form == "shift" and into.scale > 1.0:
            left.append((site.name, f"{bits} bits over [{into.ends[0]:.3g}, {into.ends[1]:.3g}] are steps of "
                         f"{into.scale:.3g}; the shift form takes at most 1 (more bits, or scale='mse')"))  # fmt: skip
            continue
        gate = IntegerGate(form, into, beta, bits, lam)
        width = min(site.shape[-1] if site.shape else 1, x.numel())
        x = x[: x.numel() // width * width].view(-1, width)  # the shift form is one of rows
        old = site.activation(x)
        error = float((gate(x) - old).square().mean().sqrt() / old.square().mean().sqrt())
        instead[site.name] = gate
        label = f"{form} form of {gate.reference}"
        changes.append(Change(site.name, site.label, label, error, f"SQNR {sqnr(old, gate(x)):.1f} dB"))
    if not instead:
        raise OgiveError("integer_only: no site has this form: " + "; ".join(f"{n}: {w}" for n, w in left[:4]))
    touched = [s for s in found if s.name in instead]

    def put() -> Callable[[], None]:
        return rewire(model, touched, instead).undo

    figures, undo = conduct(model, batches, put, score=score, time=time)
    return Report("integer_only", tuple(changes), tuple(left), tuple(figures), (), examples_in(batches), undo)


def _cannot(site: Site) -> str:
    if site.kind == "gate":
        return "a gate of two inputs"
    if site.kind == "call" and (not site.calls or site.calls[0].slot is None):
        return "its input is not an argument of its call"
    return ""
