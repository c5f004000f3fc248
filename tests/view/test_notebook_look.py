"""A look at plain arrays: the numbers that are told are those of the array, and the pictures are made."""

import healpy
import numpy as np
import pytest

from lensrec.sphere.alm import alm_ell, alm_size
from lensrec.view.field_spectrum import field_spectrum_figure
from lensrec.view.look import is_alm, is_map, look_at_alm, look_at_map

NSIDE = 16
NPIX = 12 * NSIDE**2


def test_a_map_is_told_with_its_statistics() -> None:
    rng = np.random.default_rng(0)
    maps = 100 * rng.standard_normal((3, NPIX))
    maps[1, :300] = np.nan
    maps[1, 300:600] = healpy.UNSEEN
    mask = np.ones(NPIX)
    mask[2000:] = 0.2
    found = look_at_map(maps, unit="µK", mask=mask, title="three")
    assert found.facts["nside"] == NSIDE
    assert found.facts["pixels"] == f"{NPIX} of 220′"  # healpy.nside2resol(16, arcmin=True) is 219.87
    assert found.facts["unit"] == "µK"
    assert found.facts["NaN or UNSEEN"] == f"{100 * 600 / (3 * NPIX):.3g} %"
    assert found.facts["masked"] == f"{100 * (NPIX - 2000) / NPIX:.3g} %"
    (table,) = found.tables
    assert table[""] == ["T", "Q", "U"]
    seen = [maps[0, :2000], maps[1, 600:2000], maps[2, :2000]]
    for name, of in (("mean", np.mean), ("rms", np.std), ("min", np.min), ("max", np.max)):
        np.testing.assert_allclose(table[name], [of(values) for values in seen])
    html = found._repr_html_()
    assert html.count("<img") == 1
    assert "three" in html
    assert "−" in repr(found)
    assert look_at_map(maps[0]).facts["unit"] == "not given"


def test_maps_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="npix = 12 nside²"):
        look_at_map(np.zeros(13))
    with pytest.raises(ValueError, match=r"the mask has shape \(5,\)"):
        look_at_map(np.zeros(48), mask=np.ones(5))
    with pytest.raises(ValueError, match="not seen anywhere"):
        look_at_map(np.full(48, np.nan))
    with pytest.raises(ValueError, match="2 maps need as many names, got 1"):
        look_at_map(np.zeros((2, 48)), names=["a"])


def test_an_alm_is_told_with_the_rms_of_its_field() -> None:
    lmax = 32
    rng = np.random.default_rng(1)
    alm = rng.standard_normal(alm_size(lmax)) + 1j * rng.standard_normal(alm_size(lmax))
    alm[: lmax + 1] = alm[: lmax + 1].real
    alm[0] = 0.0  # so that the rms about the mean is that about zero
    found = look_at_alm(alm, unit="µK")
    # the map that healpy makes of it, at pixels small enough that their mean square is that of the sphere to 1e-3
    assert found.facts["rms of a [µK]"] == pytest.approx(healpy.alm2map(alm, 64).std(), rel=1e-3)
    assert found.facts["lmax"] == lmax
    assert found._repr_html_().count("<img") == 2
    phi = look_at_alm(1e-6 * alm, kind="phi", title="φ̂")
    gradient = healpy.alm2map_der1(1e-6 * alm, 64)[1:]
    arcmin = np.degrees(np.sqrt(np.mean(gradient[0] ** 2 + gradient[1] ** 2))) * 60
    assert phi.facts["rms deflection [arcmin]"] == pytest.approx(arcmin, rel=1e-2)
    ell = alm_ell(lmax)
    kappa = healpy.alm2map(1e-6 * alm * ell * (ell + 1) / 2, 64)
    assert phi.facts["rms κ"] == pytest.approx(kappa.std(), rel=1e-2)
    assert "deflection" in repr(phi)
    three = look_at_alm(np.stack([alm, 0.1 * alm, 0.01 * alm]), unit="µK")
    assert three.facts["rms of E [µK]"] == pytest.approx(0.1 * three.facts["rms of T [µK]"])
    assert look_at_alm(alm, kind="kappa").facts["unit"] == "dimensionless"
    with pytest.raises(ValueError, match="alm must be complex"):
        look_at_alm(alm.real)
    with pytest.raises(ValueError, match="fits no lmax"):
        look_at_alm(alm[:-1])


def test_spectra_of_fields_are_drawn_in_their_scaling() -> None:
    ell = np.arange(101.0)
    flat = np.where(ell >= 2, 1.0 / np.maximum(ell * (ell + 1), 1), 0.0)
    for kind, cl, level in (
        ("", flat, 1 / (2 * np.pi)),
        ("phi", flat / np.maximum(ell * (ell + 1), 1), 1 / (2 * np.pi)),
        ("kappa", np.ones(101), 1.0),
    ):
        (axes,) = field_spectrum_figure({"x": cl}, kind=kind, unit="µK").axes
        bands = axes.lines[1].get_ydata()
        np.testing.assert_allclose(bands, level, rtol=1e-12)
    assert "µK²" in field_spectrum_figure({"x": flat}, unit="µK").axes[0].get_ylabel()
    with pytest.raises(ValueError, match="reaches ℓ = 3"):
        field_spectrum_figure({"x": np.ones(3)})


def test_arrays_are_known_by_their_shape() -> None:
    assert is_map(np.zeros(NPIX))
    assert is_map(np.zeros((3, NPIX), dtype=np.float32))
    assert is_alm(np.zeros(alm_size(20), dtype=complex))
    assert is_alm(np.zeros((3, alm_size(20)), dtype=np.complex64))
    for other in (
        np.zeros(48),
        np.zeros((2, NPIX)),
        np.zeros(NPIX, dtype=int),
        np.zeros(NPIX + 1),
        np.zeros((3, 3, NPIX)),
    ):
        assert not is_map(other)
    for other in (np.zeros(alm_size(20)), np.zeros(alm_size(20) + 1, dtype=complex), np.zeros(3, dtype=complex)):
        assert not is_alm(other)
