"""Invertible residual blocks: the identity plus a contraction, its inverse by iteration, its log-determinant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.layers.act import Act
from ogive.layers.learn import Learn
from ogive.layers.monotone_certificate import slope_bound
from ogive.layers.norm_bound import spectral_bound

ESTIMATES = ("exact", "roulette")


class _Solved(torch.autograd.Function):
    """The solution x of ``x + g(x) = y``: dx/dy = (I + J)^-1, applied to a gradient by iteration."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, pull: Callable[[Tensor], Tensor], steps: int) -> Tensor:
        ctx.pull, ctx.steps = pull, steps
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        g = grads[0]
        w = g
        for _ in range(ctx.steps):
            new = g - ctx.pull(w)
            moved = float((new - w).abs().max())
            w = new
            if moved <= 1e-7 * float(g.abs().max()):
                break
        return None, w, None, None


class ResidualBlock(nn.Module):
    """``y = x + g(x)`` with g a small dense network whose Lipschitz constant is certified to be below ``coeff`` < 1.

    Every linear layer of g is divided by an upper bound of its spectral norm where that exceeds its share, and the
    activation counts with its certified ``sup |f'|``, so the block is a bijection, whatever its weights are. Chen et
    al. 2019, "Residual flows for invertible generative modeling", who take lipswish, swish divided by 1.1.

    Args:
        features: size of the last dimension.
        hidden: widths of the hidden layers of g.
        act: any activation with a bounded slope.
        coeff: the bound of g's Lipschitz constant, in (0, 1).
        estimate: how :meth:`with_log_det` finds ``log|det(I + J)|``: ``"exact"`` from the Jacobian, for few features;
            ``"roulette"`` unbiased from random vectors.
        samples: random vectors for an estimate.
        device, dtype: of the parameters.
        **params: parameters of the activation, numbers (a learned one would change the bound while it trains).

    Raises:
        ParameterError: for a coeff outside (0, 1), widths that are none, an activation whose slope is unbounded.

    >>> block = ResidualBlock(2, (16, 16))
    >>> x = torch.randn(5, 2)
    >>> bool((block.inverse(block(x)) - x).abs().max() < 1e-5), block.lipschitz() <= 0.97
    (True, True)
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (64, 64),
        act: Any = "lipswish",
        *,
        coeff: float = 0.97,
        estimate: str = "roulette",
        samples: int = 1,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        **params: float,
    ) -> None:
        super().__init__()
        widths = (features, *hidden, features)
        if any(type(n) is not int or n < 1 for n in widths):
            raise ParameterError(f"ResidualBlock: widths {widths!r}; they are positive whole numbers")
        if not 0.0 < coeff < 1.0:
            raise ParameterError(
                f"ResidualBlock: coeff={coeff!r}; it lies in (0, 1), or the block may not be invertible"
            )
        if estimate not in ESTIMATES:
            raise ParameterError(f"ResidualBlock: estimate={estimate!r}; it is one of {', '.join(ESTIMATES)}")
        if any(isinstance(v, Learn) for v in params.values()):
            raise ParameterError("ResidualBlock: a learned parameter would change the certified slope; give a number")
        self.features, self.coeff, self.estimate, self.samples = features, float(coeff), estimate, samples
        kept: dict[str, Any] = dict(params)
        self.act = Act(act, **kept)
        self.slope = slope_bound(self.act.activation)
        if not math.isfinite(self.slope):
            raise ParameterError(
                f"ResidualBlock: the slope of {self.act.entry.label} is unbounded; take lipswish, elu, tanh"
            )
        self.layers = nn.ModuleList(nn.Linear(a, b, device=device, dtype=dtype) for a, b in itertools.pairwise(widths))
        # the shares multiply to coeff with the slopes between them
        self.share = (self.coeff / max(self.slope, 1e-12) ** len(hidden)) ** (1.0 / len(self.layers))

    def weights(self) -> list[Tensor]:
        """The weights as they are used: each of spectral norm at most its share."""
        return [m.weight * (self.share / spectral_bound(m.weight)).clamp_max(1.0) for m in self._linear()]

    def _linear(self) -> list[nn.Linear]:
        return [m for m in self.layers if isinstance(m, nn.Linear)]

    def lipschitz(self) -> float:
        """A certified bound of g's Lipschitz constant at the present weights, at most ``coeff``."""
        with torch.no_grad():
            norms = [min(self.share, float(spectral_bound(m.weight))) for m in self._linear()]
        return min(self.coeff, math.prod(norms) * self.slope ** (len(norms) - 1))

    def _branch(self) -> Callable[[Tensor], Tensor]:
        weights, biases = self.weights(), [m.bias for m in self._linear()]

        def g(x: Tensor) -> Tensor:
            for i, (w, b) in enumerate(zip(weights, biases)):
                x = functional.linear(self.act(x) if i else x, w, b)
            return x

        return g

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or x.dim() < 2 or x.shape[-1] != self.features:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"ResidualBlock takes (..., {self.features}); got {got}")

    def forward(self, x: Tensor) -> Tensor:
        """``x + g(x)``."""
        self._check(x)
        return x + self._branch()(x)

    def inverse(self, y: Tensor, tol: float = 1e-6, limit: int = 10_000) -> Tensor:
        """x with ``x + g(x) = y``, by ``x <- y - g(x)``, within ``tol`` in the Euclidean norm of each row.

        With the Lipschitz constant c of g the distance to the solution is at most ``c/(1 - c)`` times the last step,
        which is what ends the iteration; below the rounding of the dtype it ends too. Gradients reach y, of first
        order. Raises :class:`~ogive.errors.OgiveError` when ``limit`` steps do not suffice.
        """
        self._check(y)
        c = self.lipschitz()
        with torch.no_grad():
            g = self._branch()
            x, target = y.clone(), tol * (1.0 - c) / max(c, 1e-12)
            noise = 4.0 * torch.finfo(y.dtype).eps
            for _ in range(limit):
                new = y - g(x)
                step = (new - x).norm(dim=-1)
                x = new
                if bool((step <= torch.clamp_min(noise * x.norm(dim=-1), target)).all()):
                    break
            else:
                raise OgiveError(f"ResidualBlock: the inverse moved by {float(step.max()):.2g} after {limit} steps; "
                                 "take a smaller coeff or a larger tol")  # fmt: skip
        if not (torch.is_grad_enabled() and y.requires_grad):
            return x
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            out = self._branch()(leaf)

        def pull(w: Tensor) -> Tensor:
            return torch.autograd.grad(out, leaf, w, retain_graph=True)[0]

        solved: Tensor = _Solved.apply(x, y, pull, limit)
        return solved

    def with_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``y`` and ``log|det dy/dx|`` of each row, exact or as an unbiased estimate, with gradients."""
        self._check(x)
        g = self._branch()
        flat = x.reshape(-1, self.features)
        if not flat.requires_grad:
            flat = flat.detach().requires_grad_()
        with torch.enable_grad():
            out = g(flat)
            keep = torch.is_grad_enabled() and self.training
            log_det = _exact(out, flat, keep) if self.estimate == "exact" else _roulette(out, flat, self.samples, keep)
        return (flat + out).reshape(x.shape), log_det.reshape(x.shape[:-1])

    def extra_repr(self) -> str:
        return f"{self.features}, coeff={self.coeff:g}, slope={self.slope:.6g}, estimate={self.estimate}"


def _exact(out: Tensor, x: Tensor, keep: bool) -> Tensor:
    rows = [torch.autograd.grad(out[:, i].sum(), x, create_graph=keep, retain_graph=True)[0] for i in range(x.shape[1])]
    jacobian = torch.stack(rows, 1) + torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.slogdet(jacobian).logabsdet


SURE = 2  # terms that are always summed
STOP = 0.5  # chance that the series ends after any further term


def _roulette(out: Tensor, x: Tensor, samples: int, keep: bool) -> Tensor:
    """``sum_k (-1)^(k+1)/k v^T J^k v``, cut at a random length with each term divided by the chance to be summed."""
    total = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
    for _ in range(samples):
        v = torch.randn_like(x)
        extra = int(torch.empty(()).geometric_(STOP)) - 1  # P(extra >= k) = (1 - STOP)^k
        w = v
        for k in range(1, SURE + extra + 1):
            w = torch.autograd.grad(out, x, w, create_graph=keep, retain_graph=True)[0]
            chance = (1.0 - STOP) ** max(0, k - SURE)
            total = total + (-1.0) ** (k + 1) / (k * chance) * (w * v).sum(-1)
    return total / samples
