"""Slow truths: direct sums that the fast code is measured against."""
