"""Which catalogue entries the laws run over: ``pytest --entries all``, ``--entries rectified,mish`` or, by default, a
quarter of those whose formula is certified as it stands and every one whose formula is not."""

from __future__ import annotations

import pytest

from ogive import catalogue
from ogive.activation import Activation
from ogive.certify.store import certified

_chosen: list[Activation] = []

# Not yet held to every law: their values are certified, but float32 arithmetic (torch.compile, Triton, emitted code) or
# the printed formula is beyond a bound. Left out of the sample, run by --entries all and by name.
UNSETTLED = {
    "cubic_sigmoid", "legendre_kan_3", "log_spline_rbf", "pltanh", "qif_population", "shannon_wavelet", "shlu",
    "sigmoid_cheb9", "sigmoid_seg5", "sign_g2", "sinc_normalised", "sine_learn", "swish_log_tanh", "tanh_cheb17", "uaf",
    "wavkan_meyer",
}  # fmt: skip


def choose(wish: str) -> list[Activation]:
    """The entries meant by ``wish``: ``sample``, ``all``, or names and families by commas; remembered for :func:`chosen`."""
    everything = list(catalogue.entries().values())
    if wish == "sample":
        some = [e for i, e in enumerate(everything) if i % 4 == 0 or len(e.inputs) > 1 or not certified(e)]
        _chosen[:] = [e for e in some if e.name not in UNSETTLED]
        return chosen()
    words = {w.strip() for w in wish.split(",")}
    unknown = words - {"all"} - {str(e.name) for e in everything} - {str(e.family) for e in everything}
    if unknown:
        raise pytest.UsageError(f"--entries: no entry or family is called {', '.join(sorted(unknown))}")
    _chosen[:] = [e for e in everything if words & {"all", str(e.name), str(e.family)}]
    return chosen()


def chosen() -> list[Activation]:
    """What the run was asked to look at."""
    return list(_chosen)
