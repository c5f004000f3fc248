"""What is asked of fits: known answers, the surface against CAMB, injected amplitudes, and forecasts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lensrec.fit.emulator_file import shipped_emulator
from lensrec.fit.neutrino_bounds import FLOOR_NORMAL, tension, upper_limit
from tests.validate import fits
from tests.validate.checks import Check
from tests.validate.store import kept

PUBLISHED: Mapping[str, Mapping[str, tuple[float, float, str]]] = {
    "DESI + BBN": {
        "omega_m": (0.2977, 0.0086, "arXiv:2503.14738"),
        "H0": (68.51, 0.58, "arXiv:2503.14738"),
    },
    "DESI + compressed CMB, w0wa": {
        "omega_m": (0.353, 0.022, "arXiv:2503.14738"),
        "w": (-0.43, 0.22, "arXiv:2503.14738"),
        "wa": (-1.72, 0.64, "arXiv:2503.14738"),
    },
    "DESI + CMB": {
        "omega_m": (0.3027, 0.0036, "arXiv:2503.14738, CMB of PR4 with ACT lensing"),
        "H0": (68.17, 0.28, "arXiv:2503.14738, CMB of PR4 with ACT lensing"),
    },
    "DESI + CMB, w0wa": {
        "w": (-0.42, 0.21, "arXiv:2503.14738, CMB of PR4 with ACT lensing"),
        "wa": (-1.75, 0.58, "arXiv:2503.14738, CMB of PR4 with ACT lensing"),
    },
}
"""Mean, σ and source. The first two have the same data as here; the others another CMB."""

SAME_DATA = ("DESI + BBN", "DESI + compressed CMB, w0wa")
LIMITS = {"DESI + CMB, Σmν ≥ 0": 0.064, "DESI + CMB, Σmν ≥ 0, w0wa": 0.16}
SIGNED = (-0.101, 0.052, "arXiv:2503.14744: −0.101 +0.047 −0.056 eV")


def results(store: Path) -> list[Check]:
    """All of them; each posterior and each exact χ² is kept as soon as it is there."""
    folder = store / "fit"
    found = {
        name: _posterior(folder, name) for name in fits.RECIPES if name in (*PUBLISHED, *LIMITS, "DESI + CMB, Σmν")
    }
    return [known_answers(found), lcdm_limits(), surface(), exact(folder), injection(folder), forecast(folder)]


def _posterior(folder: Path, name: str) -> dict[str, np.ndarray]:
    def posterior(number: int) -> dict[str, np.ndarray]:
        return fits.posterior(list(fits.RECIPES)[number])

    return kept(folder, posterior, list(fits.RECIPES).index(name))


def known_answers(found: Mapping[str, dict[str, np.ndarray]]) -> Check:
    """Published parameters, limits and the signed Σmν."""
    rows, passed, curves = [], True, {}
    for name, values in PUBLISHED.items():
        weights = found[name]["weights"]
        offsets = []
        for parameter, (mean, sigma, source) in values.items():
            samples = fits.column(name, found[name], parameter)
            here = float(weights @ samples)
            width = float(np.sqrt(weights @ (samples - here) ** 2))
            away = (here - mean) / sigma
            offsets.append(away)
            rows.append(
                [name, parameter, f"{here:.4f} ± {width:.4f}", f"{mean:g} ± {sigma:g}", f"{away:+.2f}σ", source]
            )
            if name in SAME_DATA:
                passed &= abs(away) < 0.2 and 0.8 < width / sigma < 1.2
            else:
                passed &= abs(away) < 1.0 and 0.75 < width / sigma < 1.33
        curves[name] = np.stack([np.arange(len(offsets)), offsets, np.zeros(len(offsets))])
    for name, limit in LIMITS.items():
        here = upper_limit(fits.column(name, found[name], "mnu"), found[name]["weights"])
        rows.append([name, "95 % limit on Σmν", f"{here:.3f} eV", f"{limit:g} eV", "", "arXiv:2503.14744"])
        passed &= bool(0.7 < here / limit < 1.4)
    signed = "DESI + CMB, Σmν"
    samples, weights = fits.column(signed, found[signed], "mnu"), found[signed]["weights"]
    mean = float(weights @ samples)
    width = float(np.sqrt(weights @ (samples - mean) ** 2))
    below = tension(samples, FLOOR_NORMAL, weights)
    away = (mean - SIGNED[0]) / SIGNED[1]
    rows.append(
        [signed, "Σmν [eV]", f"{mean:+.3f} ± {width:.3f}", f"{SIGNED[0]:g} ± {SIGNED[1]:g}", f"{away:+.2f}σ", SIGNED[2]]
    )
    passed &= abs(away) < 0.5 and 0.75 < width / SIGNED[1] < 1.33
    text = (
        "Posteriors by importance sampling, beside published ones. Where the data are the same, means are within "
        "0.2 of "
        "the published error, and errors within 20 %. Otherwise the CMB differs: here plik_lite of Planck 2018 "
        "with two bins of low-ℓ TT, a prior on τ and Planck PR4 lensing; there CamSpec of Planck PR4, low-ℓ "
        "likelihoods "
        "of 2018, and lensing of PR4 with ACT DR6; means are asked to be within one published error, half of it "
        "for the "
        "signed Σmν, and errors within a third. "
        f"The signed Σmν lies {below.gaussian:.1f}σ (by the tail of the posterior {below.n_sigma:.1f}σ) below "
        f"{FLOOR_NORMAL} eV; published: 3σ."
    )
    head = ["fit", "parameter", "lensrec", "published", "apart", "source"]
    claim = "Ω_m, H0, w0, wa and Σmν come out as published"
    return Check("Known answers", claim, bool(passed), text, [head, *rows], curves, "parameter", "apart [published σ]")


def lcdm_limits() -> Check:
    """Extended models at the point where they are ΛCDM."""
    from lensrec.fit.signed_distances import signed_distances

    base = fits.setting("DESI + CMB").joint
    best = base.best_fit()
    plain = {**base.full(best.x), "mnu": 0.06}
    chi2 = sum(float(np.sum(part.residual(plain) ** 2)) for part in base.parts)
    rows, worst, curves = [], 0.0, {}
    reference = signed_distances(plain, "physical")
    for number, (name, more) in enumerate(
        {
            "DESI + CMB, w0wa": {"w": -1.0, "wa": 0.0},
            "ΛsCDM": {"z_dagger": 1e4},
            "DESI + CMB, Σmν": {},
        }.items()
    ):
        joint = fits.setting(name).joint
        there = {**plain, **more}
        value = sum(float(np.sum(part.residual(there) ** 2)) for part in joint.parts)
        distances = signed_distances(there, "physical")
        off = [
            float(np.max(np.abs(np.asarray(a) / np.asarray(b) - 1)))
            for a, b in ((distances.transverse, reference.transverse), (distances.hubble, reference.hubble))
        ]
        # the Lyα distance of ΛsCDM is a mean over redshifts, for which D_H(2.33) stands where nothing jumps
        if name == "ΛsCDM":
            off[1] = float(np.max(np.abs(distances.hubble[:-1] / reference.hubble[:-1] - 1)))
        spectra = fits.setting(name).spectra
        assert spectra is not None
        mine, theirs = spectra.band_powers(there), fits.setting("DESI + CMB").spectra.band_powers(plain)
        bands = float(np.max(np.abs(mine / theirs - 1)))
        rows.append([name, f"{off[0]:.1e}", f"{off[1]:.1e}", f"{bands:.1e}", f"{value - chi2:+.1e}"])
        worst = max(worst, *off, bands)
        curves[name] = np.array([[float(number)], [bands], [0.0]])
    text = (
        f"At the best fit of ΛCDM with Σmν = 0.06 eV, χ² = {chi2:.2f}. w0wa at (−1, 0), ΛsCDM with z† = 10⁴, and "
        "Σmν of "
        "either sign at 0.06 eV. Relative differences in D_M, in D_H (of ΛsCDM without the Lyα bin, where a mean over "
        "its redshifts stands for D_H(2.33) and moves χ²), and in band powers of TT, TE, EE and φφ."
    )
    head = ["model", "D_M", "D_H", "band powers", "Δχ²"]
    claim = "every extended model at its ΛCDM point gives ΛCDM's distances and band powers to 1e-6"
    return Check("Extended models", claim, worst < 1e-6, text, [head, *rows], curves, "model", "band powers, relative")


def surface() -> Check:
    """What the trained surface says of its own error, on points it has not seen."""
    rows, curves, passed, fewest = [], {}, True, np.inf
    found = shipped_emulator().errors
    for name, errors in found.items():
        if name.endswith("_centre"):
            continue
        largest, rms, count = np.asarray(errors)
        rows.append([name, str(len(largest)), f"{largest.max():.3f}", f"{np.median(largest):.4f}", f"{rms.max():.3f}"])
        centre = np.max(np.abs(found[f"{name}_centre"])) if f"{name}_centre" in found else np.nan
        rows[-1] += [str(int((largest > 0.1).sum())), f"{centre:.3f}"]
        passed &= bool(largest.max() < 0.1)
        fewest = min(fewest, count.min())
        curves[name] = np.stack([np.arange(len(largest)), largest, 0 * largest])
    text = (
        f"Errors at {fewest:.0f} cosmologies that the surface was not trained on, spread over the whole box of "
        "Σmν up to "
        "0.9 eV, w0 and wa: the full pipeline, with CAMB's spectra lensed without any expansion as truth, in standard "
        "deviations of published band powers. They are kept in the surface's file."
    )
    head = [
        "data",
        "bins",
        "largest error [σ]",
        "median over bins",
        "largest rms [σ]",
        "bins beyond 0.1σ",
        "at the centre [σ]",
    ]
    claim = "on points not seen, the surface is within 0.1σ of the data in every bin"
    return Check(
        "Trained surface", claim, passed and fewest >= 200, text, [head, *rows], curves, "bin", "largest error"
    )


def exact(folder: Path) -> Check:
    """Shift of the default posterior when CAMB takes the surface's place."""
    found = [kept(folder, fits.exact_chi2, k) for k in range(fits.EXACT)]
    x = np.stack([one["x"] for one in found])
    log_weight = np.array([float(one["surface"] - one["exact"]) for one in found]) / 2
    w = np.exp(log_weight - log_weight.max())
    w /= w.sum()
    effective = 1 / np.sum(w**2)
    sigma = x.std(0, ddof=1)
    shift = (w @ x - x.mean(0)) / sigma
    # of a mean under weights that differ: Σ (w − 1/n)² of unit variance
    error = np.sqrt(np.sum((w - 1 / len(w)) ** 2))
    names = fits.setting("DESI + CMB, Σmν").joint.names
    rows = [[name, f"{s:+.3f} ± {error:.3f}"] for name, s in zip(names, shift, strict=True)]
    spread = float(np.std(log_weight) * 2)
    text = (
        f"{fits.EXACT} points of equal weight from the default fit's posterior, weighted again by the χ² that CAMB and "
        f"lensrec's lensing give there. χ² of the surface and exact ones differ by {-2 * log_weight.mean():+.2f} on "
        f"average, and scatter by {spread:.2f} about that; the weights are worth {effective:.0f} points. Shifts of the "
        "means follow, in standard deviations."
    )
    curves = {"shift": np.stack([np.arange(len(names)), shift, np.full(len(names), error)])}
    passed = bool(np.all(np.abs(shift) < 0.1 + 2 * error) and error < 0.05)
    claim = "with CAMB in place of the surface no parameter of the default fit moves by 0.1σ"
    return Check("Exact theory", claim, passed, text, [["parameter", "shift [σ]"], *rows], curves, "parameter", "shift")


