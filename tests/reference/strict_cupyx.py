"""What stands in for cupyx beside `strict_namespace`."""

from tests.reference.strict_namespace import empty_pinned

__all__ = ["empty_pinned"]
