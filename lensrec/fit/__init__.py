"""Fits to band powers."""
