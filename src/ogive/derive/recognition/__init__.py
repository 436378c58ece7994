"""Which entry a function is: the insides of :mod:`ogive.derive.find` and :mod:`ogive.derive.relations`."""
