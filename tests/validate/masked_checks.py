"""What is asked of the masked skies: unbiased band powers, honest errors, nulls."""

import numpy as np
from scipy.stats import binom, kstest
from scipy.stats import chi2 as chi2_law

from lensrec.spectra.bandpowers import bin_spectrum
from lensrec.stages.phi_bandpowers import bands_of
from tests.validate.checks import Check
from tests.validate.masked import FIRST, LAST, RDN0_SIMS, RDN0_SKIES, Experiment, tilt

KEYS = ("MV", "GMV")


def unbiased(experiment: Experiment, skies: dict[str, np.ndarray]) -> Check:
    """Mean band powers over the truth, their scatter over the analytic errors, and PTEs of single skies."""
    truth = true_powers(experiment)
    used = _used(skies)
    rec = experiment.reconstruct(experiment.prepared.filtering(experiment.data(0)))
    bands, shared = bands_of(rec), rec.biases
    rows, curves, passed = [], {}, True
    lines = []
    for key in KEYS:
        ratio = skies[f"auto_{key}"][:, used] / truth[used]
        sigma = skies[f"sigma_{key}"][0, used] / truth[used]
        mean, spread = ratio.mean(0), ratio.std(0, ddof=1)
        error = spread / np.sqrt(len(ratio))
        weight = 1.0 / sigma**2
        amplitude = ratio @ weight / weight.sum()
        a, a_error = amplitude.mean(), amplitude.std(ddof=1) / np.sqrt(len(ratio))
        # What all skies share: the response's Monte-Carlo error, and that of N0.
        simulated = experiment.prepared.simulated_response
        response = 2.0 * simulated.sigma(key, bands)[used]
        bias = bin_spectrum(shared.n0_sigma[key][0], bands)[used] / truth[used]
        by_pair = 2.0 * simulated.leaving_one_out(key, bands)[:, used] @ weight / weight.sum()
        a_shared = np.hypot(np.sqrt((simulated.count - 1) * by_pair.var()), np.sqrt(weight**2 @ bias**2) / weight.sum())
        total = np.sqrt(error**2 + response**2 + bias**2)
        outside = int((np.abs(mean - 1) > np.maximum(0.01, 2 * total)).sum())
        chance = binom.sf(outside - 1, used.sum(), 0.05)
        scatter = np.sqrt(np.mean(spread**2 / sigma**2))
        scatter_error = scatter / np.sqrt(2.0 * (len(ratio) - 1) * used.sum())
        correlation = np.corrcoef(ratio.T)
        beside = float(np.diagonal(correlation, 1).mean())
        apart = float(np.mean([np.diagonal(correlation, n).mean() for n in range(2, used.sum())]))
        inverse = np.linalg.inv(_modelled(correlation, beside) * np.outer(sigma, sigma))
        chi2 = np.einsum("ni,ij,nj->n", ratio - 1, inverse, ratio - 1)
        pte = chi2_law.sf(chi2, used.sum())
        ks = kstest(pte, "uniform").pvalue
        good = abs(a - 1) < max(0.01, 2 * a_error) and chance > 0.01 and abs(scatter - 1) < 0.1 + 2 * scatter_error
        passed &= bool(good and ks > 1e-3)
        lines.append(
            f"{key}: amplitude {a:.4f} ± {a_error:.4f} (scatter of the skies) ± {a_shared:.4f} (response and N0, which "
            f"all skies share) of the truth; {outside} of {used.sum()} bands off by more than "
            "two errors of the mean and 1 %, where one in twenty is to be expected (so many or more by chance: "
            f"{chance:.2f}); "
            f"scatter {scatter:.3f} ± {scatter_error:.3f} of the analytic error; correlation of neighbouring bands "
            f"{beside:+.2f}, of others {apart:+.3f}; KS of the PTEs of {len(ratio)} skies p = {ks:.2f}."
        )
        rows += [
            [key, "mean / truth"] + [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, total, strict=True)],
            ["", "of which by scatter, response, N0"]
            + [f"{e:.3f}, {r:.3f}, {b:.3f}" for e, r, b in zip(error, response, bias, strict=True)],
            ["", "scatter / analytic"] + [f"{s:.2f}" for s in spread / sigma],
            ["", "N0 / truth"] + [f"{n:.1f}" for n in skies[f"n0_{key}"].mean(0)[used] / truth[used]],
            ["", "N1 / truth"] + [f"{n:.3f}" for n in skies[f"n1_{key}"].mean(0)[used] / truth[used]],
            ["", "response"] + [f"{r:.3f}" for r in skies[f"response_{key}"][0, used]],
        ]
        curves[f"mean_{key}"] = np.stack([skies["L"][0, used], mean, total])
        curves[f"fiducial_{key}"] = np.stack(
            [skies["L"][0, used], skies["fiducial"][0, used] / truth[used], np.zeros(used.sum())]
        )
    name = experiment.name
    recipe = experiment.recipe
    text = (
        f"{len(skies['L'])} skies of the `{name}` recipe at nside 512: {recipe.instrument.noise_t:g} µK·arcmin in T, a "
        f"{recipe.instrument.fwhm:g}′ beam, {recipe.reconstruction.lmin_t} ≤ ℓ ≤ {recipe.reconstruction.lmax_t}, noise "
        f"that follows hits about the {recipe.instrument.hits} poles, f_sky "
        f"{float(np.mean(experiment.prepared.mask > 0)):.2f} apodised. Their C_L^φφ is 1.1 times the fiducial one at "
        f"L = 40 and 0.9 times at L = 900. Taken off: the mean field of two halves of "
        f"{recipe.reconstruction.mean_field_sims} Gaussian skies, "
        "semi-analytic RDN0 about their N0, N1 of the C_L^φφ that is fitted to each sky's own band powers; divided by "
        f"the response found with {recipe.reconstruction.response_sims} pairs of skies lensed by ±φ.\n\n"
        + "\n\n".join(lines)
    )
    return Check(
        f"Band powers, {name}",
        "debiased MV and GMV band powers average to the truth within 1 % or two errors of the mean, scatter as the "
        "analytic errors say within 10 %, and have uniform PTEs",
        passed,
        text,
        [["estimator", "quantity", *_titles(skies, used)], *rows],
        curves,
        quantity="mean band power / truth; fiducial / truth",
        expected=1.0,
    )


