"""The penalty against products by hand; modulated gradients in a plain network of 44 layers."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.orthonormal import filters, modulated, orthonormality


def grams(rows):
    return float((rows @ rows.T - torch.eye(len(rows)).to(rows)).square().sum())


def test_the_penalty_is_half_the_squared_distance_from_the_identity():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 40)).double()
    tall = net[4].weight.detach()
    by_hand = grams(net[0].weight.detach().flatten(1)) + grams(tall.T)
    assert orthonormality(net, 0.2).item() == pytest.approx(0.1 * by_hand, rel=1e-12)
    assert orthonormality(net, skip=["4"]).item() == pytest.approx(0.5 * grams(net[0].weight.detach().flatten(1)))


def test_groups_and_transposed_convolutions():
    grouped = nn.Conv1d(6, 4, 2, groups=2).double()
    parts = grouped.weight.detach().reshape(2, 2, 6)
    assert orthonormality(grouped, 2.0).item() == pytest.approx(sum(map(grams, parts)), rel=1e-12)
    turned = nn.ConvTranspose2d(4, 6, 2, groups=2)
    rows = filters(turned)
    assert rows.shape == (2, 3, 8)
    # output channel 1 of the second group is what inputs 2 and 3 reach through weight[2:, 1]
    assert torch.equal(rows[1, 1], turned.weight[2:, 1].flatten())


def test_zero_exactly_where_filters_are_orthonormal_and_descent_gets_there():
    torch.manual_seed(0)
    layer = nn.Linear(20, 12).double()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    first = orthonormality(layer).item()
    for _ in range(200):
        optimiser.zero_grad()
        orthonormality(layer).backward()
        optimiser.step()
    assert first > 1.0 and orthonormality(layer).item() < 1e-12
    assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(12).double(), atol=1e-6)
    nn.init.orthogonal_(layer.weight)
    assert orthonormality(layer).item() < 1e-20


def plain(channels=8):
    """44 layers: 43 times convolution, batch normalisation, relu, and a linear one."""
    torch.manual_seed(1)
    layers = []
    for k in range(43):
        layers += [
            nn.Conv2d(channels if k else 1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    for m in net:
        if isinstance(m, nn.Conv2d):
            nn.init.orthogonal_(m.weight)
    return net


X = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(2))
Y = torch.arange(32) % 10


def gradients(net, **options):
    """Norms of the gradients at the outputs of all 44 layers, by hooks of the test's own, from the first layer up."""
    values = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, y: (y.retain_grad(), values.append(y))[0])
        for m in net if isinstance(m, (nn.Conv2d, nn.Linear))
    ]  # fmt: skip
    if options:
        with modulated(net, **options) as done:
            nn.functional.cross_entropy(net(X), Y).backward()
    else:
        nn.functional.cross_entropy(net(X), Y).backward()
        done = None
    for hook in hooks:
        hook.remove()
    return [float(v.grad.norm()) for v in values], done


def test_gradients_of_44_plain_layers_stay_within_a_factor_two():
    """Batch normalisation and relu make them grow towards the input, by pi/(pi - 1) squared a layer (Yang et al. 2019)."""
    net = plain()
    free, _ = gradients(net)
    weights = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    assert free[0] > 100.0 * free[42]
    even, done = gradients(net, limit=1.0)
    assert len(done.factor) == 44 and done.reference == pytest.approx(free[43], rel=1e-4)
    brought = [done.arrived[k] * done.factor[k] / done.reference for k in done.factor]
    assert brought == pytest.approx([1.0] * 44, rel=1e-6)
    assert max(even) < 1.001 * min(even)
    for p, before in zip(net.parameters(), weights):
        if p.dim() > 1:  # each layer's step in the old direction
            assert nn.functional.cosine_similarity(p.grad.flatten(), before.flatten(), dim=0) > 0.999
    net.zero_grad()
    _, loose = gradients(net, limit=2.0)
    assert all(0.499 < loose.arrived[k] * loose.factor[k] / loose.reference < 2.001 for k in loose.factor)
    assert sum(f == 1.0 for f in loose.factor.values()) > 1


def test_it_ends_with_the_block_and_leaves_forward_and_the_model_alone():
    net, before = plain(4), None
    net.eval()
    before = net(X)
    with modulated(net, skip=["0", "*9"]) as done:
        assert torch.equal(net(X), before) and repr(done) == "Modulation(no backward run yet)"
        net(X).sum().backward()
        first = dict(done.factor)
        net(X).sum().backward()
    assert first == pytest.approx(done.factor) and "0" not in done.factor and "9" not in done.factor
    assert json.loads(json.dumps(done.to_dict()))["reference"] == done.reference
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    with pytest.raises(RuntimeError, match="stop"), modulated(net):
        raise RuntimeError("stop")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    with modulated(net), torch.no_grad():
        assert torch.equal(net(X), before)


def test_bad_input_is_named():
    with pytest.raises(ParameterError, match="strength=-1"):
        orthonormality(nn.Linear(2, 2), -1)
    with pytest.raises(InputError, match="ReLU has no linear layer"):
        orthonormality(nn.ReLU())
    with pytest.raises(ParameterError, match="a list of names"):
        orthonormality(nn.Linear(2, 2), skip="0")
    with pytest.raises(ParameterError, match=r"limit=0\.5"), modulated(nn.Linear(2, 2), 0.5):
        pass
    with pytest.raises(InputError, match="filters: ReLU"):
        filters(nn.ReLU())
    layer = nn.Linear(2, 2)
    with pytest.raises(OgiveError, match="gradient at the output of the model is not finite"), modulated(layer):
        (layer(torch.ones(1, 2)).sum() * float("inf")).backward()