def injection(folder: Path) -> Check:
    """Σmν of mocks with more smoothing than lensing."""
    found = [kept(folder, fits.injected, k) for k in range(fits.MOCKS)]
    stacked = {key: np.stack([one[key] for one in found]) for key in found[0]}
    rows, means = [], {}
    for name, label in (("tied", "one A_L = 1"), ("free", "A_L^TTTEEE free")):
        values, sigma = stacked[name][:, 0], stacked[name][:, 1].mean()
        mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
        means[name] = (mean, error, sigma)
        tau = stacked[f"tau_{name}"]
        rows.append([label, f"{mean:+.4f} ± {error:.4f}", f"{sigma:.4f}", f"{(mean - 0.06) / sigma:+.2f}σ"])
        rows[-1] += [f"{tau.mean():.4f} ± {tau.std(ddof=1) / np.sqrt(len(tau)):.4f}"]
    pull = (means["free"][0] - 0.06) / means["free"][2]
    paired = stacked["tied"][:, 0] - stacked["free"][:, 0]
    bias, bias_error = paired.mean(), paired.std(ddof=1) / np.sqrt(len(paired))
    smooth = stacked["smoothing"]
    negative = bias + 2 * bias_error < 0
    text = (
        f"{fits.MOCKS} mocks of plik_lite, Planck PR4 lensing and DESI DR2, with noise of their covariances, "
        "about ΛCDM "
        "with Σmν = 0.06 eV and A_L^TTTEEE = 1.18, A_L^φφ = 1. Fitted with one A_L = 1, the excess smoothing can "
        "only be "
        "made by more C_L^φφ, and so by less neutrino mass, more matter or a larger A_s; φφ and BAO hold the "
        "latter two "
        f"back. Σmν comes out {bias:+.4f} ± {bias_error:.4f} eV from where the fit that knows A_L^TTTEEE puts it, "
        "in the "
        f"same mocks. With A_L^TTTEEE free it is {pull:+.2f}σ from the truth on average, and A_L^TTTEEE is "
        f"{smooth[:, 0].mean():.3f} ± {smooth[:, 0].std(ddof=1) / np.sqrt(len(smooth)):.3f} (σ of one: "
        f"{smooth[:, 1].mean():.3f})."
    )
    curves = {
        name: np.stack([np.arange(fits.MOCKS), stacked[name][:, 0] - 0.06, stacked[name][:, 1]])
        for name in ("tied", "free")
    }
    head = ["fit", "Σmν, mean of mocks [eV]", "σ of one", "from the truth", "τ"]
    claim = "smoothing of 1.18 biases Σmν to the negative in a fit with one A_L, and freeing A_L^TTTEEE undoes it"
    passed = bool(negative and abs(pull) < 0.5)
    return Check("Injected smoothing", claim, passed, text, [head, *rows], curves, "mock", "Σmν − 0.06 eV")


