"""The targets and the one function that writes for them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ogive.derive.emit.request import Request, settle
from ogive.errors import InputError, UnknownName, closest

if TYPE_CHECKING:
    from ogive.derive.emit.fixed import Fixed


@dataclass(frozen=True)
class Target:
    """One language: what it is, the module and function that write it, the arithmetic it can be asked for (the
    first is the default) and the usual ending of a file's name."""

    title: str
    module: str
    writer: str
    dtypes: tuple[str, ...]
    suffix: str

    def to_dict(self) -> dict[str, Any]:
        """Title, arithmetic and file ending as plain data."""
        return {"title": self.title, "dtypes": list(self.dtypes), "suffix": self.suffix}

    def write(self, request: Request) -> str:
        """The text of ``request``."""
        written: str = getattr(importlib.import_module(f"ogive.derive.emit.{self.module}"), self.writer)(request)
        return written


_BOTH = ("float64", "float32")
TARGETS: Mapping[str, Target] = MappingProxyType({
    "latex": Target("LaTeX", "for_latex", "write", (), ".tex"),
    "numpy": Target("NumPy", "for_python", "numpy", _BOTH, ".py"),
    "pytorch": Target("PyTorch", "for_pytorch", "pytorch", _BOTH, ".py"),
    "jax": Target("JAX", "for_python", "jax", ("float32", "float64"), ".py"),
    "c": Target("C99", "for_c", "write", _BOTH, ".c"),
    "c-fixed": Target("C99, fixed point", "fixed_text", "write", ("float64",), ".c"),
    "triton": Target("Triton", "for_triton", "write", ("float32", "float64"), ".py"),
    "onnx": Target("ONNX", "for_onnx", "write", _BOTH, ".onnxtxt"),
    "matlab": Target("MATLAB", "for_matlab", "write", ("float64",), ".m"),
    "julia": Target("Julia", "for_julia", "write", ("float64",), ".jl"),
    "glsl": Target("GLSL", "for_glsl", "write", ("float32",), ".glsl"),
})  # fmt: skip


def emit(
    spec: Any, target: str, *, derivative: int = 0, name: str | None = None, dtype: str | None = None,
    numbers: bool = False, fixed: Fixed | None = None, **params: float,
) -> str:  # fmt: skip
    """The text of f, or of a derivative of f, in another language.

    Args:
        spec: a name, a formula, an activation.
        target: one of :data:`TARGETS`.
        derivative: the order, 0 to 4, by the first input. A declared surrogate is the first derivative, and the text
            says so.
        name: what the function is called; by default what the entry is called.
        dtype: the arithmetic inside, "float64" or "float32"; each target has a default. In float32 the canonical
            form within range is written, in float64 the stable form; results are rounded once.
        numbers: parameters are written in as numbers instead of being arguments with defaults.
        fixed: word, interval and table of "c-fixed".
        params: numbers for parameters, in place of their defaults.

    Helper functions that the language lacks are part of the text, each once. Raises
    :class:`~ogive.errors.UnknownName` for an unknown target, naming the closest,
    :class:`~ogive.errors.InputError` for a name, dtype or option the target cannot take, and the errors of
    :func:`ogive.get`.

    >>> print(emit("softsign", "glsl").splitlines()[-3])
    float softsign(float x) {
    """
    found = TARGETS.get(target) if isinstance(target, str) else None
    if found is None:
        near = closest(str(target), TARGETS, 2)
        raise UnknownName(
            f"there is no target {target!r}; did you mean {' or '.join(repr(n) for n in near)}? "
            f"The targets are {', '.join(TARGETS)}"
        )
    if dtype is not None and dtype not in found.dtypes:
        takes = " or ".join(map(repr, found.dtypes)) or "no dtype: nothing is computed"
        raise InputError(f"emit to {target}: dtype={dtype!r}; it takes {takes}")
    if fixed is not None and target != "c-fixed":
        raise InputError(f"emit to {target}: fixed={fixed!r} belongs to the target 'c-fixed'")
    single = (dtype or (found.dtypes or ("float64",))[0]) == "float32"
    request = settle(spec, derivative, name, single, numbers, params)
    if target == "c-fixed":
        from ogive.derive.emit.fixed import Fixed
        from ogive.derive.emit.fixed_text import write

        return write(request, fixed or Fixed())
    return found.write(request)
