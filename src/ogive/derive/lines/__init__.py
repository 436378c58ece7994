"""Lines that stay above or below a function on an interval: the insides of :mod:`ogive.derive.bounds` and
:mod:`ogive.derive.image`."""
