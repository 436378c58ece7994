"""Run a polynomial model on encrypted inputs, under CKKS with TenSEAL."""

from __future__ import annotations

import importlib
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.modes import evaluating
from ogive.surgery.private.circuit import circuit
from ogive.surgery.private.steps import Circuit, Step
from ogive.surgery.sites import table

Array = NDArray[np.float64]
# Bits of the modulus at which a ring of this size keeps 128 bits of security: Albrecht et al. 2018, the
# Homomorphic Encryption Standard, table 1 (classical, ternary secret); SEAL checks the same numbers.
SECURE = {4096: 109, 8192: 218, 16384: 438, 32768: 881}


@dataclass(frozen=True)
class Parameters:
    """Of CKKS: the size N of the ring (N/2 numbers a ciphertext), the bits of the primes, and of the scale."""

    ring: int
    first_bits: int
    scale_bits: int
    levels: int

    @property
    def modulus(self) -> list[int]:
        """Bits of each prime: one to decrypt at, one a level, one for keys."""
        return [self.first_bits, *([self.scale_bits] * self.levels), self.first_bits]

    @property
    def spare_bits(self) -> int:
        """Room for the integer part of a number before it wraps."""
        return self.first_bits - self.scale_bits


def parameters_for(depth: int, width: int, scale_bits: int = 40) -> Parameters:
    """The smallest ring with 128 bits of security that holds ``depth`` levels of ``scale_bits`` and ``width`` numbers.

    Args:
        depth: multiplications in a row, from 1.
        width: entries of the widest vector.
        scale_bits: 20 to 50; each level loses a few of them, so the result has about ``scale_bits - 20`` good bits.

    Raises:
        ParameterError: for other numbers.
        OgiveError: for a depth or a width that the largest ring does not hold.

    >>> parameters_for(7, 64), parameters_for(3, 64, 26).ring
    (Parameters(ring=16384, first_bits=60, scale_bits=40, levels=7), 8192)
    """
    if type(scale_bits) is not int or not 20 <= scale_bits <= 50:
        raise ParameterError(f"scale_bits={scale_bits!r}; it takes a whole number from 20 to 50")
    if type(depth) is not int or depth < 1 or type(width) is not int or width < 1:
        raise ParameterError(f"depth={depth!r}, width={width!r}; they take whole numbers from 1")
    first = min(60, scale_bits + 20)
    for ring, most in SECURE.items():
        if 2 * first + depth * scale_bits <= most and width <= ring // 2:
            return Parameters(ring, first, scale_bits, depth)
    ring, most = max(SECURE.items())
    if width > ring // 2:
        raise OgiveError(f"a vector of {width} entries; the largest ring holds {ring // 2}")
    holds = (most - 2 * first) // scale_bits
    raise OgiveError(f"this circuit is {depth} multiplications deep; the largest ring (N = {ring}) holds {holds} "
                     f"levels of {scale_bits} bits. Take polynomials of a lower degree (2 takes one level, 3 two, 4 "
                     "to 7 three), fewer activations (autorep), or fewer scale_bits")  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """Encrypted outputs against plain ones: errors in the outputs, the share of examples with the same largest output,
    seconds an example."""

    examples: int
    largest_error: float
    mean_error: float
    largest_output: float
    same_choice: float
    seconds: float
    encrypted: Array
    plain: Array

    def __repr__(self) -> str:
        error = f"largest error {self.largest_error:.2g} in outputs up to {self.largest_output:.3g}"
        rest = f"same choice {self.same_choice:.1%}, {self.seconds:.3g} s an example"
        return f"{self.examples} encrypted: {error},\n{rest}"

    def to_dict(self) -> dict[str, Any]:
        """All figures but the outputs, ready for JSON."""
        return {k: v for k, v in self.__dict__.items() if k not in ("encrypted", "plain")}


