"""Linear layers that read only a part of their weight, in the place of those that read all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import OgiveError
from ogive.surgery.edits import Edits
from ogive.surgery.wiring import packed


class ThresholdedLinear(nn.Linear):
    """``y = W (x where |x| > t, else 0) + b``: columns of W that meet a zero need not be read.

    ``threshold`` is one number or one for each input. Weight and bias are the parameters of the layer it stands for,
    under the same keys; the threshold is a buffer that is not part of the state. NaN passes.

    >>> layer = ThresholdedLinear.of(nn.Linear(3, 2), 0.5)
    >>> layer.kept(torch.tensor([0.1, -0.5, 2.0]))
    tensor([0., 0., 2.])
    """

    threshold: Tensor

    @classmethod
    def of(cls, linear: nn.Linear, threshold: float | Tensor) -> ThresholdedLinear:
        """The layer with the weight of ``linear``, its hooks and its mode."""
        new = cls.__new__(cls)
        nn.Module.__init__(new)
        new.in_features, new.out_features = linear.in_features, linear.out_features
        new.weight, new.bias = linear.weight, linear.bias
        new._forward_hooks, new._forward_pre_hooks = linear._forward_hooks, linear._forward_pre_hooks
        new.training = linear.training
        value = torch.as_tensor(threshold, dtype=linear.weight.dtype, device=linear.weight.device)
        new.register_buffer("threshold", value.clone(), persistent=False)
        return new

    def kept(self, x: Tensor) -> Tensor:
        """The inputs that are used, 0 for the others."""
        return torch.where(x.abs() <= self.threshold, torch.zeros((), dtype=x.dtype, device=x.device), x)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return functional.linear(self.kept(x), self.weight, self.bias)

    @property
    def extra(self) -> int:
        """Numbers read besides the weight."""
        return 0

    def extra_repr(self) -> str:
        t = f"{float(self.threshold):.4g}" if self.threshold.dim() == 0 else f"one for each of {self.threshold.numel()}"
        return f"{super().extra_repr()}, threshold={t}"


class RankAwareLinear(ThresholdedLinear):
    """``y = W (x where |x| > t) + U V (x where |x| <= t) + b``, with ``U V`` of low rank: R-Sparse.

    The inputs below the threshold go through ``rank`` singular directions of W instead of nowhere. Source: Zhang, Liu,
    Tian, Khaitan, Wang and Li 2025, "R-Sparse: Rank-Aware Activation Sparsity for Efficient LLM Inference".
    """

    left: Tensor
    right: Tensor

    @classmethod
    def ranked(cls, linear: nn.Linear, threshold: float | Tensor, left: Tensor, right: Tensor) -> RankAwareLinear:
        """``left`` (out, rank) and ``right`` (rank, in) are U and V."""
        new = cls.of(linear, threshold)
        assert isinstance(new, RankAwareLinear)
        new.register_buffer("left", left.to(linear.weight).contiguous(), persistent=False)
        new.register_buffer("right", right.to(linear.weight).contiguous(), persistent=False)
        return new

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        kept = self.kept(x)
        large = functional.linear(kept, self.weight, self.bias)
        if not self.right.shape[0]:
            return large
        return large + functional.linear(functional.linear(x - kept, self.right), self.left)

    @property
    def extra(self) -> int:
        """Numbers read besides the weight: those of U and V."""
        return self.left.numel() + self.right.numel()

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rank={self.right.shape[0]}"


def exchange(model: nn.Module, instead: Mapping[str, nn.Module]) -> Callable[[], None]:
    """Put modules in the place of those at the paths, wherever those hang; returns what takes them away again."""
    edits = Edits()
    try:
        for path, new in instead.items():
            if not path:
                raise OgiveError("the model is one Linear itself, which cannot be exchanged; wrap it in nn.Sequential")
            edits.exchange(model, model.get_submodule(path), new)
    except BaseException:
        edits.undo()
        raise
    return edits.undo


def why_not_plain(module: nn.Module) -> str:
    """Why a module is no ``nn.Linear`` as torch has it, "" where it is: subclasses may compute something else.

    >>> why_not_plain(nn.Linear(2, 2)), why_not_plain(nn.Bilinear(2, 2, 2))
    ('', 'a Bilinear, not a plain nn.Linear')
    """
    if type(module) is not nn.Linear:
        return f"a {type(module).__name__}, not a plain nn.Linear"
    return packed(module.weight)
