"""CAR maps as pixell writes them: the same sky on HEALPix, in the right polarisation convention."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from pixell import curvedsky, enmap

from lensrec.sky.car_io import matching_nside, sample_nearest
from lensrec.sky.io import inspect_map, read_map, read_mask

NSIDE = 64
LMAX = 2 * NSIDE
RES = np.radians(1.0)


def teb(lmax=LMAX):
    """Red alm with C_ℓ ∝ 1/(ℓ+1)², T about 10 times E and B, B unlike E."""
    rng = np.random.default_rng(11)
    size = hp.Alm.getsize(lmax)
    alm = rng.normal(size=(3, size)) + 1j * rng.normal(size=(3, size))
    alm[:, : lmax + 1].imag = 0.0
    ell = np.arange(lmax + 1.0)
    weight = np.where(ell >= 2, 100.0 / (ell + 1.0), 0.0)
    return np.array([hp.almxfl(row, f * weight) for row, f in zip(alm, (1.0, 0.1, 0.07), strict=True)])


def car(shape, wcs, dtype=np.float64, lmax=LMAX):
    """I, Q, U by pixell, COSMO as pixell has them in memory."""
    maps = enmap.zeros((3, *shape[-2:]), wcs, dtype)
    return curvedsky.alm2map(teb(lmax).astype(np.result_type(dtype, 1j)), maps)


def relative(alm, reference):
    return np.sqrt(np.mean(np.abs(alm - reference) ** 2, axis=1) / np.mean(np.abs(reference) ** 2, axis=1))


@pytest.mark.parametrize("variant", ["cc", "fejer1"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_full_sky_gives_back_the_alm(tmp_path, variant, dtype):
    shape, wcs = enmap.fullsky_geometry(res=RES, variant=variant)
    enmap.write_map(str(tmp_path / "m.fits"), car(shape, wcs, dtype), extra={"BUNIT": "uK"})
    got = read_map(tmp_path / "m.fits")
    assert got.nside == NSIDE
    assert got.observed.all()
    # CAR quadrature and HEALPix synthesis are exact; float32 pixels cost 6e-8 each
    exact = hp.alm2map(teb(), NSIDE, lmax=LMAX)
    tolerance = 1e-11 if dtype is np.float64 else 1e-6
    assert np.abs(got.maps - exact).max() < tolerance * exact[0].std()
    back = np.array(hp.map2alm(got.maps, lmax=LMAX, iter=10))
    assert relative(back, teb()).max() < 10 * tolerance


def test_a_smaller_nside_keeps_the_multipoles_it_can_carry(tmp_path):
    shape, wcs = enmap.fullsky_geometry(res=RES)
    enmap.write_map(str(tmp_path / "m.fits"), car(shape, wcs), extra={"BUNIT": "uK"})
    got = read_map(tmp_path / "m.fits", nside=32)
    low = np.array([hp.resize_alm(row, LMAX, LMAX, 95, 95) for row in teb()])
    # exact quadrature and synthesis: rounding only
    np.testing.assert_allclose(got.maps, hp.alm2map(low, 32, lmax=95), atol=1e-9)


@pytest.mark.parametrize(
    ("stokes_axis", "card", "iau"),
    [(True, "IAU", True), (True, None, True), (True, "COSMO", False), (False, None, False), (False, "IAU", True)],
)
def test_polarisation_convention(tmp_path, stokes_axis, card, iau):
    """What is on disk as IAU has U of the other sign; ACT writes a STOKES axis and POLCCONV = IAU."""
    shape, wcs = enmap.fullsky_geometry(res=2 * RES)
    maps = car(shape, wcs, lmax=60)
    maps[2] *= -1 if iau else 1
    extra = {"BUNIT": "uK"}
    if stokes_axis:
        extra |= {"CTYPE3": "STOKES", "CRPIX3": 1.0, "CRVAL3": 1.0, "CDELT3": 1.0}
    if card:
        extra["POLCCONV"] = card
    path = str(tmp_path / "m.fits")
    enmap.write_map(path, maps, extra=extra)
    got = read_map(path, nside=32)
    # exact quadrature: rounding only
    np.testing.assert_allclose(got.maps, hp.alm2map(teb(60), 32, lmax=60), atol=1e-9)
    if stokes_axis and card:
        # pixell's own reader agrees about the sign
        assert np.allclose(enmap.read_map(path)[2], maps[2] * (-1 if iau else 1))


def test_flag_overrules_the_convention_and_the_unit(tmp_path):
    shape, wcs = enmap.fullsky_geometry(res=2 * RES)
    maps = car(shape, wcs, lmax=60)
    enmap.write_map(str(tmp_path / "m.fits"), maps * 1e-3)
    exact = hp.alm2map(teb(60), 32, lmax=60)
    cosmo = read_map(tmp_path / "m.fits", nside=32, unit="mK")
    np.testing.assert_allclose(cosmo.maps, exact, atol=1e-9)
    maps[2] *= -1
    enmap.write_map(str(tmp_path / "m.fits"), maps * 1e-3)
    iau = read_map(tmp_path / "m.fits", nside=32, unit="mK", polconv="IAU")
    np.testing.assert_allclose(iau.maps, exact, atol=1e-9)


@pytest.mark.parametrize("ra", [(60, -70), (240, 110)])
def test_a_cut_patch_with_a_hole_does_not_ring(tmp_path, ra):
    """Across RA = 0 and across RA = 180. The sharp edge alone would ring by a tenth of the local value."""
    box = np.radians([[-50, ra[0]], [20, ra[1]]])
    shape, wcs = enmap.geometry(box, res=RES, proj="car")
    maps = car(shape, wcs)
    hole = enmap.sky2pix(shape, wcs, np.radians([-10.0, np.mean(ra)])).astype(int)
    maps[:, hole[0] : hole[0] + 3, hole[1] : hole[1] + 2] = np.nan
    maps[:, :4] = 0.0
    enmap.write_map(str(tmp_path / "m.fits"), maps, extra={"BUNIT": "uK_CMB"})
    got = read_map(tmp_path / "m.fits", nside=NSIDE)
    exact = hp.alm2map(teb(), NSIDE, lmax=LMAX)
    rms = exact.std(axis=1)
    error = (got.maps - exact)[:, got.observed]
    # C² taper over 10 pixels: 3e-4 of the rms typically, 3e-3 at worst beside the border
    assert (error.std(axis=1) / rms).max() < 1e-3
    assert (np.abs(error).max(axis=1) / rms).max() < 6e-3
    assert not got.maps[:, ~got.observed].any()
    # the unobserved rows are at dec −47 and 20; 10 pixels of 1 deg off, and half a pixel, nothing is kept
    lon, lat = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    turn = np.abs((lon - np.mean(ra) + 180) % 360 - 180) * np.cos(np.radians(lat))
    centre = hp.ang2vec(np.mean(ra), -10.0, lonlat=True)
    far = np.degrees(np.arccos(np.clip(hp.ang2vec(lon, lat, lonlat=True) @ centre, -1, 1)))
    deep = (turn < 30) & (lat > -36) & (lat < 9) & (far > 14)
    assert got.observed[deep].all()
    assert not got.observed[(far < 9) | (lat > 10.5) | (lat < -37.5) | (turn > 60)].any()


def test_a_hole_on_a_full_sky_spares_seam_and_poles(tmp_path):
    shape, wcs = enmap.fullsky_geometry(res=RES)
    maps = car(shape, wcs)
    hole = enmap.posmap(shape, wcs)
    maps[:, (np.abs(hole[0]) < 2.5 * RES) & (np.abs(hole[1] % (2 * np.pi) - np.radians(179)) < 2.5 * RES)] = np.nan
    enmap.write_map(str(tmp_path / "m.fits"), maps, extra={"BUNIT": "uK"})
    got = read_map(tmp_path / "m.fits", nside=NSIDE)
    lon, lat = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    far = np.degrees(np.arccos(np.clip(hp.ang2vec(lon, lat, lonlat=True) @ hp.ang2vec(179, 0, lonlat=True), -1, 1)))
    # the hole reaches 2 to 2.9 deg from its centre
    assert got.observed[far > 14].all()
    assert not got.observed[far < 11.4].any()


def test_default_nside_is_the_smallest_with_pixels_as_fine(tmp_path):
    for arcmin, nside in ((0.5, 8192), (1.0, 4096), (2.0, 2048), (60.0, 64), (120.0, 32)):
        _, wcs = enmap.geometry(np.radians([[-1, 1], [1, -1]]) * arcmin, res=np.radians(arcmin / 60), proj="car")
        assert matching_nside(wcs) == nside
        assert hp.nside2resol(nside, arcmin=True) <= arcmin < hp.nside2resol(nside // 2, arcmin=True)


def test_pixels_are_looked_up_where_pixell_puts_them():
    for box in ([[-40, 30], [10, -50]], [[-40, 210], [10, 150]]):
        shape, wcs = enmap.geometry(np.radians(box), res=RES, proj="car")
        image = np.random.default_rng(3).normal(size=shape)
        got = sample_nearest(image, wcs, 32)
        lon, lat = hp.pix2ang(32, np.arange(12 * 32**2), lonlat=True)
        y, x = enmap.sky2pix(shape, wcs, np.radians([lat, lon]))
        x = (x + 180) % 360 - 180
        tie = np.abs(x % 1 - 0.5) < 1e-6
        y, x = np.rint(y).astype(int), np.rint(x).astype(int)
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        assert inside.sum() > 300
        sure = inside & ~tie
        np.testing.assert_array_equal(got[sure], image[y[sure], x[sure]])
        assert not got[~inside & ~tie].any()


def test_car_masks_are_averaged_over_the_pixels(tmp_path):
    shape, wcs = enmap.fullsky_geometry(res=RES / 2)
    dec = np.degrees(enmap.posmap(shape, wcs)[0])
    mask = enmap.ndmap((dec > 10.2).astype(float), wcs)
    enmap.write_map(str(tmp_path / "m.fits"), mask)
    got = read_mask(tmp_path / "m.fits", nside=16, coord="C")
    lat = hp.pix2ang(16, np.arange(12 * 16**2), lonlat=True)[1]
    assert (got[lat > 15] == 1).all()
    assert (got[lat < 5] == 0).all()
    assert ((got > 0) & (got < 1)).any()
    # the border is known to half a pixel of 0.5 deg: 0.25 deg of latitude is 0.0022 of the sky
    assert got.mean() == pytest.approx((1 - np.sin(np.radians(10.2))) / 2, abs=0.0025)


def test_inspect_a_car_map(tmp_path):
    box = np.radians([[-30, 40], [10, -20]])
    shape, wcs = enmap.geometry(box, res=RES, proj="car")
    extra = {"BUNIT": "uK", "CTYPE3": "STOKES", "CRPIX3": 1.0, "CRVAL3": 1.0, "CDELT3": 1.0, "POLCCONV": "IAU"}
    enmap.write_map(str(tmp_path / "m.fits"), car(shape, wcs), extra=extra)
    facts = inspect_map(tmp_path / "m.fits")
    assert facts["kind"] == "CAR"
    assert facts["polconv"] == "IAU"
    assert facts["polarised"]
    assert facts["coord"] == "C"
    assert facts["resolution_arcmin"] == pytest.approx(60.0)
    area = np.radians(60) * (np.sin(np.radians(10)) + np.sin(np.radians(30))) / (4 * np.pi)
    assert facts["observed_fraction"] == pytest.approx(area, rel=0.03)
    assert facts["problems"] == []


def test_stokes_axis_with_v_and_in_another_order(tmp_path):
    shape, wcs = enmap.fullsky_geometry(res=2 * RES)
    maps = car(shape, wcs)
    four = enmap.ndmap(np.concatenate([maps[:1] * 0 + 7.0, maps[2:], maps[1:2], maps[:1]]), wcs)
    extra = {"BUNIT": "uK", "CTYPE3": "STOKES", "CRPIX3": 4.0, "CRVAL3": 1.0, "CDELT3": -1.0, "POLCCONV": "COSMO"}
    enmap.write_map(str(tmp_path / "m.fits"), four, extra=extra)
    enmap.write_map(str(tmp_path / "n.fits"), maps, extra={"BUNIT": "uK"})
    got, want = read_map(tmp_path / "m.fits", nside=16), read_map(tmp_path / "n.fits", nside=16)
    np.testing.assert_array_equal(got.maps, want.maps)


def test_compressed_images_are_read(tmp_path):
    shape, wcs = enmap.fullsky_geometry(res=2 * RES)
    enmap.write_map(str(tmp_path / "m.fits"), car(shape, wcs), extra={"BUNIT": "uK"})
    with fits.open(tmp_path / "m.fits") as hdus:
        header, data = hdus[0].header, hdus[0].data.copy()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, header)]).writeto(tmp_path / "e.fits.gz")
    a, b = read_map(tmp_path / "m.fits", nside=16), read_map(tmp_path / "e.fits.gz", nside=16)
    np.testing.assert_array_equal(a.maps, b.maps)
