"""Bit flips: the right bits by hand, binomial numbers, evenly spread, undone; campaigns against a count by hand."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from torch import nn

from ogive.errors import InputError, ParameterError
from ogive.surgery.hardening import flip_bits, resilience
from ogive.surgery.hardening.words import drawn, flipped


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4)).eval()


X = torch.randn(80, 6, generator=torch.Generator().manual_seed(3))


def hand_flipped(x: float, bit: int) -> float:
    (word,) = struct.unpack("<I", struct.pack("<f", x))
    return struct.unpack("<f", struct.pack("<I", word ^ (1 << bit)))[0]


@pytest.mark.parametrize("bit", range(32))
def test_each_bit_of_float32(bit):
    x = torch.tensor([0.75, -1.25, 3.0])
    got = flipped(x, "float32", np.array([32 + bit]))
    want = np.float32(hand_flipped(-1.25, bit))
    np.testing.assert_array_equal(got.numpy(), np.array([0.75, want, 3.0], np.float32))


def test_words_of_16_and_8_bits():
    x = torch.tensor([1.0, -2.0])
    assert flipped(x, "bfloat16", np.array([15, 16 + 7])).tolist() == [-1.0, -4.0]  # a sign, exponents' last bit
    assert flipped(x, "float16", np.array([9, 16 + 15])).tolist() == [1.5, 2.0]  # the mantissa's first bit, a sign
    words = torch.tensor([127.0, -64.0, 3.0]) / 127  # scale 1/127
    got = flipped(words, "int8", np.array([0, 8 + 7, 16 + 6])) * 127
    torch.testing.assert_close(got, torch.tensor([126.0, 64.0, 67.0]))  # -64 = 0b11000000, without its sign bit 64
    assert torch.equal(flipped(x, "float32", np.array([5, 5 + 32])), flipped(flipped(x, "float32", np.array([5])),
                                                                            "float32", np.array([37])))  # fmt: skip


def test_the_number_of_flips_is_binomial_and_the_bits_are_even():
    rng = np.random.default_rng(0)
    total, rate, runs = 1000, 0.02, 4000
    bits = [drawn(total, rate, rng) for _ in range(runs)]
    assert all(np.array_equal(b, np.unique(b)) for b in bits)
    counts = np.array([b.size for b in bits])
    mean, variance = total * rate, total * rate * (1 - rate)
    assert abs(counts.mean() - mean) < 5 * (variance / runs) ** 0.5
    assert abs(counts.var() / variance - 1) < 5 * (2 / runs) ** 0.5
    hits = np.bincount(np.concatenate(bits), minlength=total)
    expected = hits.sum() / total
    chi = float(((hits - expected) ** 2 / expected).sum())
    assert abs(chi - (total - 1)) < 5 * (2 * total) ** 0.5
    assert drawn(total, 1.0, rng).tolist() == list(range(total))
    assert drawn(total, 0.0, rng).size == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
def test_undo_gives_back_every_bit(dtype):
    model = net()
    before = [p.detach().clone() for p in model.parameters()]
    pointers = [p.data_ptr() for p in model.parameters()]
    with flip_bits(model, 0.05, dtype=dtype, seed=4) as faults:
        assert faults.bits == sum(p.numel() for p in before) * {"float32": 32, "int8": 8}.get(dtype, 16)
        assert 0 < faults.flips < faults.bits
        assert not torch.equal(model[0].weight, before[0])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before))
    assert pointers == [p.data_ptr() for p in model.parameters()]


def test_flips_are_those_of_the_seed_and_counted_in_the_words():
    one, two, three = net(), net(), net()
    a = flip_bits(one, 0.01, seed=7)
    flip_bits(two, 0.01, seed=7)
    flip_bits(three, 0.01, seed=8)
    same = [torch.equal(p.view(torch.int32), q.view(torch.int32)) for p, q in zip(one.parameters(), two.parameters())]
    assert all(same)
    differ = 0
    for p, q in zip(one.parameters(), net().parameters()):
        words = (p.detach().view(torch.int32) ^ q.detach().view(torch.int32)).flatten().numpy().view(np.uint8)
        differ += int(np.unpackbits(words).sum())
    assert differ == a.flips
    assert not torch.equal(one[0].weight, three[0].weight)


def test_shared_weights_are_hit_once_and_transposed_ones_too():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert flip_bits(model, 0.5).bits == 16 * 32
    x = torch.randn(3, 5).t()
    before = x.clone()
    with flip_bits(x, 0.1, seed=1) as faults:
        assert faults.flips > 0
        assert not torch.equal(x, before)
    assert torch.equal(x, before)


def test_activations_are_hit_anew_in_every_run_and_not_after():
    model = net()
    clean = model(X)
    with flip_bits(model, 1e-3, what="activations", seed=2) as faults:
        first, second = model(X), model(X)
        assert faults.bits == 2 * 80 * (32 + 4) * 32
    with flip_bits(model, 1e-3, what="activations", seed=2):
        again = model(X)
    assert not torch.equal(first, clean)
    assert not torch.equal(first, second)
    assert torch.equal(first.view(torch.int32), again.view(torch.int32))
    assert torch.equal(model(X), clean)


def test_a_campaign_is_what_its_seeds_give():
    model = net()
    labels = model(X).argmax(1)
    labels[:8] = (labels[:8] + 1) % 4
    found = resilience(model, [X[:50], X[50:]], labels, rates="1e-4,1e-2", repeats=4, seed=5)
    assert found.clean == 0.9
    for i, rate in enumerate((1e-4, 1e-2)):
        for j in range(4):
            with flip_bits(model, rate, seed=5 + j):
                rows = model(X)
            right = (rows.argmax(1) == labels) & ~rows.isnan().any(1)
            assert found.accuracies[i][j] == pytest.approx(float(right.float().mean()))
    means = [np.mean(a) for a in found.accuracies]
    assert found.auc == pytest.approx(np.mean(means))
    low, high = found.interval(1)
    assert low <= means[1] <= high
    assert json.loads(json.dumps(found.to_dict()))["means"] == pytest.approx(means)
    assert max(map(len, repr(found).splitlines())) <= 80


def test_nan_is_a_wrong_answer():
    model = net()
    with torch.no_grad():
        model[2].bias[1] = float("nan")
    labels = torch.ones(80, dtype=torch.long)
    assert resilience(model, X, labels, rates=[1e-6], repeats=1).clean == 0.0


def test_bad_input():
    with pytest.raises(ParameterError, match="did you mean 'bfloat16'"):
        flip_bits(net(), 0.1, dtype="bfloat")
    with pytest.raises(ParameterError, match=r"rate=1\.5"):
        flip_bits(net(), 1.5)
    with pytest.raises(ParameterError, match=r"rate=-1"):
        flip_bits(net(), -1, what="activations")
    with pytest.raises(ParameterError, match="'gradients'"):
        flip_bits(net(), 0.1, what="gradients")
    with pytest.raises(ParameterError, match="use dtype='bfloat16'"):
        flip_bits(net().bfloat16(), 0.1)
    with pytest.raises(InputError, match="floating value"):
        flip_bits(torch.arange(4), 0.1)
    with pytest.raises(InputError, match="activations are a model's"):
        flip_bits(torch.ones(4), 0.1, what="activations")
    with pytest.raises(ParameterError, match="rising"):
        resilience(net(), X, rates="1e-4,1e-5")
    with pytest.raises(InputError, match="3 values"):
        resilience(net(), X, torch.tensor([1, 2, 3]))
    with pytest.raises(ParameterError, match="repeats=0"):
        resilience(net(), X, repeats=0)
