"""What the first call of an activation costs: its plan, and what has to be compiled for it.

    python benchmarks/first_call.py [names]

The runtime is loaded beforehand from a cache that holds nothing else. Forward and backward, float32, inputs
that reach into the far tails, so that the kernel for what a fit does not cover is compiled too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

NAMES = ("relu", "silu", "gelu", "gelu_tanh", "mish", "golu", "serf", "tanhexp", "snake", "prelu", "swiglu")


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["OGIVE_CACHE"] = cache
        import torch

        import ogive
        from ogive.kernels import native

        torch.set_num_threads(1)
        start = time.perf_counter()
        assert native.runtime() is not None, "no C compiler"
        print(f"runtime, once per machine: {time.perf_counter() - start:.2f} s")
        print(f"{'':<12} {'forward':>8} {'backward':>9} {'compiled':>9}   ms, first call; kernels compiled")
        for name in sys.argv[1:] or NAMES:
            act = ogive.get(name)
            x = [torch.linspace(-30, 30, 997).requires_grad_() for _ in act.inputs]
            before = len(os.listdir(cache))  # noqa: PTH208
            start = time.perf_counter()
            y = act(*x)
            middle = time.perf_counter()
            y.backward(torch.ones_like(y))
            end = time.perf_counter()
            made = len(os.listdir(cache)) - before  # noqa: PTH208
            print(f"{name:<12} {1e3 * (middle - start):>8.0f} {1e3 * (end - middle):>9.0f} {made:>9}")


if __name__ == "__main__":
    main()
