"""Biases of a reconstruction: the mean field and what simulations say of N0."""
