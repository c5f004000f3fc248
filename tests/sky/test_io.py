"""HEALPix maps and masks: every dialect gives the same sky."""

import gzip
import os
import shutil
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from lensrec.sky.healpix_io import order_contrast
from lensrec.sky.io import inspect_map, read_map, read_mask
from lensrec.sky.map_header import MapError, microkelvin_factor

NSIDE = 32
NPIX = 12 * NSIDE**2
# float32 in the file: relative 6e-8 of values up to some 500 µK
F32 = 1e-4


def sky(nside=NSIDE):
    """A red I, Q, U sky of about 100, 10 and 10 µK, the same at every call."""
    rng = np.random.default_rng(5)
    lmax = 2 * nside
    ell = np.arange(lmax + 1.0)
    weight = np.where(ell >= 2, 1.0 / (ell + 1.0), 0.0)
    alm = rng.normal(size=(3, hp.Alm.getsize(lmax))) + 1j * rng.normal(size=(3, hp.Alm.getsize(lmax)))
    alm[:, : lmax + 1].imag = 0.0
    maps = hp.alm2map([hp.almxfl(row, weight) for row in alm], nside)
    return maps * (np.array([100.0, 10.0, 10.0]) / maps.std(axis=1))[:, None]


def table(path, columns, *, primary=None, **cards):
    """A binary table file with the given (name, unit, array) columns, one pixel a row, and header cards."""
    kinds = {"f": "E", "d": "D", "i": "J", "l": "K"}
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column(name=n, unit=u, format=kinds[a.dtype.char], array=a) for n, u, a in columns]
    )
    for key, value in cards.items():
        hdu.header[key] = value
    first = fits.PrimaryHDU()
    for key, value in (primary or {}).items():
        first.header[key] = value
    fits.HDUList([first, hdu]).writeto(path)
    return path


def data_folder():
    folder = os.environ.get("LENSREC_DATA") or Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    if not Path(folder).is_dir():
        pytest.skip("no folder of real maps: set LENSREC_DATA")
    return Path(folder)


@pytest.mark.parametrize(("unit", "scale"), [("K_CMB", 1e-6), ("mK", 1e-3), ("uK_CMB", 1.0), ("uK", 1.0)])
@pytest.mark.parametrize("nest", [False, True])
def test_healpy_files_give_the_sky_in_microkelvin_and_ring(tmp_path, unit, scale, nest):
    maps = sky()
    stored = hp.reorder(maps, r2n=True) if nest else maps
    hp.write_map(tmp_path / "m.fits", stored * scale, nest=nest, dtype=np.float32, column_units=unit)
    got = read_map(tmp_path / "m.fits")
    np.testing.assert_allclose(got.maps, maps, atol=F32)
    assert got.observed.all()
    assert got.nside == NSIDE
    assert got.polarised
    assert got.maps.dtype == np.float64
    assert got.maps.dtype.isnative
    assert got.description["ordering"] == ("NESTED" if nest else "RING")


def test_temperature_alone_and_single_precision(tmp_path):
    maps = sky()
    hp.write_map(tmp_path / "t.fits", maps[0], dtype=np.float64, column_units="uK_CMB")
    got = read_map(tmp_path / "t.fits", dtype=np.float32)
    assert got.maps.shape == (1, NPIX)
    assert got.maps.dtype == np.float32
    np.testing.assert_allclose(got.maps[0], maps[0], atol=F32)
    assert not got.polarised


def test_partial_sky_of_healpy(tmp_path):
    maps = sky()
    kept = hp.query_disc(NSIDE, hp.ang2vec(1.0, 2.0), 0.7)
    part = np.full((3, NPIX), hp.UNSEEN)
    part[:, kept] = maps[:, kept]
    hp.write_map(tmp_path / "p.fits", part, partial=True, dtype=np.float32, column_units="uK_CMB")
    got = read_map(tmp_path / "p.fits")
    assert got.description["indexing"] == "EXPLICIT"
    assert np.array_equal(np.flatnonzero(got.observed), np.sort(kept))
    np.testing.assert_allclose(got.maps[:, kept], maps[:, kept], atol=F32)
    assert not got.maps[:, ~got.observed].any()


