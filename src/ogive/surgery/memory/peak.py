"""The most memory that a piece of work holds at one time, as the allocator gives and takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def peak_bytes(work: Callable[[], Any], tensors: Iterable[Tensor] = ()) -> float:
    """Bytes above what was there before, at the moment when ``work`` holds most; nan where torch cannot tell, as while
    a profiler of the user's runs.

    On a GPU, when one of ``tensors`` lies there, its allocator's own count. On the CPU every allocation and its end,
    from the records of torch's older profiler: the newer one writes lines to the terminal, a dispatch mode would keep
    compiled kernels from running. Both see what kernels and operations allocate inside.

    >>> peak_bytes(lambda: torch.zeros(1000).add_(1.0).square())
    8000.0
    """
    devices = sorted({t.device.index or 0 for t in tensors if t.is_cuda})
    if devices:
        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)
        before = [torch.cuda.memory_allocated(device) for device in devices]
        work()
        return float(sum(torch.cuda.max_memory_allocated(d) - b for d, b in zip(devices, before)))
    try:
        from torch.autograd import (
            ProfilerConfig,
            ProfilerState,
            _disable_profiler_legacy,
            _enable_profiler_legacy,
            _profiler_enabled,
        )
        from torch.autograd.profiler import _ExperimentalConfig

        busy = _profiler_enabled()
    except ImportError:
        busy = True
    if busy:
        work()
        return float("nan")
    memory = (False, True, False, False, False)  # shapes, memory, stacks, operations, modules
    _enable_profiler_legacy(ProfilerConfig(ProfilerState.CPU, *memory, _ExperimentalConfig()))
    try:
        work()
    finally:
        records = _disable_profiler_legacy()
    first = next(r for thread in records for r in thread if r.name() == "__start_profile")
    changes = [r for thread in records for r in thread if r.kind() == "memory_alloc"]
    now = most = 0
    for record in sorted(changes, key=first.cpu_elapsed_us):
        now += record.cpu_memory_usage()
        most = max(most, now)
    return float(most)
