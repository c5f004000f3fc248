"""Band powers."""
