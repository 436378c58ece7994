"""Curves, axes and characters: the insides of :mod:`ogive.derive.plot` and :mod:`ogive.derive.describe`."""
