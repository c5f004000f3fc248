"""`make validate`: the long statistical suite; resumable, results in runs/validate, pages in docs/.

Or python -m tests.validate [validation] [biases] [split] [fit] [anomaly] [real-sky] [memory]
[reliability].
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lensrec.fit.data_files import VARIABLE
from tests.validate import (
    amplitude_checks,
    amplitudes,
    anomaly_page,
    checks,
    fit_checks,
    masked_checks,
    memory,
    optimal_sky,
    page,
    real_sky,
    reliability,
    shared_phi,
    skies,
    split_skies,
)
from tests.validate.masked import COUNT, Experiment
from tests.validate.store import kept

ROOT = Path(__file__).resolve().parents[2]


def masked_results(store: Path) -> list[checks.Check]:
    """What masked skies, skies that share φ, and splits have to say of the biases."""
    results = []
    experiments = {name: Experiment(name, store) for name in COUNT}
    found = {name: one.collected(one.sky, COUNT[name]) for name, one in experiments.items()}
    results += [masked_checks.unbiased(one, found[name]) for name, one in experiments.items()]
    name, experiment = "planck", experiments["planck"]
    results.append(masked_checks.rdn0(experiment, found[name], kept(store / name, experiment.simulated_rdn0, 0)))
    wrong = experiment.collected(experiment.wrong_noise, 6)
    results.append(masked_checks.wrong_noise(experiment, found[name], wrong))
    halves = kept(store / name, experiment.half_difference, 0)
    flat = experiment.collected(experiment.unlensed_sky, 12)
    results.append(masked_checks.nulls(experiment, found[name], flat, halves))
    results.append(
        shared_phi.first_order_check(_stacked(store / "shared_phi", shared_phi.shared_phi, shared_phi.COUNT))
    )
    results.append(split_skies.split_check(_stacked(store / "splits", split_skies.split_sky, split_skies.COUNT)))
    skies_of = _stacked(store / "optimal", optimal_sky.optimal_sky, optimal_sky.COUNT)
    results.append(optimal_sky.optimal_check(skies_of))
    return results


def _stacked(folder: Path, kind: Callable[[int], dict[str, np.ndarray]], count: int) -> dict[str, np.ndarray]:
    results = [kept(folder, kind, number) for number in range(count)]
    return {name: np.stack([one[name] for one in results]) for name in results[0]}


def full_sky_results(store: Path) -> list[checks.Check]:
    """What full skies say of spectra, responses and curl."""
    phi = skies.collected(skies.phi_sky, store)
    power = skies.collected(skies.power_sky, store)
    gaussian = skies.collected(skies.gaussian_sky, store)
    return [
        checks.lensed_power(power),
        checks.transfer(phi),
        checks.gaussian_null(gaussian),
        checks.curl_null(phi),
        checks.accounted_for(phi),
    ]


def split_results(store: Path) -> list[checks.Check]:
    """What skies with both amplitudes put in, and published data, have to say of the split."""
    regions = {name: amplitudes.Region(name, store) for name in amplitudes.REGIONS}
    put_in, found = amplitude_checks.recovered(regions)
    results = [put_in, amplitude_checks.correlation(found), amplitude_checks.covariances(regions["cut"], ROOT / "docs")]
    results.append(amplitude_checks.forecast())
    if os.environ.get(VARIABLE):
        results.append(amplitude_checks.published_split(ROOT / "docs"))
    else:
        print(f"published data are left out: {VARIABLE} names no folder that has them")
    return results


def fit_results(store: Path) -> list[checks.Check]:
    """What fits of published data and of mocks have to say; none where the data are not on this machine."""
    if os.environ.get(VARIABLE):
        return fit_checks.results(store)
    print(f"fits are left out: {VARIABLE} names no folder that has the published data")
    return []


def main(wanted: list[str]) -> int:
    """Compute what is missing, judge it, write the pages (all, or those named); exit 1 if a check fails."""
    start = time.time()
    store, docs = ROOT / "runs" / "validate", ROOT / "docs"
    pages = {
        "validation": (full_sky_results, page.full_sky_introduction),
        "biases": (masked_results, lambda: page.BIASES),
        "split": (split_results, lambda: page.SPLIT),
        "fit": (fit_results, lambda: page.FIT),
    }
    if unknown := set(wanted) - {*pages, "anomaly", "real-sky", "memory", "reliability"}:
        others = "anomaly, real-sky, memory and reliability"
        print(f"unknown page {', '.join(sorted(unknown))}: there are {', '.join(pages)}, {others}")
        return 2
    failed = 0
    for name, (make, introduction) in pages.items():
        if wanted and name not in wanted:
            continue
        results = make(store)
        if not results:
            continue
        for check in results:
            print(f"{'passed' if check.passed else 'FAILED'}: {check.name}: {check.claim}", flush=True)
        failed += sum(not check.passed for check in results)
        page.write(docs / f"{name}.md", results, introduction())
    if (not wanted and os.environ.get(VARIABLE)) or "anomaly" in wanted:
        anomaly_page.run(store, docs)
    if not wanted or "real-sky" in wanted:
        real_sky.run(store, docs)
    if not wanted or "memory" in wanted:
        failed += memory.run(store, docs)
    if not wanted or "reliability" in wanted:
        failed += reliability.run(store, docs)
    print(f"pages written to docs after {(time.time() - start) / 60:.0f} minutes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
