"""How far apart two sets of weights are as functions, from statistics of one of them: no data kept.

What a nonlinearity f does to a change e of its input z is taken to be d = s e with a random slope s for every unit,
independent of everything else, of mean m = E f'(z) and second moment E f'(z)^2 as they were on the data; for relu s is
a Bernoulli gate, open with P(z > 0). The activation itself is a = E a + m (z - E z) + r with an independent rest r that
gives it the variance it had. Means and covariances of a and d together go through the layers:

    z = W a + b                            W, b the weights of the statistics, V, c the others
    e = V d + (V - W) a + c - b            E d = m E e
    Cov(a_i, a_j) = m_i m_j Cov(z_i, z_j), but the measured variance where i = j
    Cov(d_i, a_j) = m_i m_j Cov(e_i, z_j)
    Cov(d_i, d_j) = m_i m_j Cov(e_i, e_j), and Var(s_i) E e_i^2 more where i = j

The mean slope is right for a too: by Stein's lemma m is the slope of the best line through f(z) for normal z, so that
Var f >= m^2 Var z. Since a and d are variables that exist, no distance is negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.errors import InputError, ParameterError
from ogive.surgery.follow import follow
from ogive.surgery.graph import Graph, Node
from ogive.surgery.propagate import whole
from ogive.surgery.weights import Map


@dataclass(frozen=True)
class Gates:
    """One layer: keys of its weight and bias ("" without one) and their values, and for each unit E f'(z), E f'(z)^2,
    the mean and the variance of f(z). ``activation`` is None where none follows; the slope is 1 then."""

    weight: str
    bias: str
    weight_value: Tensor
    bias_value: Tensor
    activation: Activation | None
    slope: Tensor
    slope_square: Tensor
    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class GateStatistics:
    """What :func:`gate_statistics` keeps: the inputs' mean and covariance and :class:`Gates` for each layer."""

    mean: Tensor
    covariance: Tensor
    layers: tuple[Gates, ...]
    examples: int

    def __repr__(self) -> str:
        acts = [g.activation.label for g in self.layers if g.activation is not None]
        units = sum(len(g.slope) for g in self.layers if g.activation is not None)
        return (f"GateStatistics({self.examples} examples, {len(self.mean)} inputs, {len(self.layers)} layers, "
                f"{units} units of {', '.join(dict.fromkeys(acts)) or 'no activation'})")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Numbers of the statistics without the weights, ready for JSON."""
        layers = [
            {"weight": g.weight, "activation": None if g.activation is None else str(g.activation),
             "slope": g.slope.tolist(), "slope_square": g.slope_square.tolist(),
             "mean": g.mean.tolist(), "variance": g.variance.tolist()}
            for g in self.layers
        ]  # fmt: skip
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist(), "layers": layers,
                "examples": self.examples}  # fmt: skip


def gate_statistics(model: nn.Module, data: Tensor) -> GateStatistics:
    """The means and covariance of ``data`` and, for every unit of ``model`` on it, the moments of its slope and value.

    Args:
        model: a chain of linear layers with activations between them, as modules or functions (dropout and changes of
            shape may stand between).
        data: a batch of two examples or more, in one tensor.

    Raises:
        InputError: for a model that is no such chain, naming the step that is not, and for other data.

    Source: Dhawan, Huang, Bae and Grosse 2023, "Efficient parametric approximations of neural network function space
    distance", for relu.

    >>> _ = torch.manual_seed(0)
    >>> gate_statistics(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(50, 4))
    GateStatistics(50 examples, 4 inputs, 2 layers, 8 units of relu)
    """
    if not isinstance(data, Tensor) or data.dim() < 2 or len(data) < 2 or not data.is_floating_point():
        what = f"shape {tuple(data.shape)}, {data.dtype}" if isinstance(data, Tensor) else type(data).__name__
        raise InputError(f"gate_statistics: data is {what}; it takes a batch of two examples or more, floating point")
    seen: list[tuple[Node, Tensor, Tensor, Tensor, Tensor | None]] = []

    def on_linear(node: Node, found: Map, made: Tensor, again: Callable[[Tensor], Tensor]) -> None:
        bias = None if found.bias is None else found.bias.detach().clone()
        seen.append((node, found.data.detach(), made.detach(), found.weight.detach().clone(), bias))

    graph = follow(model, data, on_linear)
    acts = _chain(graph, [node for node, *_ in seen], type(model).__name__)
    layers = []
    for (node, _, z, weight, bias), act in zip(seen, acts):
        if z.dim() != 2 or node.weight is None or node.weight.why_not or not node.weight.name:
            raise InputError(f"gate_statistics: {node.op} in {node.owner or 'the model'} has outputs of shape "
                             f"{tuple(z.shape)}; it takes stored weights and a row for each example")  # fmt: skip
        slope = torch.ones_like(z) if act is None else derivative(act)(z)
        value = z if act is None else act(z)
        layers.append(Gates(
            node.weight.name, node.weight.bias, weight, torch.zeros_like(z[0]) if bias is None else bias, act,
            slope.mean(0), slope.square().mean(0), value.mean(0), value.var(0, correction=0),
        ))  # fmt: skip
    first = seen[0][1]
    return GateStatistics(first.mean(0), torch.cov(first.T, correction=0), tuple(layers), len(data))


def _chain(graph: Graph, linear: list[Node], name: str) -> list[Activation | None]:
    """The activation behind every linear map of a chain; InputError where the model is none."""
    if graph.stops:
        raise InputError(f"gate_statistics: {graph.stops[0]}")
    for node in graph.nodes:
        where = f"{node.label or node.op} in {node.owner or 'the model itself'}"
        if node.kind not in ("input", "linear", "act", "pass", "constant", "parameter"):
            raise InputError(f"gate_statistics: {where} is neither a linear layer nor an activation; the model has to "
                             "be a chain of these")  # fmt: skip
        if node.kind == "linear" and node.op not in ("linear", "addmm", "matmul"):
            raise InputError(f"gate_statistics: {where} is no linear layer; convolutions would need covariances "
                             "between positions")  # fmt: skip
    found: list[Activation | None] = []
    if not linear or len(graph.outputs) != 1:
        raise InputError(f"gate_statistics: {name} has {len(linear)} linear layers and {len(graph.outputs)} outputs")
    ends = [n.parents[0] for n in linear[1:]] + [graph.outputs[0]]
    for node, end in zip(linear, ends):
        act, at = None, end
        while at.kind == "pass":
            at = at.parents[0]
        if at.kind == "act":
            act, at = whole(at)
            while at.kind == "pass":
                at = at.parents[0]
        if at is not node:
            raise InputError(f"gate_statistics: between {node.owner or node.op} and the next layer there is more than "
                             f"a formula of its output ({at.label or at.op} in {at.owner or 'the model'})")  # fmt: skip
        found.append(act)
    return found


def function_distance(statistics: GateStatistics, model: nn.Module, metric: Tensor | None = None) -> Tensor:
    """``E (y - y')^T M (y - y')`` over the data of ``statistics``, y its outputs and y' those of ``model``, predicted
    without data and differentiable in the model's parameters.

    To first order in what the nonlinearities do; exact where all slopes are constant (linear networks). The cost is
    that of a few products of weight matrices, whatever the number of examples.

    Args:
        statistics: from :func:`gate_statistics`, of a model with the same parameter names.
        model: the other weights.
        metric: M, positive semidefinite of shape (outputs, outputs), or None for the identity, the mean squared
            distance. With the mean of diag(p) - p p^T over the data, half the result is the Kullback-Leibler
            divergence of softmax outputs to second order.

    Raises:
        InputError: when a parameter is missing in ``model`` or has another shape.
        ParameterError: for a metric of another shape.

    Source: the deterministic form of Dhawan et al. 2023; that covariances between activations and their changes are
    kept, that units have the mean and variance that was measured, and slopes of any activation are this library's.

    >>> _ = torch.manual_seed(0)
    >>> net, x = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.randn(99, 4)
    >>> before, kept = net(x).detach(), gate_statistics(net, x)
    >>> _ = net[0].weight.data.add_(0.1)
    >>> true = (net(x) - before).square().sum(1).mean()
    >>> bool(torch.isclose(function_distance(kept, net), true))
    True
    """
    values = dict(model.named_parameters())
    a, d = statistics.mean, torch.zeros_like(statistics.mean)
    # covariances of a with a, of d with a, of d with d
    aa, da, dd = statistics.covariance, torch.zeros_like(statistics.covariance), torch.zeros_like(statistics.covariance)
    for gates in statistics.layers:
        new, shift = _changed(values, gates)
        old, change = gates.weight_value, new - gates.weight_value
        z, e = old @ a + gates.bias_value, new @ d + change @ a + shift
        mixed = new @ da + change @ aa  # covariance of e with a
        zz, ez = old @ aa @ old.T, mixed @ old.T
        ee = mixed @ change.T + (new @ dd + change @ da.T) @ new.T
        if gates.activation is None:
            a, d, aa, da, dd = z, e, zz, ez, ee
            continue
        m, varies = gates.slope, gates.slope_square - gates.slope.square()
        a, d = gates.mean, m * e
        outer = m[:, None] * m
        spread = varies * (ee.diagonal() + e.square())
        rest = (gates.variance - m.square() * zz.diagonal()).clamp_min(0.0)
        aa, da, dd = outer * zz + rest.diag(), outer * ez, outer * ee + spread.diag()
    if metric is None:
        return d.square().sum() + dd.diagonal().sum()
    if metric.shape != dd.shape:
        raise ParameterError(f"function_distance: the metric has shape {tuple(metric.shape)}; it takes "
                             f"{tuple(dd.shape)}, outputs by outputs")  # fmt: skip
    return d @ metric @ d + (metric * dd).sum()


def _changed(values: dict[str, nn.Parameter], gates: Gates) -> tuple[Tensor, Tensor]:
    """The other weight, as it is multiplied, and the change of the bias."""
    found = values.get(gates.weight)
    if found is None or found.shape != gates.weight_value.shape:
        what = "it is missing" if found is None else f"its shape is {tuple(found.shape)}"
        raise InputError(f"function_distance: the statistics are of a model with {gates.weight} of shape "
                         f"{tuple(gates.weight_value.shape)}; {what} here")  # fmt: skip
    bias = values.get(gates.bias)
    return found, torch.zeros_like(gates.bias_value) if bias is None else bias - gates.bias_value
