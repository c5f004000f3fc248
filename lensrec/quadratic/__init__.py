"""Quadratic estimators of the lensing potential: legs, products, responses and noise."""
