"""What the allocator costs: fresh large results in new processes, with its settings and without.

The setting cannot be undone in a process, so each way runs in a process of its own:
``python -m ogive.speed.allocator WAY SECONDS`` prints one way as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ogive.errors import OgiveError
from ogive.kernels.allocator import ENVIRONMENT, glibc, large_outputs

WAYS = {
    "default": "as it is",
    "large_outputs": "ogive.kernels.allocator.large_outputs()",
    "threshold": "large_outputs(upto=2**30)",
    "environment": " ".join(f"{k}={v}" for k, v in ENVIRONMENT.items()),
}
SIZES = (1_000_000, 20_000_000)
TIMED = ("copy_", "relu out=", "relu fresh", "silu fresh")
_TIMEOUT = 300.0


@dataclass(frozen=True)
class Fresh:
    """Times in seconds of one way, by size and what was timed, and the process's peak memory in bytes."""

    way: str
    setting: str
    seconds: dict[str, dict[str, float]]
    trouble: dict[str, dict[str, str]]
    peak: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def time_fresh(way: str, seconds: float, sizes: tuple[int, ...] = SIZES) -> Fresh:
    """Time float32 relu and silu with fresh results in this process, after setting it ``way``."""
    import resource

    import torch

    from ogive.speed.measure import interleaved, on_cpu

    if way == "large_outputs":
        large_outputs()
    elif way == "threshold":
        large_outputs(upto=2**30)
    torch.set_num_threads(1)
    times: dict[str, dict[str, float]] = {}
    trouble: dict[str, dict[str, str]] = {}
    for size in sizes:
        x = torch.randn(size)
        out = torch.empty_like(x)
        runs = (
            partial(out.copy_, x),
            partial(torch.clamp_min, x, 0.0, out=out),
            partial(torch.relu, x),
            partial(torch.nn.functional.silu, x),
        )
        found = interleaved(dict(zip(TIMED, runs)), on_cpu, seconds)
        times[str(size)] = {name: t.seconds for name, t in found.items()}
        trouble[str(size)] = {name: t.trouble for name, t in found.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Fresh(way, WAYS[way], times, trouble, peak)


def compare(seconds: float = 1.0, watch: Callable[[str], None] = lambda way: None) -> list[Fresh]:
    """Every way in a process of its own, one after the other; an interrupt keeps those that are done.

    Raises :class:`~ogive.kernels.allocator.AllocatorError` where the allocator cannot be set.
    """
    glibc()
    found: list[Fresh] = []
    for way in WAYS:
        watch(way)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        environment.update(ENVIRONMENT if way == "environment" else {})
        line = [sys.executable, "-m", "ogive.speed.allocator", way, repr(seconds)]
        try:
            done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=_TIMEOUT + seconds)
        except KeyboardInterrupt:
            break
        except subprocess.TimeoutExpired:
            raise OgiveError(f"timing the allocator ({WAYS[way]}) took more than {_TIMEOUT + seconds:g} s") from None
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            raise OgiveError(f"timing the allocator ({WAYS[way]}) failed: {said}")
        found.append(Fresh(**json.loads(done.stdout)))
    return found


if __name__ == "__main__":
    print(json.dumps(time_fresh(sys.argv[1], float(sys.argv[2])).to_dict()))
