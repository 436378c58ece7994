"""Equations in one unknown, to the last bit: the insides of :mod:`ogive.derive.inverse`, and root finders."""
