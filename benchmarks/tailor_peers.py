"""Tailoring against dks: the same parameters, in what time.

Run in an environment that has ``dks`` (pip install dks) and Ogive: ``python benchmarks/tailor_peers.py``. A call
of dks takes seconds; all of it ten minutes or so. The difference is relative to 1 or the parameter if that is more;
times are those of the processor. dks integrates over kinks of f and f' without
break points: for relu, selu and (TAT) elu that is where the parameters differ. Of asinh it finds another solution.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import torch
from dks.base import activation_transform

from ogive.derive.tailor import tailoring
from ogive.errors import OgiveError

DEPTH = 50
# dks's name, ours
NAMES = {
    "tanh": "tanh", "sigmoid": "sigmoid", "erf": "erf", "relu": "relu", "softplus": "softplus", "selu": "selu",
    "elu": "elu", "swish": "silu", "bentid": "bent_identity", "atan": "arctan", "asinh": "arcsinh", "square": "square",
    "softsign": "softsign", "leaky_relu": "leaky_relu", "gelu": "gelu_tanh", "gelu_exact": "gelu", "sin": "sin(x)",
    "cos": "cos(x)",
}  # fmt: skip


def chain(x: float, r: Any) -> float:
    for _ in range(DEPTH):
        x = r(x)
    return x


# dks stops at 1e-8 of what the network is to have; ours is given what it found for one layer, so that both solve
# the same equations.
STEEP = float(activation_transform._compute_local_c_slope_1_target(lambda x: x**DEPTH, 1.5))
CURVED = float(activation_transform._compute_local_c_curv_target(lambda x: x * DEPTH, 0.3))


def theirs(name: str, method: str) -> dict[str, float]:
    found = activation_transform._get_activations_params(
        (name,), method=method.upper(), max_slope_func=lambda x: x**DEPTH, max_curv_func=lambda x: x * DEPTH,
        subnet_max_func=chain,
    )  # fmt: skip
    return {
        "input_scale": 1.0,
        "input_shift": 0.0,
        "output_shift": 0.0,
        **{k: float(v) for k, v in found[name].items()},
    }


def mirrored(name: str, p: dict[str, float], like: dict[str, float]) -> dict[str, float]:
    """The same function turned about the middle of an odd f, where that is how the other one wrote it."""
    if name not in ("tanh", "sigmoid", "erf", "atan", "asinh", "softsign"):
        return p
    if p["input_shift"] * like["input_shift"] > 0.0:
        return p
    twice = 1.0 if name == "sigmoid" else 0.0
    turned = {"input_scale": abs(p["input_scale"]), "input_shift": -p["input_shift"]}
    return {**p, **turned, "output_shift": -p["output_shift"] - twice}


def ours(name: str, method: str) -> dict[str, float]:
    free = {"slope": None} if (name, method) == ("relu", "dks") else {}
    if name == "leaky_relu" and method == "tat":
        got = tailoring(NAMES[name], method, depth=DEPTH)
    else:
        got = tailoring(NAMES[name], method, depth=1, zeta=STEEP, tau=CURVED, **free)
    row = {"input_scale": got.alpha, "input_shift": got.beta, "output_scale": got.gamma, "output_shift": got.delta}
    if name == "leaky_relu":
        # Its slope is written into the formula under DKS; the function tells.
        x = torch.tensor([-1e9, 1e9], dtype=torch.float64)
        row["negative_slope"] = float(-got.activation(x)[0] / got.activation(x)[1])
    return row


def timed(call: Any, *arguments: Any) -> tuple[Any, float]:
    start = time.process_time()
    try:
        got = call(*arguments)
    except (ValueError, OgiveError, AssertionError) as error:
        got = str(error).splitlines()[0][:90] if str(error) else type(error).__name__
    return got, time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':4} {'':11} {'largest difference':>18} {'dks, s':>8} {'ogive, s':>9} {'ratio':>6}")
    ratios = []
    timed(theirs, "tanh", "dks")
    for method in ("dks", "tat"):
        for name in sys.argv[1:] or NAMES:
            timed(ours, name, method)
            a, slow = timed(theirs, name, method)
            b, *_ = timed(ours, name, method)
            fast = statistics.median(timed(ours, name, method)[1] for _ in range(5))
            a = mirrored(name, a, b) if isinstance(a, dict) and isinstance(b, dict) else a
            both = isinstance(a, dict) and isinstance(b, dict)
            apart = f"{max(abs(a[k] - b[k]) / max(1.0, abs(a[k])) for k in b):.1e}" if both else "-"
            print(f"{method:4} {name:11} {apart:>18} {slow:8.2f} {fast:9.3f} {slow / fast:6.0f}", flush=True)
            if both:
                ratios.append(slow / fast)
            if not both or float(apart) > 1e-6:
                for who, p in (("dks", a), ("ogive", b)):
                    print(
                        f"      {who}: {p if isinstance(p, str) else ', '.join(f'{k} {v:.9g}' for k, v in p.items())}"
                    )
    print(f"median ratio of times {statistics.median(ratios):.0f}, from {min(ratios):.0f} to {max(ratios):.0f}")


if __name__ == "__main__":
    main()
