"""Certificates: what a formula, or somebody's code, was held against, and where it fails and why."""

from __future__ import annotations

from ogive.certify.certificate import Certificate, Finding
from ogive.certify.run import check

__all__ = ["Certificate", "Finding", "check"]
