"""The figures of every site are those of the tensors it was given."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ogive
from ogive.errors import InputError
from ogive.surgery.survey import survey


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.act = nn.Linear(8, 32), nn.Linear(32, 32), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.a(x))
        return F.hardtanh(3.0 * self.b(x))


def test_statistics_are_those_of_the_inputs_over_all_batches():
    net, batches = Net(), [torch.randn(50, 8), torch.randn(30, 8)]
    want = net(batches[0])
    found = {row.site: row for row in survey(net, batches)}
    assert list(found) == ["act", "mul"] or list(found) == ["act", ":mul"] or len(found) == 2
    with torch.no_grad():
        x = torch.cat([net.a(b) for b in batches]).double()
        y = torch.cat([net.b(F.relu(net.a(b))) for b in batches]).double()
    first, second = found.values()
    assert first.shape == (30, 32)
    assert (first.mean, first.std) == (pytest.approx(float(x.mean())), pytest.approx(float(x.std(correction=0))))
    assert (first.low, first.high) == (pytest.approx(float(x.min())), pytest.approx(float(x.max())))
    assert first.zero == first.flat == pytest.approx(float((x <= 0).double().mean()))
    assert second.mean == pytest.approx(float(y.mean()), abs=1e-7)
    assert second.flat == pytest.approx(float((3 * y.abs() >= 1).double().mean()), abs=2e-3)
    assert 0.0 < first.cost < 2.0
    assert torch.equal(net(batches[0]), want)


def test_it_prints_in_80_columns_and_as_json():
    found = survey(Net(), torch.randn(20, 8))
    assert max(map(len, repr(found).splitlines())) <= 80
    assert "relu" in repr(found)
    assert len(json.loads(json.dumps(found.to_dict()))["sites"]) == 2


def test_a_gate_is_listed_and_data_is_checked():
    net = nn.Sequential(nn.Linear(8, 8), ogive.Act("swiglu"), nn.Linear(4, 4), nn.Tanh())
    found = survey(net, torch.randn(20, 8))
    assert [r.label for r in found][-1] == "tanh"
    with pytest.raises(InputError, match="data=int"):
        survey(net, 3)
