"""Proofs of the signs of f' and f'': the insides of :mod:`ogive.derive.pieces` and :mod:`ogive.derive.shape`."""
