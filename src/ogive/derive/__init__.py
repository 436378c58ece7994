"""Derived artefacts: one verb per file, each a function of an activation; folders hold what the verbs are made of."""