def rdn0(experiment: Experiment, skies: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> Check:
    """Monte-Carlo RDN0 of some skies beside the semi-analytic one."""
    used, truth = _used(skies), true_powers(experiment)
    bands = bands_of(experiment.reconstruct(experiment.prepared.filtering(experiment.data(0))))
    rows, curves, passed, lines = [], {}, True, []
    for key in (key for key in KEYS if key in found):
        simulated = np.stack([bin_spectrum(one[0], bands) for one in found[key]])[:, used]
        analytic, sigma = skies[f"n0_{key}"][:RDN0_SKIES, used], skies[f"sigma_{key}"][0, used]
        raw = skies[f"auto_{key}"][:RDN0_SKIES, used]
        with_it = raw - (simulated - analytic) / skies[f"response_{key}"][0, used] ** 2
        difference = (with_it - raw) / sigma
        follows = np.corrcoef((simulated - simulated.mean(0)).ravel(), (analytic - analytic.mean(0)).ravel())[0, 1]
        average = with_it.mean(0) / truth[used]
        error = with_it.std(0, ddof=1) / np.sqrt(len(with_it)) / truth[used]
        weight = (truth[used] / sigma) ** 2
        shift = difference @ np.sqrt(weight) / np.sqrt(weight.sum())
        passed &= bool(np.abs(difference.mean(0)).max() < 1.0 and follows > 0.5)
        lines.append(
            f"{key}: the two differ by {difference.std():.2f} of the error of one sky's band power, and from sky to "
            f"sky they move together with a correlation of {follows:.2f}; the amplitude of a sky moves by "
            f"{shift.mean():+.2f} ± {shift.std(ddof=1):.2f} of its error."
        )
        rows += [
            [key, "difference / σ"]
            + [f"{m:+.2f} ± {s:.2f}" for m, s in zip(difference.mean(0), difference.std(0), strict=True)],
            ["", "mean / truth with Monte-Carlo RDN0"]
            + [f"{m:.2f} ± {e:.2f}" for m, e in zip(average, error, strict=True)],
        ]
        curves[f"difference_{key}"] = np.stack([skies["L"][0, used], difference.mean(0), difference.std(0)])
    return Check(
        f"RDN0, {experiment.name}",
        "RDN0 from pairs of data and simulations, and the semi-analytic one, agree within the error of a band power",
        passed,
        f"GMV of the first {RDN0_SKIES} skies with RDN0 from {RDN0_SIMS} Gaussian skies, whose own noise is in it.\n\n"
        + "\n\n".join(lines),
        [["estimator", "quantity", *_titles(skies, used)], *rows],
        curves,
        quantity="difference of band powers / σ",
    )


def wrong_noise(experiment: Experiment, skies: dict[str, np.ndarray], wrong: dict[str, np.ndarray]) -> Check:
    """The same skies with 2 % more noise than the recipe and its simulations have."""
    used, count = _used(skies), len(wrong["none_L"])
    truth = true_powers(experiment)[used]
    rows, curves, passed, lines = [], {}, True, []
    for key in KEYS:
        right = skies[f"auto_{key}"][:count, used]
        sigma = skies[f"sigma_{key}"][0, used]
        weight = (truth / sigma) ** 2
        moved = {kind: (wrong[f"{kind}_auto_{key}"][:, used] - right) / truth for kind in ("none", "analytic")}
        # The model's N0 also lacks what the data's own power changes: its shift is that of the noise alone, on average.
        shift = {kind: values @ weight / weight.sum() * np.sqrt(weight.sum()) for kind, values in moved.items()}
        n0 = wrong[f"none_n0_{key}"][0, used] / truth
        left = {kind: (values.mean(0) / n0) for kind, values in moved.items()}
        before, after = abs(left["none"]).mean(), abs(left["analytic"]).mean()
        passed &= bool(after < 0.15 * before)
        lines.append(
            f"{key}: amplitude off by {shift['none'].mean():+.2f}σ with the model's N0 and by "
            f"{shift['analytic'].mean():+.3f} ± {shift['analytic'].std(ddof=1) / np.sqrt(count):.3f}σ with RDN0; band "
            f"by band the shift is {100 * before:.2f} % of N0 before and {100 * after:.3f} % after."
        )
        for kind, label in (("none", "N0 of the model"), ("analytic", "RDN0")):
            rows.append([key, label] + [f"{100 * v:+.3f}" for v in left[kind]])
            curves[f"{kind}_{key}"] = np.stack(
                [skies["L"][0, used], left[kind], moved[kind].std(0, ddof=1) / np.sqrt(count) / n0]
            )
    return Check(
        f"Wrong noise, {experiment.name}",
        "with 2 % more noise in the data than in the model, RDN0 takes off all but the second order",
        passed,
        f"{count} of the skies once more, with noise 2 % higher and all else the same; in per cent of N0, the change "
        "of the band powers. To first order N0 grows by 4 % of the part that is noise.\n\n" + "\n\n".join(lines),
        [["estimator", "N0 taken off, change in % of N0", *_titles(skies, used)], *rows],
        curves,
        quantity="change of band powers / N0",
    )


def nulls(
    experiment: Experiment, skies: dict[str, np.ndarray], flat: dict[str, np.ndarray], halves: dict[str, np.ndarray]
) -> Check:
    """Curl of the lensed skies, φ of skies that have none, and of half the difference of two halves of the data."""
    used = _used(skies)
    rows, curves, passed, worst = [], {}, True, 1.0
    sets = {
        "curl of lensed skies": lambda key: (skies[f"curl_{key}"], skies[f"curl_sigma_{key}"][0]),
        "A_φ = 0": lambda key: (flat[f"auto_{key}"], flat[f"sigma_{key}"][0]),
        "curl, A_φ = 0": lambda key: (flat[f"curl_{key}"], flat[f"curl_sigma_{key}"][0]),
        "half difference": lambda key: (halves[key], np.std(halves[key], axis=0, ddof=1)),
    }
    for name, make in sets.items():
        for key in KEYS:
            values, sigma = (part[..., used] for part in make(key))
            count = len(values)
            mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(count)
            if name == "half difference":
                error *= np.sqrt(2.0)  # what is taken off comes from as many skies
            t = mean / error
            n = used.sum()
            # Hotelling's T² without correlations would need F; bands are nearly independent, so χ² of t, rescaled.
            factor = (count - 3) / (count - 1)
            pte = float(chi2_law.sf(np.sum(t**2) * factor, n))
            single = np.array(
                [chi2_law.sf(np.sum((row / (np.sqrt(count) * error)) ** 2) * factor, n) for row in values]
            )
            worst = min(worst, pte)
            rows.append([name, key, str(count), f"{np.abs(t).max():.2f}", f"{pte:.3f}", f"{np.median(single):.2f}"])
            curves[f"{name}_{key}"] = np.stack([skies["L"][0, used], mean / sigma, error / sigma])
    limit = 1e-3 / len(rows)
    passed = worst > limit
    return Check(
        f"Null tests, {experiment.name}",
        "curl, skies without lensing and differences of halves are consistent with zero",
        passed,
        f"Means over skies in bands of {FIRST} ≤ L ≤ {LAST}, errors from their scatter. The smallest PTE is "
        f"{worst:.4f}; {limit:.1e} would be one false alarm in 1000 for all {len(rows)}. From the curl of lensed skies "
        "its N1 is taken off.",
        [["null", "estimator", "skies", "largest t", "PTE of the mean", "median PTE of single skies"], *rows],
        curves,
        quantity="mean / σ of one sky",
    )


def true_powers(experiment: Experiment) -> np.ndarray:
    """Band powers of the true C^φφ."""
    setting = experiment.prepared.setting
    n0 = setting.n0["MV"][0]
    from lensrec.spectra.bandpowers import make_bands

    bands = make_bands(experiment.recipe.reconstruction.bin_edges, np.where(n0 > 0, (setting.cl_phi + n0) ** 2, 0.0))
    return bin_spectrum(setting.cl_phi * tilt(len(setting.cl_phi) - 1), bands)


def _modelled(correlation: np.ndarray, beside: float) -> np.ndarray:
    """Correlations of neighbours alone, one number for all: the rest is below what 100 skies can tell."""
    n = len(correlation)
    return np.eye(n) + beside * (np.eye(n, k=1) + np.eye(n, k=-1))


def _used(skies: dict[str, np.ndarray]) -> np.ndarray:
    return (skies["L_low"][0] >= FIRST) & (skies["L_high"][0] <= LAST)


def _titles(skies: dict[str, np.ndarray], used: np.ndarray) -> list[str]:
    edges = zip(skies["L_low"][0, used], skies["L_high"][0, used], strict=True)
    return [f"{a:.0f}–{b:.0f}" for a, b in edges]
