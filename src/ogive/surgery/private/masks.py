"""An activation where a mask says so, a polynomial elsewhere; masks that are learned under a count."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.activation import Activation
from ogive.derive.moments import hermite
from ogive.errors import InputError, ParameterError, closest

REPLACEMENTS = ("dapa", "linear", "identity")


class _Indicator(torch.autograd.Function):
    """1 above the band, 0 below it, inside it what it was; the gradient by the score is ``softplus(score)`` times the
    one by the indicator (AutoReP's released code, models_util/model_spReLU.py)."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, before: Tensor, band: float) -> Tensor:
        ctx.save_for_backward(score)
        return torch.where(score > band, 1.0, torch.where(score < -band, 0.0, before)).to(score.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (score,) = ctx.saved_tensors
        return grad * functional.softplus(score), None, None


def hysteresis(score: Tensor, before: Tensor, band: float) -> Tensor:
    """``1 if s > band, 0 if s < -band, else the value before``, differentiable straight through by softplus(s).

    >>> hysteresis(torch.tensor([0.5, 0.01, 0.01, -0.5]), torch.tensor([0.0, 1.0, 0.0, 1.0]), 0.05).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    found: Tensor = _Indicator.apply(score, before, band)
    return found


def normal_powers(act: Activation, degree: int, mean: Tensor, std: Tensor) -> Tensor:
    """Coefficients of ``z^k``, z = (x - mean) / std, of the least-squares polynomial under N(mean, std^2): shape
    (degree + 1, *mean.shape), float64. AutoReP's distribution-aware approximation (DaPa).

    >>> import ogive
    >>> normal_powers(ogive.get("relu"), 2, torch.zeros(1), torch.ones(1))[:, 0]
    tensor([0.1995, 0.5000, 0.1995], dtype=torch.float64)
    """
    a = hermite(act, degree, mean.double().cpu(), std.double().cpu())[0]
    powers = torch.zeros_like(a)
    last, now = [0.0], [1.0]  # He_{k-1}, He_k by powers: He_{k+1} = z He_k - k He_{k-1}
    for k in range(degree + 1):
        for i, c in enumerate(now):
            powers[i] += c * a[k] / math.sqrt(math.factorial(k))
        longer = [0.0, *now]
        for i, c in enumerate(last):
            longer[i] -= k * c
        last, now = now, longer
    return powers


class Masked(nn.Module):
    """``y = m f(x) + (1 - m) P(x)`` with a mask m in {0, 1} per channel or per element.

    P is the least-squares polynomial of f under N(mu, sigma^2) with the running mean and variance of each channel
    (``dapa``), the same of degree 1 (``linear``), or x itself (``identity``, as in SNL).

    Args:
        act: f, of one input.
        shape: of one batch at the site; the first dimension counts examples.
        per: ``channel`` (dimension 1) or ``element``.
        replace: what P is.
        degree: of P under ``dapa``, 1 to 15.
        band: half the width of the hysteresis band of the scores.

    Raises:
        ParameterError: for a word or a number that cannot be.
        InputError: for a site without a channel dimension.
    """

    mask: Tensor
    mean: Tensor
    var: Tensor
    centre: Tensor
    width: Tensor
    powers: Tensor
    ready: Tensor

    def __init__(
        self,
        act: Activation,
        shape: tuple[int, ...],
        *,
        per: str = "channel",
        replace: str = "dapa",
        degree: int = 2,
        band: float = 0.05,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if replace not in REPLACEMENTS:
            near = closest(str(replace), REPLACEMENTS, 1)[0]
            raise ParameterError(
                f"replace={replace!r}; it is one of {', '.join(REPLACEMENTS)} (did you mean {near!r}?)"
            )
        if per not in ("channel", "element"):
            raise ParameterError(f"per={per!r}; it is channel or element")
        if type(degree) is not int or not 1 <= degree <= 15:
            raise ParameterError(f"degree={degree!r}; it takes a whole number from 1 to 15")
        if not (math.isfinite(band) and band >= 0.0):
            raise ParameterError(f"band={band!r}; it takes a number from 0")
        if len(shape) < 2:
            raise InputError(f"a site of shape {shape} has no channels (dimension 1) to mask")
        self.act, self.replace, self.band, self.momentum = act, replace, band, momentum
        self.degree = degree if replace == "dapa" else 1
        self.searching = False
        size = (shape[1], *([1] * (len(shape) - 2))) if per == "channel" else tuple(shape[1:])
        self.weight = math.prod(shape[1:]) // math.prod(size)  # activations that one entry of the mask decides
        channels = (shape[1], *([1] * (len(shape) - 2)))
        self.register_buffer("mask", torch.ones(size))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("centre", torch.zeros(channels))  # of the polynomials: the moments they were fitted to
        self.register_buffer("width", torch.ones(channels))
        self.register_buffer("powers", torch.zeros(self.degree + 1, *channels))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))
        self.score: nn.Parameter | None = None

    def search(self, generator: torch.Generator) -> nn.Parameter:
        """Begin to learn the mask: a score for each of its entries, above the band at first."""
        noise = 0.02 * torch.rand(self.mask.shape, generator=generator)
        self.score = nn.Parameter((self.band + 0.1 + noise).to(self.mask.device))
        self.searching = True
        return self.score

    def settle(self) -> None:
        """End it: the mask stays as it is, the score goes."""
        self.score, self.searching = None, False

    def share(self) -> Tensor:
        """The share of activations kept, differentiable by the score while the mask is learned."""
        return self._mask().mean()

    def _mask(self) -> Tensor:
        if self.score is None or not self.searching:
            return self.mask
        return hysteresis(self.score, self.mask, self.band)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Move the running mean and variance towards those of ``x``."""
        dims = [d for d in range(x.dim()) if d != 1]
        mean = x.mean(dims).reshape(self.mean.shape).to(self.mean.dtype)
        var = x.var(dims, unbiased=False).reshape(self.var.shape).to(self.var.dtype)
        share = self.momentum if bool(self.ready) else 1.0
        self.mean.lerp_(mean, share)
        self.var.lerp_(var, share)
        if not bool(self.ready):
            self.ready.fill_(True)
            self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Fit the polynomials anew to the running moments."""
        if self.replace == "identity":
            return
        # a channel that is constant still needs a width: a thousandth of the site's
        floor = 1e-3 * float(self.var.mean().sqrt()) or 1e-6
        self.width.copy_(self.var.sqrt().clamp_min(floor))
        self.centre.copy_(self.mean)
        found = normal_powers(self.act, self.degree, self.centre.flatten(), self.width.flatten())
        self.powers.copy_(found.reshape(self.powers.shape))

    def polynomial(self, x: Tensor) -> Tensor:
        """P(x)."""
        if self.replace == "identity":
            return x
        z = (x - self.centre.to(x.dtype)) / self.width.to(x.dtype)
        total = self.powers[self.degree].to(x.dtype) * torch.ones_like(z)
        for k in range(self.degree - 1, -1, -1):
            total = total * z + self.powers[k].to(x.dtype)
        return total

    def forward(self, x: Tensor) -> Tensor:
        """``m f(x) + (1 - m) P(x)``; in training the running moments follow x, P only at :meth:`refresh`."""
        if self.training or not bool(self.ready):
            self.observe(x.detach())
        mask = self._mask()
        if self.searching and self.training:
            with torch.no_grad():
                self.mask.copy_(mask)
        mask = mask.to(x.dtype)
        if not self.searching:  # a polynomial that overflows far out must not reach what the mask keeps
            return torch.where(mask > 0.5, self.act(x), self.polynomial(x))
        return mask * self.act(x) + (1.0 - mask) * self.polynomial(x)

    def extra_repr(self) -> str:
        return f"{self.act.label} on {float(self.mask.mean()):.0%}, {self.replace} of degree {self.degree} elsewhere"
