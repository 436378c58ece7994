"""The machine a run is on: its name, its threads, the most arithmetic it does."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ogive import __version__
from ogive.speed.measure import sampler_for
from ogive.speed.results import Machine


def machine(device: torch.device, count: int) -> Machine:
    """What is known of ``device``, run with ``count`` threads; measures the peak (milliseconds)."""
    return Machine(device.type, device_name(device), count, capability(device), torch.__version__, __version__,
                   peak(device))  # fmt: skip


@contextmanager
def threads(wish: int) -> Iterator[int]:
    """Run with ``wish`` threads (0: every processor this process may use), and set torch back afterwards."""
    before = torch.get_num_threads()
    count = wish or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """The processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def capability(device: torch.device) -> str:
    """The instruction set torch uses, or the compute capability."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"sm_{major}{minor}"
    return torch.backends.cpu.get_cpu_capability()


def peak(device: torch.device, n: int = 768) -> float:
    """Multiplications and additions a second of a float32 matrix product: the best of some."""
    a = torch.rand(n, n, device=device)
    out = torch.empty_like(a)
    sampler = sampler_for(device)
    return 2.0 * n**3 / min(sampler(lambda: torch.mm(a, a, out=out), 1).seconds for _ in range(8))
