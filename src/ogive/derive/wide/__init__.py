"""Layers of wide random networks: the insides of the kernel limits, of tailoring and of the width corrections."""
