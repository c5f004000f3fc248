"""How skies and reconstructions show themselves in Jupyter."""

from typing import TYPE_CHECKING

from lensrec.sky.healpix_io import nside_of
from lensrec.view.maps import mollweide_figure
from lensrec.view.notebook import html_of
from lensrec.view.wiener import deflection_map, wiener_filtered

if TYPE_CHECKING:
    from lensrec.stages.bandpowers import Bandpowers
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
