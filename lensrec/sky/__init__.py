"""Skies: primary CMB, lensing, instrument, masks, and reading and writing of maps."""
