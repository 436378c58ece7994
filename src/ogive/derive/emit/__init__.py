"""The same function in another language: LaTeX, Python with three libraries, C, Triton, ONNX, MATLAB, Julia, GLSL."""

from __future__ import annotations

from ogive.derive.emit.targets import TARGETS, Target, emit

__all__ = ["TARGETS", "Target", "emit"]
