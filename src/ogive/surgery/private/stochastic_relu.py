"""The ReLU of secret shares with a cheap sign test that sometimes fails, as a module that fails as often."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError, closest

PRIME = 2**31 - 1
MODES = ("poszero", "negpass")


class _Signed(torch.autograd.Function):
    """x where the test says positive; the gradient passes there and nowhere else, as the test decided."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, positive: Tensor) -> Tensor:
        ctx.save_for_backward(positive)
        return torch.where(positive, x, torch.zeros_like(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (positive,) = ctx.saved_tensors
        return torch.where(positive, grad, torch.zeros_like(grad)), None


class StochasticReLU(nn.Module):
    """``y = x s(x)``, s the sign test of Circa on secret shares without their k low bits: s fails at random.

    x becomes the whole number ``round(x 2^fraction)`` in the field of the prime p; one party holds a number t drawn
    evenly from it, the other ``x + t mod p``. The test compares the two shares: x is called positive when
    ``floor((x + t mod p) / 2^k) > floor(t / 2^k)`` (``poszero``: ties, which small x of either sign give, become 0) or
    ``>=`` (``negpass``: ties pass). It fails where ``x + t`` wraps around p, with probability |x|/p, and by the
    truncation where 0 <= x < 2^k (poszero) or -2^k < x < 0 (negpass), with probability about ``1 - |x|/2^k``.

    Args:
        k: low bits left out, 0 to 30.
        mode: which small numbers the truncation costs: ``poszero`` or ``negpass``.
        fraction: bits after the point of the fixed-point numbers, 0 to 24.
        prime: of the field, 3 to 2^31 - 1; numbers from -p/2 to p/2 have a sign.
        seed: of the shares; None draws from torch's generator.

    Raises:
        ParameterError: for other numbers.
        InputError: for numbers too large for the field, with the largest one.

    Source: Ghodsi et al. 2021, *Circa: Stochastic ReLUs for private deep learning*.

    >>> relu = StochasticReLU(12, seed=0)
    >>> [round(float(p), 3) for p in relu.fault_probability(torch.tensor([-1.0, 2.0**-5, 2.0**-4, 1.0]))]
    [0.0, 0.75, 0.5, 0.0]
    """

    def __init__(
        self, k: int = 12, mode: str = "poszero", *, fraction: int = 15, prime: int = PRIME, seed: int | None = None
    ) -> None:
        super().__init__()
        if mode not in MODES:
            near = closest(str(mode), MODES, 1)[0]
            raise ParameterError(f"StochasticReLU: mode={mode!r}; it is poszero or negpass (did you mean {near!r}?)")
        for name, value, low, high in (("k", k, 0, 30), ("fraction", fraction, 0, 24), ("prime", prime, 3, PRIME)):
            if type(value) is not int or not low <= value <= high:
                raise ParameterError(f"StochasticReLU: {name}={value!r}; it takes a whole number from {low} to {high}")
        self.k, self.mode, self.fraction, self.prime, self.seed = k, mode, fraction, prime, seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def encoded(self, x: Tensor) -> Tensor:
        """``round(x 2^fraction)`` as int64."""
        whole = torch.round(x.detach().double() * 2.0**self.fraction)
        if not bool(torch.isfinite(whole).all()) or float(whole.abs().max() if x.numel() else 0.0) > self.prime / 2:
            most, got = self.prime / 2.0 ** (self.fraction + 1), float(x.detach().abs().max())
            raise InputError(f"StochasticReLU: a field of {self.prime} with {self.fraction} bits after the point holds "
                             f"|x| < {most:.6g}; got {got:g}")  # fmt: skip
        return whole.long()

    def positive(self, x: Tensor) -> Tensor:
        """What the test says of each number: True for "positive", with shares drawn anew."""
        whole = self.encoded(x)
        t = torch.randint(0, self.prime, x.shape, generator=self._generator(x.device), device=x.device)
        theirs = torch.remainder(whole + t, self.prime) >> self.k
        mine = t >> self.k
        return theirs > mine if self.mode == "poszero" else theirs >= mine

    def _generator(self, device: torch.device) -> torch.Generator | None:
        if self.seed is None:
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def __deepcopy__(self, memo: dict[int, Any]) -> StochasticReLU:
        made = StochasticReLU(self.k, self.mode, fraction=self.fraction, prime=self.prime, seed=self.seed)
        made.train(self.training)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x where the test says positive, 0 elsewhere."""
        found: Tensor = _Signed.apply(x, self.positive(x))
        return found

    def fault_probability(self, x: Tensor) -> Tensor:
        """The probability that the test is wrong about x, float64: ``|x|/p`` for the wrap, and for small x of the sign
        that ``mode`` gives up ``(2^k - |x|)/2^k`` for the truncation (x in fixed point; exact to about 2^(k+1)/p).

        Zero counts as right either way: its result is 0.
        """
        whole = self.encoded(x).double()
        size, step = whole.abs(), 2.0**self.k
        wrong = size / self.prime
        small = (whole > 0) if self.mode == "poszero" else (whole < 0)
        tie = ((step - size) / step).clamp(0.0, 1.0)
        return torch.where(small, (wrong + tie).clamp_max(1.0), wrong) * (whole != 0)

    def extra_repr(self) -> str:
        return f"k={self.k}, mode={self.mode!r}, fraction={self.fraction}, prime={self.prime}"


def resolution(k: int, fraction: int = 15) -> float:
    """The size below which truncation by k bits makes the test uncertain: ``2^(k - fraction)``.

    >>> resolution(12)
    0.125
    """
    return math.ldexp(1.0, k - fraction)
