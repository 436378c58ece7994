"""A deep equilibrium layer that has exactly one fixed point, by the elasticity of its activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.activation import Activation
from ogive.derive.image import image
from ogive.diff import differentiate
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.expr import Expr, const, var
from ogive.lookup import scalar
from ogive.rewrite import simplify


@dataclass(frozen=True)
class Degree:
    """``mu`` with ``|u f'(u)| <= mu f(u)`` for all ``u >= 0``, and ``least``, a lower bound of f there.

    Both are ends of certified images, of u f'/f and of f.
    """

    activation: str
    mu: float
    least: float

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def subhomogeneity(spec: Any, **params: float) -> Degree:
    """The degree of subhomogeneity of f on ``u >= 0``: the least certified mu with ``|u f'(u)| <= mu f(u)``.

    Raises :class:`~ogive.errors.ParameterError` where f is not proved positive on ``u >= 0``.

    >>> round(subhomogeneity("sigmoid").mu, 4), round(subhomogeneity("tanh(x) + 1.2").mu, 4)
    (0.2785, 0.247)
    """
    act, values = scalar(spec, "the degree of subhomogeneity", params)
    name = act.inputs[0]
    least = _range(act, act.expr, values)[0]
    if not least > 0.0:
        raise ParameterError(
            f"SubDEQ: {act.label} is not positive on u >= 0 (the bound there is {least:.6g}), so its fixed point need "
            "not be unique; add a positive constant to it"
        )
    pull = var(name) * differentiate(act.expr, name)
    low, high = _range(act, simplify(pull / act.expr), values)
    mu = max(abs(low), abs(high))
    # Far out the quotient of two large intervals is wide; where that spoils mu, a trial value is proved instead by the
    # sign of mu f -+ u f', which is one difference.
    for trial in _trials(act, pull, values):
        if trial < mu and all(
            _range(act, simplify(const(trial) * act.expr - s * pull), values)[0] >= 0.0 for s in (1.0, -1.0)
        ):
            mu = trial
            break
    return Degree(act.label, mu, least)


def _trials(act: Activation, pull: Expr, values: dict[str, float]) -> list[float]:
    """Values a little above the greatest elasticity seen on samples."""
    u = torch.cat(
        [torch.linspace(0.0, 40.0, 4001, dtype=torch.float64), 2.0 ** torch.arange(6.0, 900.0, dtype=torch.float64)]
    )
    free = pull.variables()
    top = Activation(pull, act.inputs, {k: p for k, p in act.params.items() if k in free})
    ratio = (top(u, **{k: v for k, v in values.items() if k in free}) / act(u, **values)).abs()
    seen = float(ratio[torch.isfinite(ratio)].max())
    return [seen * (1.0 + 2.0**-k) for k in (20, 14, 9)] if math.isfinite(seen) and seen > 0 else []


def _range(act: Activation, expr: Expr, values: dict[str, float]) -> tuple[float, float]:
    """Certified bounds of ``expr`` on u >= 0."""
    free = expr.variables()
    function = Activation(expr, act.inputs, {k: p for k, p in act.params.items() if k in free})
    zero, inf = (torch.tensor([v], dtype=torch.float64) for v in (0.0, math.inf))
    low, high = image(function, zero, inf, **{k: v for k, v in values.items() if k in free})
    return float(low), float(high)


class _Settled(torch.autograd.Function):
    """A fixed point z = F(z): a gradient g for z becomes the solution w of ``w = g + J^T w`` for F's other inputs."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, pull: Callable[[Tensor], Tensor], limit: int) -> Tensor:
        ctx.pull, ctx.limit = pull, limit
        return z.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        g = grads[0]
        w = g
        for _ in range(ctx.limit):
            new = g + ctx.pull(w)
            moved = float((new - w).abs().max())
            w = new
            if moved <= 1e-7 * float(w.abs().max()):
                break
        return w, None, None


