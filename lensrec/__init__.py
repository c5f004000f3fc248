"""lensrec: the lensing potential out of CMB maps."""

__version__ = "0.1.0"
