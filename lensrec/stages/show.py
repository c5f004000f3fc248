"""How results show themselves in Jupyter: skies, maps, reconstructions, band powers, splits and fits."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lensrec.fit.sampling import quiet
from lensrec.sky.healpix_io import nside_of
from lensrec.view.contours import LENSING, SMOOTHING
from lensrec.view.look import look_at_map
from lensrec.view.maps import mollweide_figure
from lensrec.view.notebook import Columns, html_of
from lensrec.view.split import amplitudes_figure, corner_figure
from lensrec.view.wiener import deflection_map, wiener_filtered

if TYPE_CHECKING:
    from lensrec.fit.split import Split
    from lensrec.sky.map_header import SkyMap
    from lensrec.stages.bandpowers import Bandpowers
    from lensrec.stages.fit_run import Fit
    from lensrec.stages.reconstruct import Reconstruction
    from lensrec.stages.simulate import Sky


def sky_html(sky: "Sky") -> str:
    """The lensed temperature and the φ that lensed it, with what the sky is."""
    settings = sky.recipe.sky
    temperature = mollweide_figure(
        [sky.lensed[0], deflection_map(sky.phi_alm, settings.nside)],
        ["lensed", r"input $\phi$"],
        unit=[r"$T$ [$\mu$K]", r"$\sqrt{L(L+1)}\,\phi$ [arcmin]"],
    )
    facts = {
        "sky number": sky.sim,
        "maps": "T, Q, U" if len(sky.lensed) == 3 else "T",
        "nside": settings.nside,
        "band limit": settings.lmax,
        "rms T [µK]": float(sky.lensed[0].std()),
        "beam [arcmin]": sky.recipe.instrument.fwhm,
        "noise in T [µK arcmin]": sky.recipe.instrument.noise_t,
    }
    return html_of(temperature, f"lensed sky: {sky.recipe.name}", facts)


def reconstruction_html(rec: "Reconstruction") -> str:
    """Wiener-filtered φ̂ of the best estimator, with what was reconstructed and from what."""
    settings, key = rec.recipe.reconstruction, rec.best
    phi = wiener_filtered(rec.phi[key], rec.setting.cl_phi, rec.n0[key])
    figure = mollweide_figure(
        [deflection_map(phi, rec.recipe.sky.nside if rec.mask is None else nside_of(rec.mask.size))],
        [rf"$\hat\phi$ ({key}, Wiener-filtered)"],
        unit=r"$\sqrt{L(L+1)}\,\phi$ [arcmin]",
        mask=rec.mask,
        columns=1,
    )
    facts = {
        "estimators": ", ".join(rec.keys),
        "T multipoles": f"{settings.lmin_t} to {settings.lmax_t}",
        "P multipoles": f"{settings.lmin_p} to {settings.lmax_p}",
        "L": f"{settings.L_min} to {settings.L_max}",
        "mean field": f"{settings.mean_field_sims} Gaussian skies" if rec.mean_fields else "none taken off",
        "signal to noise of the map at L = 100": float(rec.setting.cl_phi[100] / rec.n0[key][100])
        if settings.L_max >= 100
        else "",
    }
    return html_of(figure, f"reconstruction: {rec.recipe.name}", facts)


def bandpowers_html(found: "Bandpowers") -> str:
    """Band powers on their fiducial curves, with what was measured and how."""
    data, asked = found.data, found.recipe.bandpowers
    counts = {key: int((data.block == key).sum()) for key in dict.fromkeys(data.block.tolist())}
    facts = {
        "band powers": ", ".join(f"{n} {key.replace('PP', 'φφ')}" for key, n in counts.items()),
        "ℓ": f"{asked.lmin} to {int(data.high[data.block != 'PP'].max())}, in bands of {asked.width}",
        "φφ by": asked.estimator,
        "effective fraction of the sky": float(data.metadata["f_sky"]),
    }
    return html_of(found.plot(), f"band powers: {found.recipe.name}", facts)


def map_html(sky: "SkyMap") -> str:
    """A map that was read, in µK, and what its file said of it."""
    maps = np.where(sky.observed, sky.maps, np.nan)
    found = look_at_map(maps, unit="µK", title=_title(sky.description))
    said = {name: sky.description.get(name) for name in ("kind", "ordering", "unit", "coord", "polconv", "beam")}
    facts = {f"file: {name}": _words(value) for name, value in said.items() if value not in (None, "", ())}
    return html_of(found.draw(), found.caption, found.facts | facts, tables=found.tables)


def split_html(found: "Split") -> str:
    """Both amplitudes of a split, with their contours."""
    said = found.summary()
    samples = {name: found.samples.points[:, k] for k, name in enumerate(found.names)} | dict(found.derived)
    shown = [name for name in (SMOOTHING, LENSING) if name in samples]
    weights = {"": found.samples.weights}
    with quiet():
        if len(shown) == 2:
            figure = amplitudes_figure({"68 and 95 %": samples}, weights={"68 and 95 %": found.samples.weights})
        else:
            figure = corner_figure({"": samples}, parameters=shown or list(found.names)[:4], weights=weights)
    facts: dict[str, Any] = {}
    for name, label in ((SMOOTHING, "A_L^TTTEEE"), (LENSING, "A_L^φφ"), ("delta", "their difference")):
        if said[name] is not None:
            facts[label] = _measured(said[name])
    if said["delta"] is not None:
        facts |= {"correlation": said["correlation"], "difference in σ": said["delta_n_sigma"]}
    facts["χ²"] = f"{said['chi2']:.1f} for {said['ndof']} degrees of freedom, PTE {said['chi2_pte']:.3f}"
    facts["held"] = ", ".join(said["fixed"]) or "nothing"
    if said["warnings"]:
        facts["warnings"] = "; ".join(said["warnings"])
    return html_of(figure, "split: both lensing amplitudes", facts, tables=[_parameters(said["parameters"])], dpi=80)


def fit_html(found: "Fit") -> str:
    """A fit's parameters with their limits, and its posterior."""
    about = found.about
    drawn = found.figures()
    figure = drawn["mnu"] if "mnu" in drawn else drawn["corner"]
    facts = {
        "data": ", ".join(Path(name).name for name in about["data"]),
        "model": about["model"],
        "Σmν": about["neutrinos"],
        "spectra by": about["theory"],
        "χ²": f"{about['chi2']:.1f} for {about['ndof']} degrees of freedom",
        "effective samples": int(about["effective_samples"]),
    }
    if about.get("mnu", {}).get("limit95_physical") is not None:
        facts["with Σmν ≥ 0, at 95 %"] = f"below {about['mnu']['limit95_physical']:.3g} eV"
    return html_of(figure, f"fit: {found.recipe.name}", facts, tables=[_parameters(found.parameters)])


def _parameters(found: Any) -> Columns:
    """Of a summary: {parameter: {"mean", "sigma", …}}."""
    table: dict[str, list[Any]] = {
        "parameter": list(found),
        "mean": [value["mean"] for value in found.values()],
        "σ": [value["sigma"] for value in found.values()],
    }
    if all("best_fit" in value for value in found.values()):
        table["best fit"] = [value["best_fit"] for value in found.values()]
    if all("limit95" in value for value in found.values()):
        table |= {name: [value["limit95"][k] for value in found.values()] for k, name in enumerate(("95 % from", "to"))}
    return table


def _measured(value: Any) -> str:
    return f"{value['mean']:.3f} ± {value['sigma']:.3f}".replace("-", "\u2212")


def _title(description: dict[str, Any]) -> str:
    return str(description.get("extname") or "") if description.get("extname") not in ("xtension",) else "map"


def _words(value: Any) -> str:
    return ", ".join(dict.fromkeys(str(one) for one in value)) if isinstance(value, list | tuple) else str(value)
