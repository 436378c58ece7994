"""The same numbers on a GPU; skipped, and seen to be skipped, without one."""

import pytest
import torch

import ogive
from ogive import catalogue

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
NAMES = sorted(n for n, e in catalogue.entries().items() if len(e.inputs) == 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_cuda_agrees_with_cpu(dtype):
    x = torch.cat([torch.linspace(-30, 30, 4001), torch.tensor([3e4, -3e4, torch.inf, -torch.inf, torch.nan])]).to(
        dtype
    )
    close = {"rtol": torch.finfo(dtype).eps, "atol": 1e-30, "equal_nan": True}
    for name in NAMES:
        entry = ogive.get(name)
        here, there = (x.to(d).requires_grad_() for d in ("cpu", "cuda"))
        a, b = entry(here), entry(there)
        # both round once from float64, whose own last place may differ
        assert torch.allclose(a.detach(), b.detach().cpu(), **close), name
        if a.requires_grad:
            (p,), (q,) = torch.autograd.grad(a[:4001].sum(), here), torch.autograd.grad(b[:4001].sum(), there)
            assert torch.allclose(p, q.cpu(), **close), name


def test_cuda_module_and_learned_parameter():
    act = ogive.Act("swish", beta=ogive.learn("layer"), device="cuda")
    x = torch.randn(64, device="cuda", requires_grad=True)
    act(x).sum().backward()
    assert x.grad.is_cuda and all(p.grad.is_cuda for p in act.parameters())
