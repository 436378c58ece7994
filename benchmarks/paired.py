"""Means with 95 % t intervals over paired seeds, as the benchmarks print them."""

from __future__ import annotations

import math

import numpy as np

from ogive.statistics.inference import t_interval


def interval(values):
    """The mean and its interval: ``+0.0144 [+0.0065, +0.0223]``."""
    low, high = t_interval(np.array(values)) or (math.nan, math.nan)
    return f"{np.mean(values):+.4f} [{low:+.4f}, {high:+.4f}]"


def compared(found, against):
    """A line for each row of ``found``: its mean, and the paired distance to one of them."""
    for name, values in found.items():
        apart = "" if name == against else f"  minus {against} {interval(np.array(values) - np.array(found[against]))}"
        print(f"  {name:<28} {np.mean(values):.4f}{apart}", flush=True)
