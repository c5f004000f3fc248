"""Spectra of the report: band powers of the CMB and of φ̂, the transfer, and what should vanish."""

import numpy as np

from lensrec.spectra.linear_data import CMB_BLOCKS
from lensrec.spectra.sacc_file import read_sacc
from lensrec.stages.report_about import absent
from lensrec.stages.report_run import Products
from lensrec.view.report_chart import Chart
from lensrec.view.report_html import number, text
from lensrec.view.report_nulls import curl_values, differences, mean_field_chart, null_chart, null_table
from lensrec.view.report_spectra import cmb_chart, phi_chart, transfer_chart


def spectrum_section(found: Products) -> list[str | Chart]:
    """TT, TE, EE, BB of bandpowers.sacc.fits, C_L^φφ of each estimator, and the transfer."""
    return [*_cmb(found), *_phi(found)]


def null_section(found: Products) -> list[str | Chart]:
    """Curl, differences between estimators, and the mean field."""
    if not found.reconstructed:
        return [absent("There are no nulls, since nothing has been reconstructed.")]
    bands, keys = found.phi_table, found.keys
    curl, apart = curl_values(bands, keys), differences(bands, keys)
    groups = {"curl Ω̂": curl} | ({"differences": apart} if apart else {})
    out: list[str | Chart] = [
        "<p>What should vanish, against zero. Bands are taken for independent and Gaussian; a probability near 0 says "
        "that something is left, one near 1 that the errors are too large.</p>",
        null_table(groups),
        null_chart(
            "curl",
            "Curl of the deflection, Ω̂ × Ω̂",
            bands,
            curl,
            shown=1,
            what="Ω̂ × Ω̂",
            caption="Gradients have no curl: its band powers vanish within their errors, which are the unit.",
        ),
    ]
    if apart:
        out.append(
            null_chart(
                "differences",
                "Differences between estimators",
                bands,
                apart,
                shown=len(apart),
                what="difference",
                caption="All estimators see one φ. The error of a difference is √(σ<sub>K</sub>² − σ<sub>best</sub>²), "
                "as Gaussian estimates have it whose noise the best one holds; in units of it.",
            )
        )
    if any(bands[f"mf_{key}"].any() for key in keys):
        out.append(
            mean_field_chart(
                bands,
                keys,
                caption="Power of the mean field, which has been taken off, over the error of the band power. It is "
                "what mask, noise and beam would feign; above 1 the band hangs on how well it is known.",
            )
        )
    else:
        out.append(absent("No mean field was estimated (<code>reconstruction.mean_field_sims: 0</code>)."))
    return out


def _cmb(found: Products) -> list[str | Chart]:
    if not found.has("bandpowers.sacc.fits"):
        return [absent("Band powers of TT, TE and EE have not been measured.", f"lensrec bandpowers {found.folder}")]
    data = read_sacc(found.folder / "bandpowers.sacc.fits")
    if found.theory is None:
        return [absent("theory.ecsv is not there, so band powers have no curve to lie on.")]
    fiducial = {**found.theory.lensed, "PP": found.theory.potential["PP"]}
    expected, sigma = data.expected(fiducial), np.sqrt(np.diag(data.covariance))
    out: list[str | Chart] = []
    words = {
        "TT": "Temperature.",
        "TE": "Temperature with E modes.",
        "EE": "E modes.",
        "BB": "B modes.",
    }
    for key in CMB_BLOCKS:
        rows = data.block == key
        if not rows.any():
            continue
        block = data.covariance[np.ix_(rows, rows)]
        away = (data.mean - expected)[rows]
        chi2 = float(away @ np.linalg.solve(block, away))
        values = {
            "ell": data.centre[rows],
            "low": data.low[rows].astype(np.float64),
            "high": data.high[rows].astype(np.float64),
            "power": data.mean[rows],
            "sigma": sigma[rows],
            "expected": expected[rows],
        }
        said = (
            f"{words[key]} Band powers in µK², freed of mask, beam and noise, on theory.ecsv's curve; below, their "
            f"distance from it in σ. χ² with the bands' covariance: {chi2:.1f} for {int(rows.sum())}."
        )
        curves = {"theory, lensed": found.theory.lensed[key]}
        if key == "BB":
            curves["without lensing"] = found.theory.unlensed[key]
        out.append(cmb_chart(key, values, curves, caption=said))
    return out


def _phi(found: Products) -> list[str | Chart]:
    if not found.reconstructed:
        return [absent("φ has not been reconstructed.", f"lensrec reconstruct {found.folder}")]
    if found.theory is None:
        return [absent("theory.ecsv is not there, so C_L^φφ has no curve to lie on.")]
    bands, keys = found.phi_table, found.keys
    n = len(found.reconstructed)
    whose = "of the map from outside" if found.outside else f"mean of {n} skies" if n > 1 else "of one sky"
    taken = ""
    if found.amplitudes is not None:
        about = found.amplitudes["about"]
        off, left = (text("; ".join(about[name])) or "nothing" for name in ("taken_off", "not_taken_off"))
        taken = f" Taken off: {off}; not: {left}."
    caption = (
        f"Band powers of φ̂ ({whose}), in 10<sup>7</sup> [<i>L</i>(<i>L</i>+1)]² <i>C<sub>L</sub></i>/2π; below, their "
        f"ratio to theory. Dashed <i>N</i><sup>(0)</sup> and dotted <i>N</i><sup>(1)</sup> are the model's, for "
        f"comparison.{taken} Points of several estimators stand side by side within each band."
    )
    name = "fiducial ΛCDM" if found.outside else "theory"
    out: list[str | Chart] = [
        phi_chart(bands, keys, found.theory.potential["PP"], found.n0, found.n1, caption=caption, label=name)
    ]
    if "input" in bands and not all(np.isfinite(bands[f"transfer_{key}"]).all() for key in keys):
        out.append(absent("There is no transfer: the sky was not lensed."))
    elif "input" in bands:
        best = keys[0]
        mean = float(np.average(bands[f"transfer_{best}"], weights=bands[f"transfer_sigma_{best}"] ** -2.0))
        caption = (
            "The cross-spectrum of φ̂ with the φ that lensed the sky over the spectrum of that φ: it has no noise "
            f"bias, and is 1 where the normalisation is right. Of {text(best)}, the mean over bands is {number(mean)}. "
            "Grey: ±1 %."
        )
        out.append(transfer_chart(bands, keys, caption=caption))
    elif found.outside:
        out.append(absent("There is no transfer: the φ behind a map from outside is not known."))
    return out