class SubDEQ(nn.Module):
    """``z = f(|W| z)^power + relu(U x + b)``, at the one z > 0 that solves it.

    With ``|u f'| <= mu f`` on u >= 0 the right side contracts Thompson's metric ``max |log z - log z'|`` by
    ``power mu``: below 1 there is one fixed point, every start converges to it, and the last step bounds the error. No
    bound on the size of W is needed, its sign is: with entries of both signs the sums cancel and the step grows without
    limit. (f = tanh + 1.2, whose elasticity is below 1 on the whole line, with W = [[2, -2], [-2, 2]] has three fixed
    points.) Sittoni and Tudisco 2024, "Subhomogeneous deep equilibrium models".

    Args:
        in_features: size of x.
        features: size of z.
        act: any activation that is positive on u >= 0 and has a degree below 1 there: "tanh(x) + 1.2", "sigmoid".
        power: the exponent in (0, 1], which multiplies the degree.
        normalise: divide by the greatest entry in every step; the degree is then twice as large.
        tol: bound of the relative error of every entry of z.
        limit: steps at most.
        device, dtype: of the parameters.
        **params: parameters of the activation, numbers.

    Raises:
        ParameterError: for a degree of 1 or more, with the degree; for an activation that is not positive.
        OgiveError: when ``limit`` steps do not suffice.

    >>> layer = SubDEQ(3, 5)
    >>> z = layer(torch.randn(2, 3))
    >>> z.shape, round(layer.degree, 4)
    (torch.Size([2, 5]), 0.247)
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        act: Any = "tanh(x) + 1.2",
        *,
        power: float = 1.0,
        normalise: bool = False,
        tol: float = 1e-6,
        limit: int = 10_000,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **params: float,
    ) -> None:
        super().__init__()
        for what, n in (("in_features", in_features), ("features", features)):
            if type(n) is not int or n < 1:
                raise ParameterError(f"SubDEQ: {what}={n!r}; it takes a positive whole number")
        if not 0.0 < power <= 1.0:
            raise ParameterError(f"SubDEQ: power={power!r}; it lies in (0, 1]")
        if not tol > 0.0:
            raise ParameterError(f"SubDEQ: tol={tol!r}; it is positive")
        entry, values = scalar(act, "SubDEQ", params)
        found = subhomogeneity(entry, **values)
        self.degree = found.mu * power * (2.0 if normalise else 1.0) * (1.0 + 1e-12)
        if not self.degree < 1.0:
            times = " (twice, for the normalisation)" if normalise else ""
            lower = 0.999 * power / self.degree
            remedy = f"a power below {lower:.3g} or " if math.isfinite(self.degree) else ""
            raise ParameterError(
                f"SubDEQ: the degree of {entry.label} on u >= 0 is {self.degree:.6g}{times}, and a unique fixed point "
                f"is certified only below 1: take {remedy}another activation"
            )
        settled = entry.with_params(**values) if values != entry.defaults else entry
        x = settled.written
        self.entry = settled if power == 1.0 else Activation(x ** const(power), settled.inputs, settled.params)
        self.label, self.power, self.normalise, self.tol, self.limit = entry.label, power, normalise, float(tol), limit
        self.features = features
        self.inner = nn.Parameter(torch.empty(features, features, device=device, dtype=dtype))
        self.outer = nn.Linear(in_features, features, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """W uniform within 1/sqrt(features); its signs mean nothing."""
        bound = 1.0 / math.sqrt(self.features)
        nn.init.uniform_(self.inner, -bound, bound)
        self.outer.reset_parameters()

    def step(self, z: Tensor, drive: Tensor) -> Tensor:
        """One application of the right side, with ``drive = relu(U x + b)``."""
        new = self.entry(functional.linear(z, torch.abs(self.inner))) + drive
        return new / new.amax(-1, keepdim=True) if self.normalise else new

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """The fixed point for every row of ``x``; ``start`` is where the iteration begins, positive."""
        if not isinstance(x, Tensor) or x.dim() == 0 or x.shape[-1] != self.outer.in_features:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"SubDEQ takes (..., {self.outer.in_features}); got {got}")
        drive = functional.relu(self.outer(x))
        z, _ = self.settle(drive.detach(), start)
        if not torch.is_grad_enabled() or not drive.requires_grad:
            return z
        leaf = z.detach().requires_grad_()
        out = self.step(leaf, drive.detach())

        def pull(w: Tensor) -> Tensor:
            return torch.autograd.grad(out, leaf, w, retain_graph=True)[0]

        once: Tensor = _Settled.apply(self.step(z.detach(), drive), pull, self.limit)
        return once

    def settle(self, drive: Tensor, start: Tensor | None = None) -> tuple[Tensor, float]:
        """The fixed point for ``drive`` without gradients, and a bound of its relative error.

        Raises :class:`~ogive.errors.OgiveError` when ``limit`` steps do not bring the bound below ``tol``.
        """
        with torch.no_grad():
            z = torch.ones_like(drive) if start is None else start.to(drive.dtype).expand_as(drive)
            if bool((z <= 0).any()):
                raise InputError("SubDEQ: the iteration starts at a positive z")
            noise = 4.0 * torch.finfo(drive.dtype).eps
            for _ in range(self.limit):
                new = self.step(z, drive)
                apart = float((torch.log(new) - torch.log(z)).abs().max()) if z.numel() else 0.0
                z = new
                # d(z, z*) <= c/(1 - c) times the last step, for a contraction by c
                error = apart * self.degree / (1.0 - self.degree)
                if error <= self.tol or apart <= noise:
                    return z, error
        raise OgiveError(
            f"SubDEQ: after {self.limit} steps the relative error is bounded by {error:.2g}, not {self.tol:g}; the "
            f"degree {self.degree:.6g} is close to 1: take a lower power, or a larger limit"
        )

    def extra_repr(self) -> str:
        power = "" if self.power == 1.0 else f", power={self.power:g}"
        norm = ", normalise=True" if self.normalise else ""
        return f"{self.label}, degree={self.degree:.6g}{power}{norm}"
