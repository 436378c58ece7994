"""Every entry is certified as it stands: what the catalogue ships is held here, what changed since is checked in full."""

from __future__ import annotations

import pytest
import torch

from ogive import catalogue
from ogive.certify import check
from ogive.certify.accuracy import SIXTEEN
from ogive.certify.certificate import ORDERS
from ogive.certify.run import OURS
from ogive.certify.store import certificate, certified, current, shipped

SCALAR = [e for e in catalogue.entries().values() if len(e.inputs) == 1]
CHANGED = [e for e in SCALAR if not certified(e)]


@pytest.mark.parametrize("entry", CHANGED, ids=lambda e: e.name)
def test_a_changed_formula_passes_every_law(entry):
    pytest.importorskip("flint")
    made = check(entry)
    assert made.passed, str(made)


def test_certificates_are_of_entries_and_pass():
    assert set(shipped()) <= {str(e.name) for e in SCALAR}
    for name in shipped():
        made = certificate(name)
        assert made is None or made.passed, f"{name}: {made}"
        entry = catalogue.lookup(name)
        assert set(filter(None, shipped()[name]["excepted"].split(","))) <= set(entry.exceptions)


def test_a_certificate_covers_every_dtype_and_order():
    for entry in SCALAR:
        made = certificate(str(entry.name))
        if made is None:
            continue
        seen = {(f.law, f.dtype) for f in made.findings}
        orders = ORDERS if entry.backward is None else ORDERS[:1]
        assert seen == {(law, str(d)[6:]) for law in orders for d in OURS}, entry.name


@pytest.mark.parametrize("entry", [e for e in SCALAR if current(e)][::90], ids=lambda e: e.name)
def test_a_fresh_sample_is_no_worse_than_the_certificate(entry):
    pytest.importorskip("flint")
    kept, made = certificate(str(entry.name)), check(entry, points=700)
    for law in ORDERS:
        for dtype in SIXTEEN:  # the sample is of the very inputs that were certified
            d = str(dtype)[6:]
            assert made.worst(law, d) <= kept.worst(law, d) * 1.01 + 1e-6, (law, d)
    assert torch.get_num_threads() == 1
