"""Filters: the inverse-variance weights that maps get before they are multiplied."""
