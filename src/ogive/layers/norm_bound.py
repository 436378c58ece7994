"""An upper bound of a matrix's spectral norm that can be trained through."""

from __future__ import annotations

import torch
from torch import Tensor


def spectral_bound(weight: Tensor, rounds: int = 7) -> Tensor:
    """At least ``||W||_2``: the Frobenius norm of ``(W^T W)^(2^(k-1))`` to the power ``2^-k`` after k rounds.

    A power method approaches the norm from below and proves nothing; this comes from above, within a factor of
    ``rank^(2^-(k+1))``: 1.8 % for rank 100 after seven rounds. Delattre et al. 2023, "Efficient
    bound of Lipschitz constant for convolutional layers by Gram iteration". The result carries a margin for the
    rounding of the products.

    >>> w = torch.diag(torch.tensor([3.0, 1.0]))
    >>> bool(3.0 <= spectral_bound(w) <= 3.02)
    True
    """
    small = weight if weight.shape[0] >= weight.shape[1] else weight.transpose(0, 1)
    wide = small.to(torch.float64)
    gram = wide.transpose(0, 1) @ wide
    log_scale = torch.zeros((), dtype=torch.float64, device=weight.device)
    for _ in range(rounds):
        size = torch.linalg.matrix_norm(gram).clamp_min(1e-300)
        log_scale = 2.0 * (log_scale + torch.log(size))
        gram = gram / size
        gram = gram @ gram
    bound = torch.exp((log_scale + torch.log(torch.linalg.matrix_norm(gram).clamp_min(1e-300))) * 2.0 ** -(rounds + 1))
    # each product errs by at most n eps of its size, and roots only shrink that; float32 callers round once more
    margin = 1.0 + (wide.shape[0] + wide.shape[1]) * 2.0**-50 + (0.0 if weight.dtype == torch.float64 else 2.0**-22)
    return (bound * margin).to(weight.dtype)
