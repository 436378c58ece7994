"""Fixed codes from papers, by name: what they store of x and what they multiply by."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

import numpy as np

from ogive.expr import const
from ogive.kernels.eager import Form
from ogive.kernels.fewbit import Code, Density, apart, grid, measured, steps_between
from ogive.rewrite import simplify

# A combination of three ReLUs, sum a_i relu(x - c_i): its slope is a step function of four levels. From
# lomem/csrc of github.com/yyyyychen/LowMemoryBP (Yang et al. 2024, "Reducing fine-tuning memory overhead by
# approximate and memory-sharing backpropagation"). The constants minimise a distance between the functions, so
# that as a derivative under N(0, 1) they are further off than two levels at best.
APPROX_BP = {
    "gelu": (
        (-3.1858810036855245, -0.001178821281161997, 3.190832613414926),
        (-0.04922261145617846, 1.0979632065417297, -0.048740595085551286),
    ),
    "silu": (
        (-6.3050461001646445, -0.0008684942046214787, 6.325815242089708),
        (-0.04060357190528599, 1.080925428529668, -0.040321856624382146),
    ),
}
# A signed function of the input in place of the derivative: one bit, the slope of relu (Chiang et al. 2023,
# "MobileTL: on-device transfer learning with inverted residual blocks").
MOBILE_TL = ("hardswish", "relu6")


@lru_cache(maxsize=1024)
def _same(form: Form, numbers: tuple[float, ...], name: str) -> bool:
    """Whether ``form`` with its parameters ``numbers`` is the catalogue's function ``name``."""
    from ogive.lookup import get

    values = {k: const(v) for k, v in zip(form.names[1:], numbers)}
    values[form.names[0]] = get("identity").written
    return form.surrogate is None and simplify(form.expr.substitute(values)) == get(name).form.expr


def _measured(form: Form, numbers: tuple[float, ...], borders: tuple[float, ...], levels: tuple[float, ...]) -> Code:
    return Code(borders, levels, measured(form, numbers, Code(borders, levels, 0.0)))


@lru_cache(maxsize=64)
def approx_bp(form: Form, numbers: tuple[float, ...]) -> Code | str:
    """ReGELU2 for gelu and ReSiLU2 for silu: two bits."""
    for name, (borders, weights) in APPROX_BP.items():
        if _same(form, numbers, name):
            return _measured(form, numbers, borders, (0.0, *accumulate(weights)))
    return "approx-bp is published for gelu (ReGELU2) and silu (ReSiLU2); use bits=2 for the best code of any other"


@lru_cache(maxsize=64)
def mobile_tl(form: Form, numbers: tuple[float, ...]) -> Code | str:
    """1 where x > 0, else 0, for hardswish and relu6: one bit."""
    if any(_same(form, numbers, name) for name in MOBILE_TL):
        return _measured(form, numbers, (0.0,), (0.0, 1.0))
    return f"mobiletl is published for {' and '.join(MOBILE_TL)}; use bits=1 for the best code of any other"


@lru_cache(maxsize=256)
def s2a(form: Form, numbers: tuple[float, ...]) -> Code:
    """Sixteen intervals over which f' changes by equal amounts (its variation, cut into sixteen), each with its
    mean: four bits. The paper (Jin et al. 2025, "S2A: a unified framework for parameter and memory efficient
    transfer learning") asks for intervals chosen by the derivative and gives no constants."""

    def make() -> Code:
        cells = grid(form, numbers, Density())
        weight = np.diff(cells.weight)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(weight > 0, np.diff(cells.first) / weight, 0.0)
        seen = weight > 1e-12
        change = np.abs(np.diff(value, prepend=value[0])) * (seen & np.roll(seen, 1))
        running = np.cumsum(change)
        at = np.searchsorted(running, running[-1] * np.arange(1, 16) / 16)
        return steps_between(cells, sorted({int(b) for b in at if 0 < b < len(weight)}))

    return apart(make)


PUBLISHED: dict[str, Callable[[Form, tuple[float, ...]], Code | str]] = {
    "approx-bp": approx_bp,
    "mobiletl": mobile_tl,
    "s2a": s2a,
}