def test_partial_sky_in_nested_order_with_shuffled_pixels(tmp_path):
    maps = sky()
    kept = np.random.default_rng(1).permutation(NPIX)[:9000]
    columns = [("PIXEL", None, hp.ring2nest(NSIDE, kept).astype(np.int64))]
    columns += [(n, "uK_CMB", maps[i][kept]) for i, n in enumerate(["I_STOKES", "Q_STOKES", "U_STOKES"])]
    path = table(tmp_path / "p.fits", columns, NSIDE=NSIDE, ORDERING="NESTED", INDXSCHM="EXPLICIT")
    got = read_map(path)
    np.testing.assert_array_equal(got.maps[:, kept], maps[:, kept])
    assert got.observed.sum() == 9000


def test_wmap_dialect(tmp_path):
    """NESTED, one pixel a row, mK and mK,thermodynamic, hits beside the maps, ordering in the primary header."""
    nested = hp.reorder(sky(), r2n=True).astype(np.float32) * np.float32(1e-3)
    columns = [
        ("TEMPERATURE", "mK", nested[0]),
        ("Q_POLARISATION", "mK,thermodynamic", nested[1]),
        ("U_POLARISATION", "mK, thermodynamic", nested[2]),
        ("N_OBS", "counts", np.ones(NPIX, dtype=np.float32)),
    ]
    primary = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": NSIDE, "SKYCOORD": "Galactic"}
    got = read_map(table(tmp_path / "w.fits", columns, primary=primary))
    np.testing.assert_allclose(got.maps, sky(), atol=F32)
    assert "N_OBS" in got.description["columns"]
    assert got.description["stokes_columns"] == ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
    assert got.description["coord"] == "G"


def test_planck_dialect(tmp_path):
    """NESTED, K_CMB, hits and covariances, BAD_DATA, POLCCONV, and a second table that is no map."""
    nested = hp.reorder(sky(), r2n=True) * 1e-6
    nested[1, 17] = -1.6375e30
    names = ["I_STOKES", "Q_STOKES", "U_STOKES", "HITS", "II_COV", "IQ_COV"]
    columns = [(n, "K_CMB", nested[i % 3].astype(np.float32)) for i, n in enumerate(names)]
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": NSIDE, "COORDSYS": "GALACTIC"}
    path = table(tmp_path / "p.fits", columns, POLCCONV="COSMO", BAD_DATA=-1.6375e30, INDXSCHM="IMPLICIT", **cards)
    with fits.open(path, mode="append") as hdus:
        beam = fits.BinTableHDU.from_columns([fits.Column(name="INT_BEAM", format="E", array=np.ones(10))])
        hdus.append(beam)
    got = read_map(path)
    bad = hp.nest2ring(NSIDE, 17)
    assert np.flatnonzero(~got.observed).tolist() == [bad]
    want = sky()
    want[:, bad] = 0.0
    np.testing.assert_allclose(got.maps, want, atol=F32)


@pytest.mark.parametrize("names", ["T Q U", "TEMPERATURE Q-POLARISATION U-POLARISATION",
                                   "I_STOKES Q_POLARIZATION U_POLARIZATION", "intensity q u", "a b c"])  # fmt: skip
def test_column_names(tmp_path, names):
    columns = [(n, "uK_CMB", row) for n, row in zip(names.split(), sky(), strict=True)]
    got = read_map(table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="RING"))
    np.testing.assert_array_equal(got.maps, sky())


def test_columns_in_another_order_are_taken_by_name(tmp_path):
    maps = sky()
    columns = [("U", "uK", maps[2]), ("I", "uK", maps[0]), ("Q", "uK", maps[1])]
    got = read_map(table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="RING"))
    np.testing.assert_array_equal(got.maps, maps)


def test_components_in_separate_tables(tmp_path):
    maps = sky()
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, row in zip("IQU", maps, strict=True):
        hdu = fits.BinTableHDU.from_columns([fits.Column(name=name, unit="uK", format="D", array=row)])
        hdu.header.update({"NSIDE": NSIDE, "ORDERING": "RING", "PIXTYPE": "HEALPIX"})
        hdus.append(hdu)
    hdus.writeto(tmp_path / "m.fits")
    np.testing.assert_array_equal(read_map(tmp_path / "m.fits").maps, maps)


def test_gzipped(tmp_path):
    hp.write_map(tmp_path / "m.fits", sky(), dtype=np.float32, column_units="uK_CMB")
    with open(tmp_path / "m.fits", "rb") as plain, gzip.open(tmp_path / "m.fits.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    np.testing.assert_array_equal(read_map(tmp_path / "m.fits.gz").maps, read_map(tmp_path / "m.fits").maps)


def test_unseen_nan_and_infinity_are_unobserved(tmp_path):
    maps = sky()
    maps[0, 3], maps[1, 5], maps[2, 7], maps[0, 9] = hp.UNSEEN, np.nan, np.inf, -1.637501e30
    columns = [(n, "uK_CMB", row) for n, row in zip("IQU", maps, strict=True)]
    got = read_map(table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="NEST"), ordering="RING")
    assert np.flatnonzero(~got.observed).tolist() == [3, 5, 7, 9]
    assert np.isfinite(got.maps).all()
    assert not got.maps[:, [3, 5, 7, 9]].any()


