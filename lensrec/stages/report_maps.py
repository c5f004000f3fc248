"""Maps of the report: T, Q and U as they were simulated and observed, the mask, and φ̂ beside φ_in."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.io import read_alm, read_map
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis
from lensrec.stages.report_about import absent
from lensrec.stages.report_run import Products
from lensrec.view.report_chart import Chart
from lensrec.view.report_html import number, text
from lensrec.view.report_sky import Patch, Sky, sky_chart
from lensrec.view.wiener import deflection_map, kappa_map, wiener_factor, wiener_filtered

log = logging.getLogger(__name__)

WIDE_ENOUGH = 70.0
"""Degrees across a survey above which it is shown on the whole sky."""

CLOSE_UP = 16.0
"""Degrees across close-ups."""

MICROKELVIN = "µK"
DEFLECTION = "√(<i>L</i>(<i>L</i>+1)) φ [arcmin]"


def map_section(found: Products) -> list[str | Chart]:
    """T, Q and U of the first sky, or of the map from outside, and the mask."""
    sky, data, unlensed = None, None, None
    if found.outside:
        given = found.provenance.get("inputs", {})
        data, why = _outside(given)
        if data is None:
            return [absent(f"The map {text(given.get('map', ''))} cannot be shown: {text(why)}."), *_mask(found, None)]
    elif found.simulated:
        first = found.run.sim(found.simulated[0], "data.fits")
        data = read_map(first).maps
        sky = read_map(first.with_name("lensed.fits")).maps if first.with_name("lensed.fits").is_file() else None
        if sky is not None and first.with_name("unlensed_alm.fits").is_file():
            primary = np.atleast_2d(read_alm(first.with_name("unlensed_alm.fits")))[0]
            unlensed = synthesis(primary, healpix_grid(found.run.recipe.sky.nside)).reshape(-1)
    else:
        return [absent("There are no skies yet.", f"lensrec simulate RECIPE --out {found.folder}")]
    patch = survey_patch(found.mask)
    out: list[str | Chart] = [*_mask(found, patch)]
    for row, name in enumerate("TQU"[: len(data)]):
        skies = [Sky("data", "observed", data[row], f"{name} [{MICROKELVIN}]")]
        if sky is not None:
            skies.insert(0, Sky("lensed", "lensed", sky[row], f"{name} [{MICROKELVIN}]"))
            if row == 0 and unlensed is not None:
                skies.append(Sky("difference", "lensed − unlensed", sky[0] - unlensed, f"Δ{name} [{MICROKELVIN}]"))
        out.append(_cmb_chart(found, name, skies, patch))
    return [_said(found, sky is not None), *_ordered(out)]


def phi_section(found: Products) -> list[str | Chart]:
    """φ̂ of the best estimator beside φ_in through the same Wiener filter, and κ̂."""
    if not found.reconstructed:
        return [absent("φ has not been reconstructed.", f"lensrec reconstruct {found.folder}")]
    name = found.reconstructed[0]
    file = f"recon/{name}/phi_{found.keys[0]}_alm.fits"
    if found.theory is None or not found.has(file) or found.keys[0] not in found.n0:
        return [absent(f"{text(file)}, theory.ecsv or recon/response.ecsv is not there, so φ̂ cannot be shown.")]
    key = found.keys[0]
    n0 = found.n0[key]
    cl_phi = found.theory.potential["PP"][: len(n0)]
    seen = np.where(np.arange(len(n0)) >= found.run.recipe.reconstruction.L_min, n0, 0.0)
    estimate = wiener_filtered(found.phi(file), cl_phi, seen)
    source = f"sims/{name}/phi_alm.fits"
    given = wiener_filtered(found.phi(source), cl_phi, seen) if found.has(source) else None
    nside = found.run.recipe.sky.nside
    patch = survey_patch(found.mask)
    pair = {"φ̂": deflection_map(estimate, nside)}
    if given is not None:
        pair = {"φ_in": deflection_map(given, nside), **pair}
    factor = wiener_factor(cl_phi, seen)
    half_way = int(np.flatnonzero(factor >= 0.5).max()) if (factor >= 0.5).any() else 0
    out: list[str | Chart] = [_phi_words(key, given is not None, half_way)]
    out += _phi_charts(found, pair, key, patch, "phi", "")
    close = close_up(found.mask, patch)
    near = max(nside, min(2 * nside, 2048))
    fine = {"φ̂": deflection_map(estimate, near)}
    if given is not None:
        fine = {"φ_in": deflection_map(given, near), **fine}
    out += _phi_charts(
        found,
        fine,
        key,
        close,
        "phi-near",
        f", {close.size:g}° about longitude {close.lon:g}°, latitude {close.lat:g}°",
    )
    out.append(
        sky_chart(
            "kappa",
            f"Convergence κ̂ by {text(key)}",
            [Sky("kappa", "κ̂", kappa_map(estimate, nside), "κ")],
            caption="The same φ̂ as κ = <i>L</i>(<i>L</i>+1)φ/2: red where there is more matter between us and the CMB.",
            alt="A map of the reconstructed convergence.",
            mask=found.mask,
            patch=patch,
            link="phi",
        )
    )
    return out


def survey_patch(mask: NDArray | None) -> Patch | None:
    """A square that holds what a mask leaves, if that is less than `WIDE_ENOUGH` across; None for the whole sky."""
    if mask is None or not (mask >= 0.5).any():
        return None
    import healpy

    coarse = healpy.ud_grade(np.asarray(mask, dtype=np.float64), min(64, healpy.npix2nside(len(mask))))
    seen = np.flatnonzero(coarse > 0.1)
    if not seen.size or seen.size > 0.12 * len(coarse):
        return None
    towards = np.array(healpy.pix2vec(healpy.npix2nside(len(coarse)), seen))
    middle = towards.mean(axis=1)
    middle /= np.linalg.norm(middle)
    radius = float(np.degrees(np.arccos(np.clip(middle @ towards, -1, 1).min())))
    if 2 * radius > WIDE_ENOUGH:
        return None
    lon, lat = healpy.vec2ang(middle, lonlat=True)
    return Patch(round(float(lon[0]), 1) % 360.0, round(float(lat[0]), 1), round(2.15 * radius, 1))


def close_up(mask: NDArray | None, patch: Patch | None) -> Patch:
    """A small square well inside a mask."""
    import healpy

    if mask is None:
        return Patch(0.0, 0.0, CLOSE_UP)
    coarse = healpy.ud_grade(np.asarray(mask, dtype=np.float64), min(16, healpy.npix2nside(len(mask))))
    smooth = healpy.smoothing(coarse, fwhm=np.radians(CLOSE_UP))
    lon, lat = healpy.pix2ang(healpy.npix2nside(len(smooth)), int(np.argmax(smooth)), lonlat=True)
    size = CLOSE_UP if patch is None else min(CLOSE_UP, round(patch.size / 2.5, 1))
    return Patch(float(np.round(lon)), float(np.round(lat)), size)


def _outside(given: dict[str, Any]) -> tuple[NDArray | None, str]:
    try:
        unit, ordering, polconv = (given.get(key) for key in ("unit", "ordering", "polconv"))
        return read_map(given["map"], unit=unit, ordering=ordering, polconv=polconv).maps, ""
    except (OSError, ValueError, KeyError) as error:
        log.warning("the map from outside is not in the report: %s", error)
        return None, (str(error) or type(error).__name__).splitlines()[0]


def _said(found: Products, simulated: bool) -> str:
    recipe = found.run.recipe
    instrument = recipe.instrument
    levels = f"{number(instrument.noise_t)} µK·arcmin of noise in T and {number(instrument.noise_p)} in Q and U"
    beam = f"a beam of {number(instrument.fwhm)}′, {levels}"
    first = f"sky {found.simulated[0]:04d}" if simulated else "the map from outside"
    moves = "Maps move together: wheel, pinch or + to enlarge, drag to move."
    return f'<p>Of {first}: nside {recipe.sky.nside}, {beam}. <span class="screen">{moves}</span></p>'


def _mask(found: Products, patch: Patch | None) -> list[Chart]:
    mask = found.mask
    if mask is None:
        return []
    chart = sky_chart(
        "mask",
        "Mask",
        [Sky("mask", "weight", mask, "weight", limits=(0.0, 1.0), signed=False)],
        caption=f"The apodised mask; it leaves {100 * float(np.mean(mask)):.1f} % of the sky (mean weight), "
        f"⟨w²⟩ = {float(np.mean(mask**2)):.4f}, ⟨w⁴⟩ = {float(np.mean(mask**4)):.4f}.",
        alt="The mask: weights between 0 and 1.",
        patch=patch,
        link="cmb-maps",
    )
    return [chart]


def _cmb_chart(found: Products, name: str, skies: list[Sky], patch: Patch | None) -> Chart:
    words = {
        "T": "CMB temperature",
        "Q": "Stokes Q, convention COSMO",
        "U": "Stokes U, convention COSMO",
    }
    several = "lensed, without beam and noise; observed, with both" if len(skies) > 1 else "as it was read"
    more = "; and what lensing changed" if len(skies) > 2 else ""
    return sky_chart(
        f"map-{name}",
        name if name != "T" else "Temperature",
        skies,
        caption=f"{words[name]} in µK: {several}{more}.{_grey(found)}",
        alt=f"A map of {words[name]}.",
        mask=found.mask,
        patch=patch,
        link="cmb-maps",
        wide=name == "T" and found.mask is None,
    )


def _grey(found: Products) -> str:
    return "" if found.mask is None else " Grey is masked."


def _ordered(charts: list[str | Chart]) -> list[str | Chart]:
    """T first, and the mask last."""
    return sorted(charts, key=lambda chart: isinstance(chart, Chart) and chart.name == "mask")


def _phi_words(key: str, with_input: bool, half_way: int) -> str:
    both = (
        "φ_in and φ̂ go through one Wiener filter, C/(C + N0), and have one scale of colours"
        if with_input
        else "φ̂ is Wiener-filtered"
    )
    both = both.replace("φ_in", "φ<sub>in</sub>")
    said = (
        f" Modes up to <i>L</i> = {half_way} are measured better than signal over noise 1."
        if half_way
        else " No mode has more signal than noise."
    )
    words = "It is shown as √(L(L+1)) φ, whose power is that of the deflection angle."
    return f"<p>By {text(key)}. {both}. {words}{said}</p>"


def _phi_charts(
    found: Products, maps: dict[str, NDArray], key: str, patch: Patch | None, name: str, where: str
) -> list[Chart]:
    mask = found.mask
    if mask is not None and len(mask) != len(next(iter(maps.values()))):
        import healpy

        mask = healpy.ud_grade(mask, healpy.npix2nside(len(next(iter(maps.values())))))
    seen = np.ones(len(next(iter(maps.values()))), dtype=bool) if mask is None else mask >= 0.5
    half = max(float(np.percentile(np.abs(sky[seen]), 99.5)) for sky in maps.values())
    words = {
        "φ_in": ("φ<sub>in</sub>, which lensed the sky", "input"),
        "φ̂": (f"φ̂, reconstructed by {text(key)}", "found"),
    }
    kinds = {"φ_in": "The input", "φ̂": "The estimate"}
    return [
        sky_chart(
            f"{name}-{words[kind][1]}",
            words[kind][0],
            [Sky(kind, kind.replace("_in", "<sub>in</sub>"), sky, DEFLECTION, limits=(-half, half))],
            caption=f"{kinds[kind]}{where}; arcmin of deflection.{_grey(found)}",
            alt=f"A map of {'the input potential' if kind == 'φ_in' else 'the reconstructed potential'}{where}.",
            mask=mask,
            patch=patch,
            link=name,
        )
        for kind, sky in maps.items()
    ]
