"""`ogive speed`: how far each activation is from the machine's own limit, measured here and now.

Every figure is a ratio of times taken in one interleaved run; docs/speed.md says how.
"""