def test_bad_data_of_the_header_is_heeded(tmp_path):
    maps = sky()
    maps[0, 100], maps[1, 200] = -999.0, -998.9
    columns = [(n, "uK_CMB", row) for n, row in zip("IQU", maps, strict=True)]
    got = read_map(table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="RING", BAD_DATA=-999.0))
    assert np.flatnonzero(~got.observed).tolist() == [100]


@pytest.mark.parametrize(("card", "flag", "sign"), [("IAU", None, -1), ("COSMO", None, 1), (None, None, 1),
                                                    ("IAU", "COSMO", 1), (None, "IAU", -1)])  # fmt: skip
def test_iau_flips_u_and_nothing_else(tmp_path, card, flag, sign):
    maps = sky()
    cards = {"POLCCONV": card} if card else {}
    columns = [(n, "uK_CMB", row) for n, row in zip("IQU", maps, strict=True)]
    got = read_map(table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="RING", **cards), polconv=flag)
    np.testing.assert_array_equal(got.maps, maps * np.array([[1], [1], [sign]]))


def test_unit_flag_overrules_the_header(tmp_path):
    columns = [("T", "MJy/sr", sky()[0] * 1e-3)]
    path = table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="RING")
    np.testing.assert_allclose(read_map(path, unit="mK").maps[0], sky()[0], rtol=1e-14)


@pytest.mark.parametrize(("label", "factor"), [
    ("K", 1e6), ("k", 1e6), ("Kelvin", 1e6), ("K_CMB", 1e6), ("Kcmb", 1e6), ("KCMB", 1e6), ("K,thermodynamic", 1e6),
    ("mK", 1e3), ("mK_CMB", 1e3), ("mK,thermodynamic", 1e3), ("mK, thermodynamic ", 1e3), ("mK_cmb", 1e3),
    ("uK", 1.0), ("UK", 1.0), ("uK_CMB", 1.0), ("µK", 1.0), ("uKcmb", 1.0), ("muK_CMB", 1.0), ("microK", 1.0),
    ("uK(CMB)", 1.0), ("microkelvin", 1.0),
])  # fmt: skip
def test_temperature_units(label, factor):
    assert microkelvin_factor(label) == factor


@pytest.mark.parametrize("label", ["", " ", "unknown", "MK", "nK", "K_RJ", "mK_RJ", "MJy/sr", "uK_CMB^2", "uK^2",
                                   "Jy", "K km/s", "mK,antenna", "K_b", "counts", "1/K"])  # fmt: skip
def test_other_units_are_refused(label):
    with pytest.raises(MapError, match="unit"):
        microkelvin_factor(label)


@pytest.mark.parametrize("truth", ["RING", "NESTED"])
@pytest.mark.parametrize("noise", [0.0, 100.0])
def test_wrong_ordering_is_found(tmp_path, truth, noise):
    """White noise as large as the signal does not hide it at nside 128, thanks to the look at nside 64."""
    nside = 128
    stored = sky(nside)[0] + noise * np.random.default_rng(2).normal(size=12 * nside**2)
    stored = hp.reorder(stored, r2n=True) if truth == "NESTED" else stored
    claimed = "NESTED" if truth == "RING" else "RING"
    path = table(tmp_path / "m.fits", [("T", "uK", stored)], NSIDE=nside, ORDERING=claimed)
    with pytest.raises(MapError, match=f"said to be in {claimed} order .* smoother in {truth}"):
        read_map(path)
    assert read_map(path, ordering=truth).observed.all()


@pytest.mark.parametrize("nside", [8, 16, 64, 128])
@pytest.mark.parametrize("claimed", ["RING", "NESTED"])
def test_white_noise_raises_no_alarm_on_ordering(nside, claimed):
    """The alarm is at 1.25. Largest scatter is at nside 8: 3072 pairs, 1.17 / 3072^½ a side, some 0.04 with their
    correlations for the ratio: 6σ, a false alarm in 1e-9 maps."""
    rng = np.random.default_rng(nside)
    npix = 12 * nside**2
    ratios = [order_contrast(rng.normal(size=npix), np.ones(npix, bool), claimed) for _ in range(10)]
    assert np.abs(np.array(ratios) - 1.0).max() < 0.2


