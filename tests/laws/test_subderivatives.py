"""The law of kinks: at every float16 number, on every way of computing, autograd returns a Clarke subderivative."""

from __future__ import annotations

import pytest
import torch

from ogive.certify.subderivative import check_ad
from tests.entries import few_scalar_entries

pytest.importorskip("flint")


@few_scalar_entries
def test_slopes_at_every_float16_number(entry):
    made = check_ad(entry, dtypes=(torch.float16,))
    assert {s.dtype for s in made.sweeps} == {"float16", "float32"}
    assert made.passed, str(made)
    assert all(s.undefined < s.points // 2 + 1024 for s in made.sweeps)
