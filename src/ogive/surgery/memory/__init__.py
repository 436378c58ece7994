"""Training with less memory: what backward keeps of a model that exists, by site and by norm."""

from ogive.surgery.memory.lighten import lighten

__all__ = ["lighten"]