class Encrypted:
    """A model that takes encrypted vectors to encrypted vectors.

    The owner of the secret key calls :meth:`encrypt` and :meth:`decrypt`; who computes calls :meth:`run`. Here one
    object holds the keys of both, to measure: it is no protocol.
    """

    def __init__(self, model: nn.Module, steps: Circuit, parameters: Parameters) -> None:
        self.model, self.circuit, self.parameters = model, steps, parameters
        self._seal = _tenseal()
        self._context = self._seal.context(
            self._seal.SCHEME_TYPE.CKKS, parameters.ring, coeff_mod_bit_sizes=parameters.modulus
        )
        self._context.global_scale = 2.0**parameters.scale_bits
        self._context.generate_galois_keys()
        self._ready = [self._plain(s) for s in steps.steps]
        self.seconds: dict[str, float] = {}

    def _plain(self, step: Step) -> Any:
        """The matrix as TenSEAL takes it, and the bias as a ciphertext: adding a plain vector would leave the copies of
        the vector further along the slots without it, which the next product reads (TenSEAL 0.3)."""
        if step.weight is None or step.bias is None:
            return None
        bias = self._seal.ckks_vector(self._context, step.bias.tolist()) if step.bias.any() else None
        return step.weight.tolist(), bias

    def encrypt(self, x: Tensor) -> Any:
        """One example as a ciphertext."""
        flat = x.detach().double().flatten().tolist()
        if len(flat) != self.circuit.inputs:
            raise InputError(f"an example of {len(flat)} numbers; this model takes {self.circuit.inputs}")
        if not all(map(math.isfinite, flat)):
            raise InputError("the example has numbers that are not finite; they cannot be encrypted")
        return self._seal.ckks_vector(self._context, flat)

    def run(self, vector: Any) -> Any:
        """The model on a ciphertext; the time of each step by name is in ``seconds``."""
        wires, self.seconds, last = {0: vector}, {}, 0
        for step, ready in zip(self.circuit.steps, self._ready):
            began = time.perf_counter()
            wires[step.result] = _apply(step, ready, [wires[i] for i in step.inputs])
            self.seconds[f"{step.op} {step.name}"] = time.perf_counter() - began
            last = step.result
        return wires[last]

    def decrypt(self, vector: Any) -> Array:
        """The numbers of a ciphertext."""
        return np.array(vector.decrypt()[: self.circuit.outputs])

    def __call__(self, x: Tensor) -> Tensor:
        """Encrypt each example of a batch, run, decrypt: shape (examples, outputs), float64."""
        rows = [self.decrypt(self.run(self.encrypt(row))) for row in x]
        return torch.from_numpy(np.stack(rows))

    def agreement(self, x: Tensor) -> Agreement:
        """The outputs under encryption against those of the model in plain numbers, for a batch of examples."""
        with evaluating(self.model), torch.no_grad():
            like = next((p for p in self.model.parameters()), x)
            plain = self.model(x.to(like.dtype)).double().reshape(len(x), -1).cpu().numpy()
        began = time.perf_counter()
        found = self(x).numpy()
        seconds = (time.perf_counter() - began) / len(x)
        error = np.abs(found - plain)
        return Agreement(len(x), float(error.max()), float(error.mean()), float(np.abs(plain).max()),
                         float((found.argmax(1) == plain.argmax(1)).mean()), seconds, found, plain)  # fmt: skip

    def levels(self) -> str:
        """The steps with the multiplications each is deep, as a table, with seconds of the last run."""
        rows: list[tuple[str, ...]] = [("step", "name", "level", "seconds")]
        for s in self.circuit.steps:
            took = self.seconds.get(f"{s.op} {s.name}")
            rows.append((s.op, s.name, str(s.level), "-" if took is None else f"{took:.3g}"))
        return table(rows, (12, 36, 6, 9))

    def __repr__(self) -> str:
        p = self.parameters
        return f"{self.circuit}\nCKKS: N = {p.ring}, scale 2^{p.scale_bits}, {p.levels} levels"


def encrypt(model: nn.Module, example: Tensor, *, scale_bits: int = 40) -> Encrypted:
    """A model whose activations are polynomials, ready to run on encrypted inputs under CKKS (Cheon et al. 2017).

    Affine maps are joined and become products of a vector with a plain matrix, the division by a polynomial's
    interval is folded into the matrix before it, and the ring is the smallest one that is deep enough.

    Args:
        model: after :func:`~ogive.surgery.private.polynomialise.polynomialise`; it is left as it was, and later
            changes of it are not seen.
        example: a batch; only its shape counts.
        scale_bits: precision and depth against each other, see :func:`parameters_for`.

    Raises:
        OgiveError: for what is neither affine nor a polynomial, for a depth that no ring holds, and without TenSEAL
            (``pip install ogive[private]``).
    """
    made = circuit(model, example)
    width = max([made.inputs, *(max(s.weight.shape) for s in made.steps if s.weight is not None)])
    return Encrypted(model, made, parameters_for(made.depth, width, scale_bits))


def _tenseal() -> Any:
    try:
        return importlib.import_module("tenseal")
    except ImportError:
        raise OgiveError("running encrypted takes TenSEAL: pip install 'ogive[private]'") from None


def _apply(step: Step, ready: Any, values: list[Any]) -> Any:
    try:
        if step.op == "affine":
            weight, bias = ready
            made = values[0].mm(weight)
            return made if bias is None else made + bias
        if step.op == "add":
            return values[0] + values[1]
        if step.op == "square":
            return values[0].square()
        return values[0].polyval(list(step.coefficients))
    except (ValueError, RuntimeError) as error:
        raise OgiveError(f"{step.op} {step.name}: TenSEAL says {str(error)!r} at level {step.level} of the circuit; "
                         "more scale_bits or a lower degree may help") from error  # fmt: skip
