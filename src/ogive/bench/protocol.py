"""What is held equal between activations: weights, their gain, and the splits.

docs/protocol.md says the same for a user, with the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ogive.bench.candidate import Candidate
from ogive.bench.shipped import split
from ogive.bench.spec import Data, Pair, TaskSpec
from ogive.errors import InputError

WEIGHT_LAYERS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip
# Autograd nodes behind which a tensor is no longer "the activation's output": contractions and
# normalisations. Everything else (views, pooling, dropout, sums, concatenation) is looked through.
_STOPS = ("Addmm", "MmBackward", "Bmm", "Convolution", "Attention", "Norm", "Embedding", "Einsum", "Softmax")


def as_data(loaded: Any) -> Data:
    """What a loader returned, as tensors in three splits.

    Args:
        loaded: a `Data`; a dict with the keys train, validation and test, each a pair (x, y); a tuple of
            three such pairs; or one pair (x, y), which is shuffled once and split 60/20/20.

    Raises:
        InputError: when it is none of these, or holds values that are not numbers.
    """
    if isinstance(loaded, Data):
        return loaded
    if isinstance(loaded, Mapping):
        if set(loaded) != {"train", "validation", "test"}:
            raise InputError(f"load_data() returned the keys {sorted(loaded)}: train, validation, test are needed")
        return Data(**{name: _pair(value, name) for name, value in loaded.items()})
    if isinstance(loaded, tuple | list) and len(loaded) == 3:
        return Data(*(_pair(value, name) for value, name in zip(loaded, ("train", "validation", "test"))))
    if isinstance(loaded, tuple | list) and len(loaded) == 2:
        x, y = _pair(loaded, "data")
        if len(x) != len(y):
            raise InputError(f"load_data() returned {len(x)} inputs and {len(y)} targets")
        return Data(*((x[rows], y[rows]) for rows in map(torch.from_numpy, split(len(x)))))
    raise InputError(
        f"load_data() returned {type(loaded).__name__}: a pair (x, y), three pairs, "
        "or a dict of train, validation and test is needed"
    )


def _pair(value: Any, name: str) -> Pair:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError(f"{name} is {type(value).__name__}: a pair (x, y) is needed")
    return _tensor(value[0], name + " x"), _tensor(value[1], name + " y")


def _tensor(value: Any, name: str) -> Tensor:
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    except TypeError as problem:
        raise InputError(f"{name} does not hold numbers: {problem}") from problem
    if tensor.is_floating_point():
        return tensor.float()
    return tensor.long()


def build(task: TaskSpec, act: Candidate, seed: int, x: Tensor) -> tuple[nn.Module, list[nn.Module]]:
    """The network of one trial and the activation modules in it.

    The weights of every Linear and convolution are g / sqrt(fan_in) times standard normal numbers that
    depend on the seed alone; g is the activation's gain where an activation feeds the layer, else 1.
    Whatever else the network draws is drawn under the same seed, and an activation that draws numbers
    of its own does not shift that stream: two activations start from the same network up to g.

    Args:
        task: the task.
        act: the activation under test.
        seed: of the weights.
        x: a few inputs, to see in one forward pass what feeds what.
    """
    made: list[nn.Module] = []

    def factory(*, channels: int | None = None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            made.append(act.make(channels))
        return made[-1]

    torch.manual_seed(seed)
    model = task.make_model(factory)
    if not isinstance(model, nn.Module):
        raise InputError(f"make_model of task {task.name!r} returned {type(model).__name__}, not an nn.Module")
    if task.redraw:
        inside = {id(module) for one in made for module in one.modules()}
        layers = [m for m in model.modules() if isinstance(m, WEIGHT_LAYERS) and id(m) not in inside]
        fed = fed_by_activation(model, layers, made, x)
        redraw(layers, [act.gain if id(layer) in fed else 1.0 for layer in layers], seed)
    return model, made


def fan_in(layer: nn.Module) -> float:
    """Number of inputs that one output of a Linear or convolution sums over.

    >>> fan_in(nn.Conv2d(12, 24, 3)), fan_in(nn.Linear(5, 2))
    (108.0, 5.0)
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return weight[:, 0].numel() / layer.groups / math.prod(layer.stride)
    return float(weight[0].numel())


def redraw(layers: Iterable[nn.Module], gains: Iterable[float], seed: int) -> None:
    """Fill weights with N(0, 1) g / sqrt(fan_in), biases with U(-1, 1) / sqrt(fan_in), in order.

    The bias keeps torch's own distribution: zero biases would make every first layer on coordinates
    pass through the origin.
    """
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer, gain in zip(layers, gains):
            spread = fan_in(layer) ** -0.5
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor)
            weight.copy_(torch.randn(weight.shape, generator=numbers) * (gain * spread))
            if isinstance(bias, Tensor):
                bias.copy_((torch.rand(bias.shape, generator=numbers) * 2 - 1) * spread)


def fed_by_activation(model: nn.Module, layers: Iterable[nn.Module], acts: Iterable[nn.Module], x: Tensor) -> set[int]:
    """The ids of the weight layers whose input comes from activations alone.

    One forward pass, then back along the autograd graph from each layer's input: to activations only
    (through pooling, reshaping, dropout, sums), and the layer is fed by an activation; to another weight
    layer, a normalisation or the data, and it is not. A residual sum x + f(x) of a weight layer's output
    counts as not fed.
    """
    outputs: set[Any] = set()
    inputs: list[tuple[int, Any]] = []

    def after_act(module: nn.Module, args: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.grad_fn is not None:
            outputs.add(out.grad_fn)

    def before_layer(module: nn.Module, args: Any) -> None:
        if args and isinstance(args[0], Tensor):
            inputs.append((id(module), args[0].grad_fn))

    hooks = [act.register_forward_hook(after_act) for act in acts]
    hooks += [layer.register_forward_pre_hook(before_layer) for layer in layers]
    state = [buffer.clone() for buffer in model.buffers()]
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            model(x.detach().requires_grad_() if x.is_floating_point() else x)
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), state):
                buffer.copy_(before)
    return {layer for layer, node in inputs if node is not None and _from(node, outputs.__contains__)}


def _from(node: Any, is_act: Callable[[Any], bool]) -> bool:
    """Whether every path back from an autograd node ends at an activation."""
    todo, seen, reached = [node], {node}, False
    while todo:
        node = todo.pop()
        if is_act(node):
            reached = True
            continue
        if any(stop in node.name() for stop in _STOPS):
            return False
        for before, _ in node.next_functions:
            if before is not None and before not in seen and "AccumulateGrad" not in before.name():
                seen.add(before)
                todo.append(before)
    return reached
