"""What this machine has."""


def available_memory() -> int:
    """Bytes that are free."""
    import psutil

    return int(psutil.virtual_memory().available)
