"""Execution: how a formula runs on tensors, what it keeps for backward, on which device."""

from ogive.kernels.eager import Form, apply, evaluate, result_dtype

__all__ = ["Form", "apply", "evaluate", "result_dtype"]
