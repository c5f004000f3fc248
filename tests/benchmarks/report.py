"""The page with the table, from what was measured."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("lensrec", "ducc0", "numpy", "lenspyx", "pytempura", "camb")


def machine() -> dict[str, object]:
    """The processor, how much of it there is, and the versions that ran on it."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    load = os.getloadavg()[0]
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(load, 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.now(UTC).date().isoformat(),
    }


def page(size: str, where: dict, rows: dict[str, dict]) -> str:
    """Markdown: the machine, then one table."""
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
    head = [
        "# Benchmarks",
        "",
        f"Written by `make bench` (size {size}), {where['date']}: {where['cpu']}, {where['cores']} cores, "
        f"{where['system']}, Python {where['python']}; {versions}. Load before the run: {where['load_before']:g}.",
        "",
        "The sides of a row run in turns, each in a process of its own, with all cores, after one call that is not",
        "counted. *Ratio* is the median time of a side over that of the row's first, with the lowest and the highest",
        "of single rounds in brackets: seconds drift with the machine, ratios hardly do. *Memory* is the most that the",
        "process held, with its inputs and imports. *Transforms* counts those between alm and rings, of any spin.",
        "*Error* is the rms difference from the same at ε = 1e-12 (lensed maps), else from the row's first side, over",
        "the rms, for the worst of the compared fields. φ̂ is compared as κ̂ for 10 ≤ L ≤ L_max/2, above which products",
        "on the HEALPix grid alias, by some 10 % of φ̂ at L_max; lensed spectra up to three quarters of lmax.",
        "",
        "| what | side | median, s | ratio | memory, MiB | transforms | error |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*head, *(line for row in rows.values() for line in table_lines(row))]) + "\n"


def table_lines(row: dict) -> list[str]:
    """One line for every side of a comparison."""
    lines = []
    first = next(iter(row["sides"].values()))
    for label, side in row["sides"].items():
        single = [a / b for a, b in zip(side["seconds"], first["seconds"], strict=True)]
        ratio = (
            "1" if side is first else f"{side['median'] / first['median']:.2f} ({min(single):.2f}–{max(single):.2f})"
        )
        transforms = sum(side["counts"].values())
        cells = [
            row["title"] if side is first else "",
            label,
            f"{side['median']:.3g}",
            ratio,
            f"{side['peak_mib']:.0f}" if side["peak_mib"] else "",
            str(transforms) if transforms else "",
            f"{side['error']:.1e}" if "error" in side else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"
