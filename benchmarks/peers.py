"""What the README's table against the peers quotes: every elementwise function of each library at default
parameters, float32 on a CPU, the same questions of all.

    python benchmarks/peers.py            (torch-activation is measured when it is installed)

functions    modules that map a float tensor to a tensor of its shape, element by element
distinct     of them, numerically different from each other (float64, 401 points, 1e-6)
NaN          give a NaN in value or gradient somewhere in |x| <= 100
limits       give NaN, or a value on the wrong side, at +inf or -inf although the function has a limit there
bytes        median and worst bytes kept for backward per element
dtype        return another dtype than bfloat16 for a bfloat16 input
gain         have an initialisation gain in the library
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import ogive

Function = Callable[[Tensor], Tensor]


def of_torch() -> dict[str, Function]:
    found = {}
    for name in nn.modules.activation.__all__:
        kind = getattr(nn, name)
        if name not in ("MultiheadAttention", "RReLU"):  # RReLU draws random numbers
            try:
                found[name] = kind().eval()
            except TypeError:
                if name == "Threshold":
                    found[name] = kind(0.1, 0.0)
    found["GELU(tanh)"] = nn.GELU("tanh")
    return found


def of_torch_activation() -> dict[str, Function]:
    import torch_activation

    found = {}
    for name, kind in vars(torch_activation).items():
        if inspect.isclass(kind) and issubclass(kind, nn.Module):
            try:
                found[name] = kind().eval()
            except Exception:  # needs an argument: not counted
                continue
    return found


def of_ogive() -> dict[str, Function]:
    return {n: e for n, e in ogive.catalogue.entries().items() if len(e.inputs) == 1}


def elementwise(f: Function) -> bool:
    """Same shape, deterministic, and every output depends on its own input only."""
    x = torch.linspace(-2, 2, 24)
    other = x.clone()
    other[::5] += 1.3
    try:
        y, z = f(x), f(other)
        same = torch.tensor([i % 5 != 0 for i in range(24)])
        return y.shape == x.shape and torch.equal(f(x), y) and torch.equal(y[same], z[same])
    except Exception:
        return False


def saved_bytes(f: Function) -> float:
    x = torch.randn(4096, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        f(x)
    return sum(kept.values()) / 4096


def nan_inside(f: Function) -> bool:
    x = torch.cat([torch.linspace(-100, 100, 4001), torch.tensor([0.0, -0.0, 1e-30])]).requires_grad_()
    y = f(x)
    if y.isnan().any():
        return True
    if not y.requires_grad:
        return False
    (g,) = torch.autograd.grad(y.sum(), x, allow_unused=True)
    return g is not None and bool(g.isnan().any())


def limit_wrong(f: Function) -> bool:
    """At +-inf against the same function at large finite numbers in float64, where those have settled."""
    wide = copy.deepcopy(f).double() if isinstance(f, nn.Module) else f
    for sign in (1.0, -1.0):
        # no integers: sin(pi x) looks settled on those
        far = wide(sign * torch.tensor([1e5 + 0.3, 1e7 + 0.15, 1e9 + 0.45], dtype=torch.float64)).double()
        at = f(torch.tensor([sign * torch.inf])).double()[0]
        if not torch.isfinite(far).all():
            continue
        settled = (far[2] - far[1]).abs() <= 1e-6 and (far[1] - far[0]).abs() <= 1e-4
        ratio = far[1:] / far[:-1]
        grows = ratio[0] > 50 and (ratio[1] / ratio[0] - 1).abs() < 1e-3  # a power law
        if settled and not torch.isclose(at, far[2], atol=1e-3):
            return True
        if grows and not (at.isinf() and at.sign() == far[2].sign()):
            return True
    return False


def changes_dtype(f: Function) -> bool:
    try:
        return f(torch.randn(8).bfloat16()).dtype != torch.bfloat16
    except Exception:
        return True


def distinct(functions: dict[str, Function]) -> int:
    x = torch.linspace(-5, 5, 401, dtype=torch.float64) + 0.0037
    seen: list[Tensor] = []
    for f in functions.values():
        y = (f.double() if isinstance(f, nn.Module) else f)(x).detach().double()
        if not any(torch.allclose(y, s, rtol=1e-6, atol=1e-6, equal_nan=True) for s in seen):
            seen.append(y)
        if isinstance(f, nn.Module):
            f.float()
    return len(seen)


def gains(library: str, functions: dict[str, Function]) -> int:
    if library == "ogive":
        return sum(1 for f in functions.values() if _has_gain(f))
    if library == "torch.nn":
        known = ("sigmoid", "tanh", "relu", "leaky_relu", "selu")
        return sum(1 for k in known if nn.init.calculate_gain(k))
    return 0


def _has_gain(f: Function) -> bool:
    try:
        return float(ogive.gain(f)) > 0
    except ogive.OgiveError:
        return False


def safely(check: Callable[[Function], bool], f: Function) -> bool:
    try:
        return check(f)
    except Exception:  # what cannot be asked is not held against it
        return False


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    libraries = {"torch.nn": of_torch, "torch-activation": of_torch_activation, "ogive": of_ogive}
    columns = ("functions", "distinct", "NaN", "limits", "bytes", "dtype", "gain")
    print(f"{'':<18}" + "".join(f"{c:>12}" for c in columns))
    for library, collect in libraries.items():
        try:
            every = collect()
        except ImportError:
            print(f"{library:<18}  not installed")
            continue
        f = {n: g for n, g in every.items() if elementwise(g)}
        kept = sorted(saved_bytes(g) for g in f.values())
        row = (
            len(f), distinct(f), sum(safely(nan_inside, g) for g in f.values()),
            sum(safely(limit_wrong, g) for g in f.values()), f"{kept[len(kept) // 2]:.0f} / {kept[-1]:.0f}",
            sum(changes_dtype(g) for g in f.values()), gains(library, f),
        )  # fmt: skip
        print(f"{library:<18}" + "".join(f"{v:>12}" for v in row))


if __name__ == "__main__":
    main()
