"""Integrals under normal densities: the insides of :mod:`ogive.derive.moments` and :mod:`ogive.derive.dual`."""
