"""Safe rationals of degree 5 over 4, fitted to an activation under its inputs, and grouped with low-rank changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.errors import InputError, OgiveError, ParameterError

UPPER, LOWER = 5, 4


@dataclass(frozen=True)
class Rational:
    """``P(x)/(1 + |Q(x)|)``: P of degree 5 (six coefficients from x^0), Q = b1 x + ... + b4 x^4; no poles.

    ``error`` is the root mean square error over that of the function, on the inputs it was fitted under.
    """

    upper: tuple[float, ...]
    lower: tuple[float, ...]
    error: float

    def __call__(self, x: Tensor) -> Tensor:
        """In the dtype of ``x``."""
        return rational(x, x.new_tensor(self.upper), x.new_tensor(self.lower))


def rational(x: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
    """``(sum_k a_k x^k) / (1 + |sum_j b_j x^j|)``; coefficients along the last dimension, the rest broadcasts."""
    p = upper[..., UPPER]
    for k in range(UPPER - 1, -1, -1):
        p = p * x + upper[..., k]
    q = lower[..., LOWER - 1]
    for j in range(LOWER - 2, -1, -1):
        q = q * x + lower[..., j]
    return p / (1.0 + (q * x).abs())


def fitted_rational(act: Activation, x: Tensor, steps: int = 300) -> Rational:
    """The safe rational nearest to ``act`` in mean square on the inputs ``x``.

    Quantiles of x and an even grid over their range (a tenth of the weight, so that the ends hold) are fitted by
    Levenberg-Marquardt steps from solutions of ``P - y Q = y`` reweighted by the last denominator (Sanathanan and
    Koerner 1963); the best of several starts, with Q kept as it is or squares alone.

    Raises:
        InputError: for fewer than 20 inputs or inputs that do not vary.
        OgiveError: when the function is not finite there.

    Source of the form: Molina, Schramowski and Kersting 2020, Pade Activation Units.

    >>> from ogive import get
    >>> x = torch.randn(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> fitted_rational(get("gelu"), x).error < 1e-3
    True
    """
    wide = x.detach().double().flatten().cpu()
    if wide.numel() < 20 or not float(wide.max()) > float(wide.min()):
        raise InputError(f"a rational needs 20 inputs that vary; got {wide.numel()}")
    marks = torch.quantile(wide[:20_000], (torch.arange(800, dtype=torch.float64) + 0.5) / 800)
    low, high = float(wide.min()), float(wide.max())
    points = torch.cat([marks, torch.linspace(low, high, 200, dtype=torch.float64)])
    weight = torch.cat([torch.full_like(marks, (0.9 / 800) ** 0.5), points.new_full((200,), (0.1 / 200) ** 0.5)])
    want = act(points)
    if not bool(torch.isfinite(want).all()):
        raise OgiveError(f"{act.label} is not finite on all of [{low:.4g}, {high:.4g}], where its inputs lie")
    scale = max(abs(low), abs(high), 1e-12)
    t = points / scale  # coefficients of one size
    found = min((_marquardt(t, want, weight, start, steps) for start in _starts(t, want, weight)), key=lambda r: r[0])
    powers = scale ** torch.arange(UPPER + 1, dtype=torch.float64)
    upper, lower = found[1][: UPPER + 1] / powers, found[1][UPPER + 1 :] / powers[1 : LOWER + 1]
    made = rational(marks, upper, lower)
    true = act(marks)
    error = float((made - true).square().mean().sqrt() / true.square().mean().sqrt().clamp_min(1e-300))
    return Rational(tuple(upper.tolist()), tuple(lower.tolist()), error)


def _starts(t: Tensor, want: Tensor, weight: Tensor) -> list[Tensor]:
    """Linearised solutions: Q of all powers, and Q of even powers alone (nowhere negative)."""
    starts = []
    for even in (False, True):
        columns = torch.stack([t**k for k in range(UPPER + 1)] + [-want * t**j for j in range(1, LOWER + 1)], 1)
        if even:
            columns[:, [UPPER + 1, UPPER + 3]] = 0.0
        rows = weight.clone()
        both = torch.zeros(UPPER + 1 + LOWER, dtype=torch.float64)
        for _ in range(8):
            a = columns * rows[:, None]
            ridge = 1e-10 * torch.eye(a.shape[1], dtype=a.dtype)
            both = torch.linalg.solve(a.T @ a + ridge, a.T @ (want * rows))
            q = sum(both[UPPER + j] * t**j for j in range(1, LOWER + 1))
            rows = weight / (1.0 + torch.as_tensor(q).abs())
        starts.append(both)
    starts.append(torch.cat([starts[1][: UPPER + 1], starts[1][UPPER + 1 :].abs()]))
    return starts


def _marquardt(t: Tensor, want: Tensor, weight: Tensor, start: Tensor, steps: int) -> tuple[float, Tensor]:
    up = torch.stack([t**k for k in range(UPPER + 1)], 1)
    down = torch.stack([t**j for j in range(1, LOWER + 1)], 1)

    def parts(both: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        p, q = up @ both[: UPPER + 1], down @ both[UPPER + 1 :]
        below = 1.0 + q.abs()
        rest = (p / below - want) * weight
        return p / below, q.sign(), below, float(rest @ rest)

    both, damping = start.clone(), 1e-4
    y, sign, below, loss = parts(both)
    for _ in range(steps):
        slope = torch.cat([up / below[:, None], -(y * sign / below)[:, None] * down], 1) * weight[:, None]
        rest = (y - want) * weight
        normal = slope.T @ slope
        step = torch.linalg.solve(normal + damping * torch.diag(normal.diagonal() + 1e-14), slope.T @ rest)
        tried = parts(both - step)
        if tried[3] < loss:
            settled = loss - tried[3] < 1e-10 * loss
            both, (y, sign, below, loss), damping = both - step, tried, max(damping / 3.0, 1e-14)
            if settled:
                break
        else:
            damping *= 4.0
            if damping > 1e8:
                break
    return loss, both


class GroupRational(nn.Module):
    """A rational for each group of channels: fixed coefficients A, B plus low-rank changes ``dA = U_a V_a^T``, ``dB``.

    U starts at 0, so nothing changes at first; V is drawn. The changes are in units of the fixed coefficients' size,
    ``A + s dA`` with s the scale of each power at the width of the inputs, so that one rate trains all of them. With
    ``own`` the result is ``own(x) + R_new(x) - R_old(x)``: exactly ``own`` at first, whatever the fit.

    Args:
        fit: the rational of all groups.
        channels, groups: groups divide channels. dim: of the channels.
        rank: of the changes, at least 1. spread: root mean square of the inputs.
        own: the function it was fitted to, where the fit is not near enough to take its place.
    """

    upper: Tensor
    lower: Tensor
    scales: Tensor

    def __init__(
        self, fit: Rational, channels: int, groups: int, rank: int, dim: int = -1, spread: float = 1.0,
        own: nn.Module | None = None, generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups < 1 or channels % groups:
            raise ParameterError(f"GroupRational: {groups} groups of {channels} channels; groups divide channels")
        if type(rank) is not int or rank < 1:
            raise ParameterError(f"GroupRational: rank={rank!r}; it takes a whole number of at least 1")
        self.channels, self.groups, self.dim, self.rank, self.own = channels, groups, dim, rank, own
        self.register_buffer("upper", torch.tensor(fit.upper))
        self.register_buffer("lower", torch.tensor(fit.lower))
        unit = max(spread, 1e-6)
        self.register_buffer("scales", torch.tensor([unit ** (1 - k) for k in range(UPPER + 1)]))
        self.up_u = nn.Parameter(torch.zeros(groups, rank))
        self.up_v = nn.Parameter(torch.randn(UPPER + 1, rank, generator=generator) / (UPPER + 1) ** 0.5)
        self.low_u = nn.Parameter(torch.zeros(groups, rank))
        self.low_v = nn.Parameter(torch.randn(LOWER, rank, generator=generator) / LOWER**0.5)

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Those in use: (groups, 6) and (groups, 4)."""
        below = self.scales[1 : LOWER + 1] / self.scales[0]  # Q has no unit: x^-j
        return (self.upper + self.scales * (self.up_u @ self.up_v.T),
                self.lower + below * (self.low_u @ self.low_v.T))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; in float32 at least inside."""
        if x.shape[self.dim] != self.channels:
            raise InputError(f"GroupRational: {self.channels} channels in dimension {self.dim}; got {tuple(x.shape)}")
        wide = x.movedim(self.dim, -1) if self.dim != -1 else x
        wide = wide.float() if wide.dtype in (torch.float16, torch.bfloat16) else wide
        split = wide.unflatten(-1, (self.groups, -1))
        upper, lower = (c.to(wide.dtype)[:, None, :] for c in self.coefficients())
        y = rational(split, upper, lower)
        if self.own is not None:
            y = y - rational(split, self.upper.to(wide.dtype), self.lower.to(wide.dtype)) + self.own(split)
        y = y.flatten(-2)
        return (y.movedim(-1, self.dim) if self.dim != -1 else y).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels} channels in {self.groups} groups, rank {self.rank}"
