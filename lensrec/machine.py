"""How much memory this process may still take: of the machine, of its container, of its job."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

VARIABLE = "LENSREC_MEMORY"
"""Environment variable that says what there is, in bytes or as 8GB; it overrules all else."""

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}

_UNLIMITED = 1 << 60
"""Version 1 of control groups writes a number near 2⁶³ where there is no limit."""


class Limit(NamedTuple):
    """What somebody lets this process and those beside it have.

    Attributes
    ----------
    by : str
        Who: "the machine", "its control group", "Slurm", or the variable.
    total, free : int
        Bytes in all, and those that nobody has taken.
    """

    by: str
    total: int
    free: int


def available_memory() -> int:
    """Bytes that this process may still take: the least that any of `memory_limits` leaves.

    Raises
    ------
    ValueError
        If LENSREC_MEMORY is no amount of memory.
    """
    return max(0, min(limit.free for limit in memory_limits()))


def memory_limits(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> list[Limit]:
    """All limits on memory that this process is under; what LENSREC_MEMORY says alone, where it is set.

    Parameters
    ----------
    environment : mapping
    root : Path
        Where proc and sys are.

    Raises
    ------
    ValueError
        If LENSREC_MEMORY is no amount of memory.
    """
    import psutil

    if said := environment.get(VARIABLE, ""):
        amount = parse_bytes(said)
        return [Limit(VARIABLE, amount, amount)]
    machine = psutil.virtual_memory()
    own = psutil.Process().memory_info().rss
    out = [Limit("the machine", int(machine.total), int(machine.available))]
    out += [limit for limit in (_control_group(root), _slurm(environment, own)) if limit]
    return out


def parse_bytes(text: str) -> int:
    """Bytes of "8GB", "7.5 GiB", "500M" or "8000000000".

    Raises
    ------
    ValueError
        For anything else.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([KMGT]?I?)B?\s*", text.upper())
    if not found or found[2] not in _UNITS:
        raise ValueError(f"{VARIABLE} must be an amount of memory such as 8GB, got {text!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def _control_group(root: Path) -> Limit | None:
    """The tightest memory limit of the control groups that this process is in, version 2 or 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = mount / path.strip("/")
        # a container may see its own group as the root, under a path of the host's
        for group in (folder, *folder.parents):
            if group.is_relative_to(mount) and (limit := _group_limit(group, *names)):
                found.append(limit)
    return min(found, key=lambda limit: limit.free, default=None)


def _group_limit(group: Path, most: str, now: str, cached: str) -> Limit | None:
    try:
        words = (group / most).read_text(encoding="utf-8").strip()
        used = int((group / now).read_text(encoding="utf-8"))
        statistics = (group / "memory.stat").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    if not words.isdigit() or int(words) >= _UNLIMITED:
        return None
    # pages of files that are read but not in use are given back when they are needed
    kept = re.search(rf"^{cached} (\d+)$", statistics, re.MULTILINE)
    used -= int(kept[1]) if kept else 0
    return Limit("its control group", int(words), max(0, int(words) - used))


def _slurm(environment: Mapping[str, str], own: int) -> Limit | None:
    """What a Slurm job has on this node, in MB, less what this process holds; 0 stands for all of the node."""
    total = _number(environment, "SLURM_MEM_PER_NODE")
    if not total:
        total = _number(environment, "SLURM_MEM_PER_CPU") * _number(environment, "SLURM_CPUS_ON_NODE")
    total *= 2**20
    return Limit("Slurm", total, max(0, total - own)) if total else None


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0
