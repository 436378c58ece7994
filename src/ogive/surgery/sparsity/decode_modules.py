"""Linear maps and feed-forward blocks that read only the weights a sparse activation asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import InputError, ParameterError
from ogive.kernels import native
from ogive.layers.act import Act
from ogive.surgery.sparsity import decode_rows
from ogive.surgery.sparsity.decode_text import NAMES
from ogive.surgery.sparsity.linear import RankAwareLinear, ThresholdedLinear


def transpose_(weight: Tensor) -> None:
    """Lay a weight (out, in) out by its columns, in place: same values and shape, column after column in memory."""
    if not weight.t().is_contiguous():
        weight.data = weight.data.t().contiguous().t()


def _small(x: Tensor, weights: list[Tensor | None]) -> bool:
    """Whether the kernels may take ``x``: few rows, no gradient wanted, and nobody watching the operations."""
    if x.dim() == 0 or not 0 < x.numel() <= decode_rows.MOST * x.shape[-1]:
        return False
    if torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack() or torch.compiler.is_compiling():
        return False
    first = weights[0]
    assert first is not None
    if x.shape[-1] != first.shape[1] or torch.is_autocast_enabled(x.device.type):
        return False  # of a wrong shape the dense product says what is wrong
    gradient = torch.is_grad_enabled()
    if gradient and x.requires_grad:
        return False
    for w in weights:
        if w is None:
            continue
        if w.dtype != x.dtype or w.device != x.device or (gradient and w.requires_grad):
            return False
        if not w.is_cuda and not native.plain(w):
            return False
    if x.is_cuda:
        from ogive.kernels import triton

        return triton.available() and x.dtype.itemsize <= 4
    return x.dtype in NAMES and native.plain(x)


def _kept(x: Tensor, threshold: float) -> Tensor:
    return torch.where(x.abs() < threshold, torch.zeros_like(x), x) if threshold else x


def _threshold(value: float, who: str) -> float:
    if not value >= 0.0:
        raise ParameterError(f"{who}: threshold={value!r}; it is a size, 0 or more")
    return float(value)


def _sum(h: Tensor, down: Tensor, threshold: float, **more: Any) -> Tensor:
    if h.is_cuda:
        from ogive.surgery.sparsity.decode_triton import summed

        return summed(h, down, threshold, **more)
    return decode_rows.summed(h, down, threshold, **more)[0]


class SparseLinear(nn.Linear):
    """``y = W s(x) + b`` with s(x) = x where \\|x\\| >= threshold, else 0, which reads the columns of W where s(x) is
    not 0.

    One to eight rows of x without gradient run so; more, or any with a gradient, are a dense product. Sums are
    float32. The parameters are those of ``linear`` itself, so the ``state_dict`` stays; the weight is laid out by its
    columns in memory (no second copy is kept), which ``W.data = W.data.contiguous()`` takes back. Thresholds and a
    low-rank path that ``linear`` has of its own (``teal``, ``r_sparse``) are kept.

    Args:
        linear: an ``nn.Linear`` of float32 or bfloat16.
        threshold: 0 (skip exact zeros) or more, in the unit of x.

    Raises:
        InputError: when ``linear`` is none.
        ParameterError: for a negative threshold.

    >>> linear = nn.Linear(64, 32)
    >>> x, sparse = torch.relu(torch.randn(1, 64)), SparseLinear(linear)
    >>> with torch.no_grad():
    ...     torch.allclose(sparse(x), linear(x), atol=1e-6)
    True
    """

    def __init__(self, linear: nn.Linear, threshold: float = 0.0) -> None:
        if not isinstance(linear, nn.Linear):
            raise InputError(f"SparseLinear takes an nn.Linear, not {type(linear).__name__}")
        nn.Module.__init__(self)
        self.__dict__.update(linear.__dict__)  # parameters, buffers, hooks and sizes of the one it stands for
        self.cut = _threshold(threshold, "SparseLinear")
        self.__dict__["origin"] = linear if isinstance(linear, ThresholdedLinear) else None
        transpose_(self.weight)

    def kept(self, x: Tensor) -> Tensor:
        """The inputs that are used, 0 for the others."""
        origin: ThresholdedLinear | None = self.__dict__["origin"]
        return _kept(x if origin is None else origin.kept(x), self.cut)

    def forward(self, input: Tensor) -> Tensor:
        kept = self.kept(input)
        if _small(input, [self.weight, self.bias]):
            transpose_(self.weight)  # it may have been loaded or assigned since
            h = kept.reshape(-1, kept.shape[-1]).float().contiguous()
            y = _sum(h, self.weight.detach().t(), 0.0, start=self.bias)
            y = y.to(input.dtype).view(*input.shape[:-1], -1)
        else:
            y = functional.linear(kept, self.weight, self.bias)
        origin = self.__dict__["origin"]
        if isinstance(origin, RankAwareLinear) and origin.right.shape[0]:
            y = y + functional.linear(functional.linear(input - kept, origin.right), origin.left)
        return y

    def extra_repr(self) -> str:
        origin = self.__dict__["origin"]
        return super().extra_repr() + (f", threshold={self.cut:g}" if origin is None else f", as {origin}")


class _SparseBlock(nn.Module):
    """What the two kinds of block share: the submodules of the module they stand for, under the same names."""

    def __init__(self, block: nn.Module, paths: dict[str, str], activation: Any, threshold: float) -> None:
        super().__init__()
        who = type(self).__name__
        for part, path in paths.items():
            try:
                linear = block.get_submodule(path)
            except AttributeError:
                raise InputError(f"{who}: {type(block).__name__} has no {part} {path!r}") from None
            if not isinstance(linear, nn.Linear):
                raise InputError(f"{who}: {part} {path!r} is {type(linear).__name__}, not nn.Linear")
        self.__dict__.update(block.__dict__)
        self.__dict__.pop("forward", None)
        self.paths, self.threshold = paths, _threshold(threshold, who)
        # kept out of the submodules, so that the state_dict has the keys of the block
        self.__dict__["activation"] = activation if isinstance(activation, nn.Module) else Act(activation)
        transpose_(self._part("down").weight)

    def _part(self, name: str) -> nn.Linear:
        found: Any = self.get_submodule(self.paths[name])
        return found

    def _opened(self, h: Tensor) -> Tensor:
        made: Tensor = self.__dict__["activation"](h)
        return made

    def _decode(self, x: Tensor, known: Tensor | None) -> Tensor | None:
        """The result by the kernels; None where a dense product is called for."""
        parts = [self._part(k) for k in self.paths]
        if not _small(x, [t for p in parts for t in (p.weight, p.bias)]):
            return None
        entry, down = parts[0], parts[-1]
        for p in parts[:-1]:
            if not p.weight.is_contiguous():
                p.weight.data = p.weight.data.contiguous()
        transpose_(down.weight)
        flat = x.reshape(-1, x.shape[-1]).float().contiguous()
        rows = None if known is None else known.unique().to(torch.int32)
        h = self._opened(decode_rows.scores(entry.weight.detach(), entry.bias, flat, rows)).contiguous()
        more: dict[str, Any] = {"rows": rows, "start": down.bias}
        if len(parts) == 3:
            more |= {"up": parts[1].weight.detach(), "bias": parts[1].bias, "x": flat}
        y = _sum(h, down.weight.detach().t(), self.threshold, **more)
        return y.to(x.dtype).view(*x.shape[:-1], -1)

    def _checked(self, known: Tensor | None) -> None:
        if known is None or known.numel() == 0:
            return
        neurons = self._part("down").in_features
        low, high = int(known.min()), int(known.max())
        if known.is_floating_point() or known.dim() != 1 or low < 0 or high >= neurons:
            raise InputError(f"{type(self).__name__}: known={known!r}; it is a list of indices from 0 to {neurons - 1}")

    def _only(self, h: Tensor, known: Tensor | None) -> Tensor:
        h = _kept(h, self.threshold)
        if known is None:
            return h
        keep = torch.zeros(h.shape[-1], dtype=torch.bool, device=h.device)
        keep[known.long()] = True
        return torch.where(keep, h, torch.zeros_like(h))

    def extra_repr(self) -> str:
        what = ", ".join(f"{k}={v}" for k, v in self.paths.items())
        return f"{self.__dict__['activation']}, {what}, threshold={self.threshold:g}"


class SparseFFN(_SparseBlock):
    """``y = W_down s(f(W_up x + b)) + c``, which reads the columns of W_down where s(f) is not 0; s(h) = h where
    \\|h\\| >= threshold, else 0.

    One to eight rows of x without gradient run so, anything else is dense. Sums are float32, also with bfloat16
    weights. The submodules, parameters and keys of the ``state_dict`` are those of ``block``; the weight of ``down``
    is laid out by its columns.

    Args:
        block: the module that this stands for.
        up, down: paths of its two ``nn.Linear``.
        activation: anything :func:`ogive.get` takes, or a module of one input. Not part of the state.
        threshold: 0 or more.

    Raises:
        InputError: when a path leads to no ``nn.Linear``.
        ParameterError: for a negative threshold.

    >>> block = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))
    >>> sparse, x = SparseFFN(block, "0", "2", "relu"), torch.randn(1, 16)
    >>> with torch.no_grad():
    ...     torch.allclose(sparse(x), block(x), atol=1e-6), list(sparse.state_dict()) == list(block.state_dict())
    (True, True)
    """

    def __init__(self, block: nn.Module, up: str, down: str, activation: Any, threshold: float = 0.0) -> None:
        super().__init__(block, {"up": up, "down": down}, activation, threshold)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """The block on (..., d); ``known``: indices of the neurons that are computed at all, when a predictor says that
        the others are 0."""
        self._checked(known)
        made = self._decode(x, known)
        if made is not None:
            return made
        down: Tensor = self._part("down")(self._only(self._opened(self._part("up")(x)), known))
        return down


class SparseGLU(_SparseBlock):
    """``y = W_down (s(f(W_gate x)) * (W_up x))``, biases included, which reads the rows of W_up and the columns of
    W_down where s(f) is not 0; s(h) = h where \\|h\\| >= threshold, else 0. Everything else is as with
    :class:`SparseFFN`.

    Args:
        block: the module that this stands for.
        gate, up, down: paths of its three ``nn.Linear``.
        activation: of the gate.
        threshold: 0 or more.

    Raises:
        InputError: when a path leads to no ``nn.Linear``.
        ParameterError: for a negative threshold.
    """

    def __init__(
        self, block: nn.Module, gate: str, up: str, down: str, activation: Any, threshold: float = 0.0
    ) -> None:
        super().__init__(block, {"gate": gate, "up": up, "down": down}, activation, threshold)

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """The block on (..., d); ``known`` as with :class:`SparseFFN`."""
        self._checked(known)
        made = self._decode(x, known)
        if made is not None:
            return made
        h = self._only(self._opened(self._part("gate")(x)), known)
        down: Tensor = self._part("down")(h * self._part("up")(x))
        return down
