"""torch's composite functions, written with the operations that the tracer follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary


def layer_norm(x: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    dims = tuple(range(x.dim() - len(tuple(normalized_shape)), x.dim()))
    return _affine(_standard(x, dims, eps), weight, bias)


def rms_norm(x: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    dims = tuple(range(x.dim() - len(tuple(normalized_shape)), x.dim()))
    small = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * torch.rsqrt(torch.mean(torch.square(x), dims, keepdim=True) + small)
    return _affine(known_range(y, math.sqrt(math.prod(x.shape[i] for i in dims))), weight, None)


def group_norm(x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    parts = torch.reshape(x, (x.shape[0], num_groups, -1))
    y = torch.reshape(_standard(parts, (2,), eps), x.shape)
    return _affine(y, *(_by_channel(t, x) for t in (weight, bias)))


def instance_norm(
    x: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    weight, bias = _by_channel(weight, x), _by_channel(bias, x)
    if use_input_stats:
        return _affine(_standard(x, tuple(range(2, x.dim())), eps), weight, bias)
    scale = torch.rsqrt(_by_channel(running_var, x) + eps)
    return _affine((x - _by_channel(running_mean, x)) * scale, weight, bias)


def _standard(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    d = x - torch.mean(x, dims, keepdim=True)
    y = d * torch.rsqrt(torch.mean(torch.square(d), dims, keepdim=True) + eps)
    # n numbers of mean 0 and mean square at most 1: none is larger than sqrt(n - 1)
    return known_range(y, math.sqrt(max(math.prod(x.shape[i] for i in dims) - 1, 0)))


def known_range(x: Tensor, size: float) -> Tensor:
    """``x`` itself, of which it is known that no element is larger than ``size``: the tracer keeps that."""
    if has_torch_function_unary(x):
        return handle_torch_function(known_range, (x,), x, size)
    return x.clone()


def _affine(x: Tensor, weight: Any, bias: Any) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _by_channel(t: Any, x: Tensor) -> Any:
    return t if t is None else torch.reshape(t, (-1, *(1,) * (x.dim() - 2)))


def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Tensor:
    if p != 2.0:
        raise TypeError(f"normalize with p={p}")
    return x / torch.clamp(torch.sqrt(torch.sum(torch.square(x), dim, keepdim=True)), min=eps)


def log_softmax(x: Tensor, dim: Any = None, *rest: Any, **more: Any) -> Tensor:
    return x - torch.log(torch.sum(torch.exp(x), dim, keepdim=True))


def logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    return torch.log(torch.sum(torch.exp(x), dim, keepdim=keepdim))


def softmin(x: Tensor, dim: Any = None, *rest: Any, **more: Any) -> Tensor:
    return torch.softmax(-x, dim)


def glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = torch.chunk(x, 2, dim)
    return a * torch.sigmoid(b)


def var(x: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False, unbiased: bool = True) -> Tensor:
    dims = tuple(range(x.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    count = math.prod(x.shape[d] for d in dims)
    d = x - torch.mean(x, dims, keepdim=True)
    return torch.sum(torch.square(d), dims, keepdim=keepdim) * (1.0 / (count - (correction if unbiased else 0)))


def std(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.sqrt(var(x, *args, **kwargs))


def norm(x: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, *rest: Any, **more: Any) -> Tensor:
    dims = tuple(range(x.dim())) if dim is None else dim
    if p in (2, 2.0, "fro", None):
        return torch.sqrt(torch.sum(torch.square(x), dims, keepdim=keepdim))
    if p in (1, 1.0):
        return torch.sum(torch.abs(x), dims, keepdim=keepdim)
    if p == math.inf:
        return torch.amax(torch.abs(x), dims, keepdim=keepdim)
    raise TypeError(f"a norm with p={p}")


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, **more: Any) -> Tensor:
    return norm(x, ord, dim, keepdim)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    if enable_gqa:
        many = query.shape[-3] // key.shape[-3]
        key, value = (torch.repeat_interleave(t, many, -3) for t in (key, value))
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query * factor, torch.transpose(key, -2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros(attn_mask.shape).masked_fill(~attn_mask, -math.inf)
        scores = scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Any,
    in_proj_bias: Any, bias_k: Any, bias_v: Any, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
    out_proj_bias: Any, training: bool = True, key_padding_mask: Any = None, need_weights: bool = True,
    attn_mask: Any = None, use_separate_proj_weight: bool = False, q_proj_weight: Any = None,
    k_proj_weight: Any = None, v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Any]:  # fmt: skip
    extra = (bias_k, bias_v, static_k, static_v, key_padding_mask)
    if any(e is not None for e in extra) or add_zero_attn:
        raise TypeError("multi-head attention with a padding mask, static keys or added keys")
    weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    if not use_separate_proj_weight:
        weights = in_proj_weight.chunk(3)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    single = query.dim() == 2
    heads = []
    for x, w, b in zip((query, key, value), weights, biases):
        x = torch.unsqueeze(x, 1) if single else x  # [length, batch, width]
        y = torch.reshape(functional.linear(x, w, b), (x.shape[0], x.shape[1], num_heads, -1))
        heads.append(torch.permute(y, (1, 2, 0, 3)))
    if attn_mask is not None and attn_mask.dim() == 3:
        attn_mask = attn_mask.view(-1, num_heads, *attn_mask.shape[1:])
    q, k, v = heads
    scores = torch.matmul(q * (1.0 / math.sqrt(q.shape[-1])), torch.transpose(k, -2, -1))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros(attn_mask.shape).masked_fill(attn_mask, -math.inf)
        scores = scores + attn_mask
    weights_ = torch.softmax(scores, -1)
    mixed = torch.permute(torch.matmul(weights_, v), (2, 0, 1, 3))
    out = functional.linear(torch.flatten(mixed, 2), out_proj_weight, out_proj_bias)
    shown = None
    if need_weights:
        shown = torch.mean(weights_, 1) if average_attn_weights else weights_
    return (torch.squeeze(out, 1) if single else out), shown


def softmax(x: Tensor, dim: Any = None, *rest: Any, **more: Any) -> Tensor:
    """Moved to the last dimension, where the tracer takes it."""
    at = -1 if dim is None else dim
    return torch.movedim(torch.softmax(torch.movedim(x, at, -1), -1), -1, at)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    shape = (1,) if weight.numel() == 1 or x.dim() < 2 else (-1, *(1,) * (x.dim() - 2))
    return torch.where(x > 0, x, torch.reshape(weight, shape) * x)


DECOMPOSED: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (layer_norm, rms_norm, group_norm, instance_norm, normalize, log_softmax, logsumexp, softmin, glu, var,
              std, norm, vector_norm, scaled_dot_product_attention, multi_head_attention_forward)
}  # fmt: skip
DECOMPOSED["prelu"] = prelu
MOVED_SOFTMAX = softmax
