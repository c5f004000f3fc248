"""Stages: where a recipe meets the numerics."""
