"""A network as a chain: matrices with activations between them, what Lipschitz bounds are made of.

Consecutive linear steps are multiplied out to one matrix; what that multiplication may have rounded is kept with it.
Layers that sort or reflect (:mod:`ogive.layers.sort`) stay whole, since written out with relu they would lose what
makes them 1-Lipschitz.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ogive.derive.quadratic import Constraints, SlopeInterval, group_sort, householder, slope_interval
from ogive.errors import InputError, OgiveError
from ogive.layers.sort import GroupSort, Householder
from ogive.surgery.modes import evaluating
from ogive.verify.formula import Formula
from ogive.verify.network import Network, Step
from ogive.verify.rounding import gamma
from ogive.verify.tracer import trace

_ENTRIES = 2**24  # of one matrix


@dataclass(frozen=True, eq=False)
class Affine:
    """``matrix @ x + bias`` in float64; each entry of the exact matrix is within ``doubt`` of the one here."""

    matrix: Tensor
    bias: Tensor
    doubt: Tensor


@dataclass(frozen=True, eq=False)
class Sector:
    """Functions of single elements, with difference quotients in [alpha, beta]."""

    name: str
    formula: Formula
    alpha: Tensor
    beta: Tensor

    @property
    def lipschitz(self) -> float:
        return float(torch.maximum(self.alpha.abs(), self.beta.abs()).max())

    def constraints(self) -> Constraints:
        """``(v_i - alpha_i u_i)(beta_i u_i - v_i) >= 0`` for every element."""
        n, signed = len(self.alpha), []
        for i, (a, b) in enumerate(zip(self.alpha.tolist(), self.beta.tolist())):
            m = torch.zeros(2 * n, 2 * n, dtype=torch.float64)
            m[i::n, i::n] = SlopeInterval(self.name, a, b).form()
            signed.append(m)
        return Constraints(self.name, n, tuple(signed))


@dataclass(frozen=True, eq=False)
class Mixing:
    """A layer that is 1-Lipschitz as a whole and keeps a part of every group as it is."""

    name: str
    family: Constraints
    order: Tensor  # groups are neighbours in x[order]
    lipschitz: float = 1.0

    def constraints(self) -> Constraints:
        """The family for the elements in the order in which the layer has them."""
        n = len(self.order)
        place = torch.argsort(self.order)
        at = torch.cat([place, place + n])
        move = lambda m: m[at][:, at]  # noqa: E731
        return Constraints(self.name, n, tuple(map(move, self.family.signed)), tuple(map(move, self.family.free)))


@dataclass(frozen=True, eq=False)
class Chain:
    """``affine[0], bends[0], affine[1], ..., affine[-1]``, in this order; one more affine map than bends."""

    affine: tuple[Affine, ...]
    bends: tuple[Sector | Mixing, ...]
    model: nn.Module
    example: Tensor  # in the dtype of the weights

    def __repr__(self) -> str:
        sizes = [str(self.affine[0].matrix.shape[1]), *(str(a.matrix.shape[0]) for a in self.affine)]
        return f"Chain({type(self.model).__name__}: {' -> '.join(sizes)}, {', '.join(b.name for b in self.bends)})"


def chain(model: nn.Module, example: Tensor) -> Chain:
    """``model`` on inputs shaped like ``example`` (one, with its batch dimension) as a chain.

    Raises :class:`~ogive.errors.InputError` for a model that branches or multiplies signals, naming the step, and
    :class:`~ogive.errors.OgiveError` for an activation whose slope is not bounded.

    >>> chain(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)), torch.zeros(1, 4))
    Chain(Sequential: 4 -> 6 -> 2, tanh(x))
    """
    if not isinstance(example, Tensor) or example.dim() < 2 or len(example) != 1:
        raise InputError("lipschitz: example is one input with its batch dimension, a tensor [1, ...]")
    weights = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    example = example.detach().to(weights[0]) if weights else example.detach()
    affine: list[Affine] = []
    bends: list[Sector | Mixing] = []
    pending, start = _identity(math.prod(example.shape[1:])), example
    for part in _parts(model):
        if isinstance(part, (GroupSort, Householder)):
            affine.append(pending)
            bends.append(_mixing(part, example))
            pending = _identity(example[0].numel())
            continue
        network = trace(part, example)
        for step in network.steps[1:]:
            _follows(network, step)
            if step.linear:
                pending = _after(step, pending, network)
            else:
                affine.append(pending)
                bends.append(_sector(step))
                pending = _identity(math.prod(step.shape))
        with torch.no_grad():
            example = _evaluated(part, example)
    return Chain((*affine, pending), tuple(bends), model, start)


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    """Modules in the order they run: those that sort or reflect, and what is between them."""
    if not any(isinstance(m, (GroupSort, Householder)) for m in model.modules()):
        yield model
        return
    if isinstance(model, (GroupSort, Householder)):
        yield model
    elif type(model) is nn.Sequential:
        for child in model:
            yield from _parts(child)
    else:
        raise InputError(f"lipschitz: {type(model).__name__} runs a layer that sorts or reflects inside its own "
                         "forward; put the layers into an nn.Sequential, whose order is known")  # fmt: skip


def _evaluated(part: nn.Module, x: Tensor) -> Tensor:
    with evaluating(part):
        y: Tensor = part(x)
    return y


def _follows(network: Network, step: Step) -> None:
    if step.inputs != (step.index - 1,):
        where = step.where or "the model itself"
        raise InputError(f"lipschitz: {step.operation.name} in {where} takes {len(step.inputs)} signals or one from "
                         f"further back, so {network.model} is no chain of layers; bounds of its outputs are what "
                         "ogive.verify.bound gives")  # fmt: skip


def _identity(n: int) -> Affine:
    eye = torch.eye(n, dtype=torch.float64)
    return Affine(eye, torch.zeros(n, dtype=torch.float64), torch.zeros_like(eye))


def _after(step: Step, before: Affine, network: Network) -> Affine:
    """The linear step behind an affine map, column by column; |error| <= gamma |W| |A| + |W| doubt."""
    shape = network.steps[step.inputs[0]].shape
    n, m = before.matrix.shape[1], math.prod(step.shape)
    if n * m > _ENTRIES:
        raise InputError(f"lipschitz: {step.operation.name} is a matrix of {m} x {n} here; at most {_ENTRIES} entries "
                         "are written out")  # fmt: skip
    operation = step.operation
    with torch.no_grad():
        columns = before.matrix.T.reshape(n, *shape)
        made = operation.apply([columns]).reshape(n, m).T
        share = gamma(operation.terms + 4.0, torch.float64)
        size = operation.absolute([share * columns.abs()]) + operation.absolute([before.doubt.T.reshape(n, *shape)])
        bias = operation.evaluate([before.bias.reshape(1, *shape)]).flatten()
    if operation.exact:
        size = operation.absolute([before.doubt.T.reshape(n, *shape)])
    return Affine(made, bias, size.reshape(n, m).T * (1.0 + share))


def _sector(step: Step) -> Sector:
    operation = step.operation
    if not isinstance(operation, Formula):
        raise InputError(f"lipschitz: {operation.name} in {step.where or 'the model itself'} mixes or multiplies "
                         "elements; a chain has linear layers, functions of single elements, and the layers of "
                         "ogive.layers that sort or reflect")  # fmt: skip
    n = math.prod(step.shape)
    alpha, beta = torch.empty(n, dtype=torch.float64), torch.empty(n, dtype=torch.float64)
    for act, places in operation.groups:
        s = slope_interval(act)
        if not math.isfinite(s.lipschitz):
            raise OgiveError(f"lipschitz: {operation.name} in {step.where or 'the model itself'} has no bounded slope "
                             "on the whole line, so no Lipschitz constant follows")  # fmt: skip
        at = slice(None) if places is None else places
        alpha[at], beta[at] = s.alpha, s.beta
    return Sector(operation.name, operation, alpha, beta)


def _mixing(layer: GroupSort | Householder, example: Tensor) -> Mixing:
    index = torch.arange(example[0].numel()).reshape(example.shape)
    last = index.movedim(layer.dim, -1)
    order, n = last.flatten(), index.numel()
    if isinstance(layer, GroupSort):
        return Mixing(type(layer).__name__, group_sort(n, layer.size), order)
    half = (0.5 * layer.angle.detach().double()).repeat(n // layer.channels)
    return Mixing("Householder", householder(torch.stack([half.sin(), -half.cos()], 1)), order)