def test_a_mask_at_its_own_a_finer_and_a_coarser_nside(tmp_path):
    mask = (np.abs(hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[1]) > 20).astype(float)
    hp.write_map(tmp_path / "m.fits", hp.reorder(mask, r2n=True), nest=True, dtype=np.float32)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.fits", nside=NSIDE), mask)
    finer = read_mask(tmp_path / "m.fits", nside=4 * NSIDE)
    np.testing.assert_array_equal(finer, hp.ud_grade(mask, 4 * NSIDE))
    coarser = read_mask(tmp_path / "m.fits", nside=NSIDE // 4)
    assert len(coarser) == NPIX // 16
    assert 0.0 < np.count_nonzero((coarser > 0) & (coarser < 1)) < len(coarser)
    # averaging equal areas keeps the sky fraction; both are exact sums of multiples of 1/16
    assert coarser.mean() == pytest.approx(mask.mean(), abs=1e-14)


def test_mask_columns_nan_and_missing_pixels(tmp_path):
    values = np.ones(100)
    values[:3] = np.nan, hp.UNSEEN, 0.5
    columns = [("PIXEL", None, np.arange(100, dtype=np.int64)), ("TEMPERATURE", "mK", np.zeros(100)),
               ("N_OBS", None, values)]  # fmt: skip
    path = table(tmp_path / "m.fits", columns, NSIDE=4, ORDERING="RING", INDXSCHM="EXPLICIT", COORDSYS="G")
    mask = read_mask(path, nside=4, column=1, coord="G")
    assert mask[:3].tolist() == [0.0, 0.0, 0.5]
    assert mask[3:100].all()
    assert not mask[100:].any()
    with pytest.raises(MapError, match="zero everywhere"):
        read_mask(path, nside=4)
    with pytest.raises(MapError, match="coordinates G, the map in C"):
        read_mask(path, nside=4, column=1, coord="C")


def test_inspect_says_what_is_there_and_what_is_wrong(tmp_path):
    maps = sky()
    maps[:, :1000] = np.nan
    columns = [(n, "mK", 1e-3 * row) for n, row in zip("IQU", maps, strict=True)]
    facts = inspect_map(table(tmp_path / "m.fits", columns, NSIDE=NSIDE, ORDERING="RING", POLCCONV="IAU"))
    assert facts["unit"] == "mK"
    assert facts["polconv"] == "IAU"
    assert facts["polarised"]
    assert facts["problems"] == []
    assert facts["observed_fraction"] == pytest.approx(1 - 1000 / NPIX)
    assert facts["components"]["I"]["rms"] == pytest.approx(maps[0, 1000:].std())
    assert facts["components"]["U"]["max"] == pytest.approx(-maps[2, 1000:].min())
    columns = [("T", "", 1e-3 * hp.reorder(sky()[0], r2n=True))]
    facts = inspect_map(table(tmp_path / "n.fits", columns, NSIDE=NSIDE, ORDERING="RING"))
    assert facts["component_unit"] == "as in the file"
    assert len(facts["problems"]) == 2


def test_wmap_and_planck_see_the_same_sky():
    """0.972 is what the maker of the SMICA file found; a wrong ordering gives 0.0, a wrong unit a slope off by 10³."""
    folder = data_folder()
    planck = read_map(folder / "planck_smica_t" / "planck_smica_t_nside512.fits.gz")
    wmap = folder / "wmap7_nside32"
    mask = read_mask(wmap / "wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits", nside=32) > 0
    fine = read_mask(wmap / "wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits", nside=512)
    # repeated, each pixel 256 times: the sky fraction is the same sum
    assert fine.mean() == mask.mean()
    low = hp.ud_grade(planck.maps[0], 32)[mask]
    for band, least in (("V", 0.965), ("W", 0.955)):
        path = wmap / f"wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits"
        with pytest.raises(MapError, match="no unit is given"):
            read_map(path)
        for wrong in ("K", "uK"):
            assert "varies by" in inspect_map(path, unit=wrong)["problems"][0]
        assert inspect_map(path, unit="mK")["problems"] == []
        got = read_map(path, unit="mK").maps[0][mask]
        assert np.corrcoef(low, got)[0, 1] > least
        # calibration and beams differ by per cents between the two missions at this resolution
        assert np.polyfit(low, got, 1)[0] == pytest.approx(1.0, abs=0.06)
