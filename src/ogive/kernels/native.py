"""The compiled runtime and the kernels generated for it: loading them, and what memory they may read."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from ogive.kernels import build
from ogive.kernels.emit import NAMES, Layout, kernel_text, printable
from ogive.kernels.program import Program

PARALLEL = 65_536  # elements from which the threads of torch share the work
_PLAIN = (Tensor, torch.nn.Parameter)

_P, _I, _L, _D = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_double


class Runtime:
    """The functions of runtime.c."""

    def __init__(self) -> None:
        self.library = build.library((build.SOURCES / "runtime.c").read_text(), "runtime", openmp=_openmp())
        self.unary = self.library.og_unary
        self.unary.restype, self.unary.argtypes = _D, [_P, _P, _P, _P, _P, _P, _I, _I, _L, _I]
        self.launch = self.library.og_launch
        self.launch.restype = _D
        self.launch.argtypes = [_P, _P, _I, _P, _P, _P, _I, _P, _P, _I, _P, _L, _I]
        self.channels = self.library.og_channels
        self.channels.restype = None
        self.channels.argtypes = [_P, _I, _P, _P, _P, _I, _I, _P, _P, _I, _P, _L, _L, _L, _I]
        self.gate = self.library.og_gate
        self.gate.restype, self.gate.argtypes = _L, [_P, _P, _I, _P, _P, _P, _P, _P, _P, _L, _L, _I]

    def __getitem__(self, name: str) -> int:
        return int(ctypes.cast(getattr(self.library, name), _P).value or 0)


def _openmp() -> bool:
    return torch.backends.openmp.is_available()


@lru_cache(maxsize=1)
def _load() -> Runtime | None:
    try:
        return Runtime()
    except build.NoCompiler as problem:
        build.tell_once(str(problem))
        return None


enabled = True
_runtime: Runtime | None = None


def runtime() -> Runtime | None:
    """The loaded runtime, or None without a compiler (said once) or when switched off."""
    global _runtime
    if _runtime is None and enabled:
        _runtime = _load()
    return _runtime if enabled else None


def enable(on: bool) -> bool:
    """Switch compiled kernels on or off for this process; returns what was set before."""
    global enabled
    before, enabled = enabled, on
    return before


@lru_cache(maxsize=4096)
def generated(programs: tuple[Program, ...], layout: Layout) -> int | None:
    """The address of the compiled kernel, or None when there is none: no C for a primitive, or (said once) no
    compiler."""
    if not all(map(printable, programs)):
        return None
    try:
        library = build.library(kernel_text(programs, layout))
    except build.NoCompiler as problem:
        build.tell_once(str(problem))
        return None
    _kept.append(library)
    return int(ctypes.cast(library.og_run, _P).value or 0)


_kept: list[ctypes.CDLL] = []  # a library that is collected would be unmapped


def plain(t: Tensor) -> bool:
    """Whether a kernel may read the memory of ``t``."""
    return (
        type(t) in _PLAIN
        and t.is_cpu
        and t.dtype in NAMES
        and t.layout is torch.strided
        and not t.is_neg()
        and not torch._C._functorch.is_functorch_wrapped_tensor(t)
        and not torch._C._functorch.is_legacy_batchedtensor(t)
    )


def dense(t: Tensor) -> bool:
    """Whether the elements of ``t`` fill one stretch of memory in some order of its dimensions."""
    if t.is_contiguous():
        return True
    if t.dim() == 4:
        return t.is_contiguous(memory_format=torch.channels_last)
    return t.dim() == 5 and t.is_contiguous(memory_format=torch.channels_last_3d)
