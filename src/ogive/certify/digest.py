"""What a certificate vouches for: a digest of the formula, and one of the code that computes formulas."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources

from ogive.activation import Activation

LAWS = "1"  # raised when a law is added or tightened: every certificate is then out of date
_NUMERICS = ("ops.py", "stable.py", "rewrite.py", "diff.py", "breaks.py", "expr.py")


def digest(act: Activation) -> str:
    """Sixteen hexadecimal digits that change when the function, its parameters or the laws do."""
    parts = [LAWS, str(act.written), str(act.expr), ",".join(act.inputs), repr(sorted(act.defaults.items())),
             str(act.backward), repr(sorted(act.exceptions))]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def numerics() -> str:
    """Sixteen hexadecimal digits of the source that turns a formula into numbers: tree, rules, kernels."""
    root = resources.files("ogive")
    text = hashlib.sha256()
    for name in _NUMERICS:
        text.update((root / name).read_bytes())
    kernels = root / "kernels"
    for folder in (kernels, kernels / "c"):
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith((".py", ".c", ".h")) and not file.name.startswith("triton"):  # a CPU is certified
                text.update(file.read_bytes())
    return text.hexdigest()[:16]
