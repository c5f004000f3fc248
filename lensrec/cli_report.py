"""The command that tells a whole run on one page."""
