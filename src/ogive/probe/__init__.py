"""A model under test: what happens to signals and gradients in it, measured and predicted."""

from ogive.probe.guesses import Guesses, guesses
from ogive.probe.signal import Signal, signal

__all__ = ["Guesses", "Signal", "guesses", "signal"]