def forecast(folder: Path) -> Check:
    """σ(Σmν) of the Simons Observatory with DESI, beside the published figures."""
    published = {
        ("so_baseline", "planck"): 0.040,
        ("so_goal", "planck"): 0.030,
        ("so_baseline", "cosmic_variance"): 0.020,
    }

    def so_forecast(number: int) -> dict[str, np.ndarray]:
        from lensrec.stages.forecast import ForecastSettings, forecasts

        found = forecasts(
            ForecastSettings(
                experiments=("so_baseline", "so_goal"),
                delensed=(False,),
                models=("mnu",),
                tau_priors=("planck", "cosmic_variance"),
                bao=("full",),
                so_noise=so_noise_folder(),
                neutrinos=("one", "degenerate")[number],
            )
        )
        return {f"{c.experiment},{c.tau_prior}": np.array(f.sigma("mnu")) for c, f in found.forecasts.items()}

    one, three = (kept(folder, so_forecast, number) for number in range(2))
    rows, passed, curves, ratios = [], True, {}, []
    for (name, prior), value in published.items():
        here = float(one[f"{name},{prior}"])
        ratios.append(here / value)
        rows.append([name, prior, f"{1e3 * here:.1f}", f"{1e3 * float(three[f'{name},{prior}']):.1f}"])
        rows[-1] += [f"{1e3 * value:.0f}", f"{here / value:.2f}"]
    ratio_of_noise = float(one["so_baseline,planck"] / one["so_goal,planck"])
    passed = all(0.85 < ratio < 1.15 for ratio in ratios[1:]) and 0.75 < ratios[0] < 1.15
    curves["ratio"] = np.stack([np.arange(len(ratios)), ratios, np.zeros(len(ratios))])
    text = (
        "σ(Σmν) in meV: TT, TE, EE and φφ of the Simons Observatory with the published noise after component "
        "separation, "
        "Planck on the rest of the sky, DESI as foreseen for the full survey, τ known to 0.01 or to cosmic variance "
        "(0.002). Published forecasts (arXiv:1808.07445) have one massive state; three of equal mass are the other "
        "column. The goal and cosmic variance are asked to be within 15 %. The published baseline lies a third "
        "above the "
        f"published goal, where the published noise curves themselves make {100 * (ratio_of_noise - 1):.0f} %: a "
        "margin "
        "of the collaboration's seems to be in it, which lensrec has not."
    )
    head = ["survey", "prior on τ", "one massive", "three equal", "published", "ratio"]
    claim = "forecasts for the Simons Observatory are those published, within 15 % or for a reason"
    return Check("Forecasts", claim, passed, text, [head, *rows], curves, "row", "σ / published", 1.0)


def so_noise_folder() -> Path:
    """Where the published noise curves lie."""
    import os

    from lensrec.fit.data_files import VARIABLE

    return Path(os.environ[VARIABLE]) / "so_noise"
