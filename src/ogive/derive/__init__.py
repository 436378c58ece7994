"""Derived artefacts: one verb per file, each a function of an activation."""
