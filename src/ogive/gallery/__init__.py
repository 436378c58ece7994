"""The catalogue as a static site: a page for every entry and family, search, map, comparison."""

from __future__ import annotations

from ogive.gallery.site import Built, build

__all__ = ["Built", "build"]
