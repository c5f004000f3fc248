"""Files that are no maps, or doubtful ones: one clear line, and nothing is written."""

import os

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from pixell import enmap

from lensrec.sky.io import MapError, inspect_map, read_alm, read_map, read_mask

NSIDE = 16
NPIX = 12 * NSIDE**2


def values(n=NPIX):
    return np.random.default_rng(4).normal(size=n) * 100.0


def table(path, columns, **cards):
    """Columns are (name, unit, array); the cards NSIDE and ORDERING are set unless given, None leaves them out."""
    kinds = {"d": "D", "l": "K", "D": "M"}
    made = [
        fits.Column(name=n, unit=u, array=a, format=f"{a[0].size}{kinds[a.dtype.char]}" if a.ndim > 1 else
                    kinds.get(a.dtype.char, "5A"))
        for n, u, a in columns
    ]  # fmt: skip
    hdu = fits.BinTableHDU.from_columns(made)
    for key, value in {"PIXTYPE": "HEALPIX", "NSIDE": NSIDE, "ORDERING": "RING", **cards}.items():
        if value is not None:
            hdu.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, output_verify="ignore")


def temperature(path, unit="uK_CMB", data=None, **cards):
    table(path, [("TEMPERATURE", unit, values() if data is None else data)], **cards)


def bytes_of_a_map(path):
    temperature(path)
    return path.read_bytes()


def cut(path, keep):
    whole = bytes_of_a_map(path)
    path.write_bytes(whole[: int(keep * len(whole))])


def garbled(path):
    whole = bytearray(bytes_of_a_map(path))
    start = whole.index(b"XTENSION")
    whole[start + 160 : start + 400] = bytes(range(16)) * 15
    path.write_bytes(whole)


def cut_gzip(path):
    packed = bytes_of_a_map(path)  # astropy packs what is to be named .gz
    assert packed.startswith(b"\x1f\x8b")
    path.write_bytes(packed[: len(packed) // 2])


def partial(path, pixels, **cards):
    columns = [("PIXEL", None, np.asarray(pixels)), ("T", "uK", values(len(pixels)))]
    table(path, columns, **{"INDXSCHM": "EXPLICIT", **cards})


def image(path, shape, **cards):
    _, wcs = enmap.geometry(np.radians([[-5, 5], [5, -5]]), res=np.radians(0.5), proj="car")
    enmap.write_map(str(path), enmap.ndmap(values(int(np.prod(shape))).reshape(shape), wcs), extra={"BUNIT": "uK"})
    with fits.open(path, mode="update") as hdus:
        for key, value in cards.items():
            hdus[0].header[key] = value


def plain_table(path):
    hdu = fits.BinTableHDU.from_columns([fits.Column(name="ELL", format="J", array=np.arange(10))])
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def two_nsides(path):
    parts = [fits.PrimaryHDU()]
    for name, nside in (("I", 16), ("Q", 8), ("U", 8)):
        data = values(12 * nside**2)
        hdu = fits.BinTableHDU.from_columns([fits.Column(name=name, unit="uK", format="D", array=data)])
        hdu.header.update({"NSIDE": nside, "ORDERING": "RING"})
        parts.append(hdu)
    fits.HDUList(parts).writeto(path)


def smooth(path, claimed):
    rng = np.random.default_rng(0)
    red = hp.smoothing(rng.normal(size=NPIX), fwhm=0.3) * 1e3
    temperature(path, data=hp.reorder(red, r2n=True) if claimed == "RING" else red, ORDERING=claimed)


BAD_MAPS = {
    "missing": (lambda p: None, "no such file"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "empty": (lambda p: p.write_bytes(b""), "file is empty"),
    "text": (lambda p: p.write_text("ell TT EE\n2 1 1\n"), "not a FITS file"),
    "zeros": (lambda p: p.write_bytes(bytes(5760)), "not a FITS file"),
    "png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40), "not a FITS file"),
    "no data": (lambda p: fits.PrimaryHDU().writeto(p), "no HEALPix table and no CAR image"),
    "plain image": (lambda p: fits.PrimaryHDU(np.zeros((4, 5))).writeto(p), "no HEALPix table and no CAR image"),
    "plain table": (plain_table, "not HEALPix maps"),
    "cut in the header": (lambda p: cut(p, 0.2), "sound FITS|no HEALPix"),
    "cut in the data": (lambda p: cut(p, 0.6), "not a sound FITS file"),
    "garbled header": (garbled, "not a sound FITS file"),
    "cut gzip": (cut_gzip, "not a sound FITS file"),
    "no ordering": (lambda p: temperature(p, ORDERING=None), "no ORDERING; say which with ordering="),
    "odd ordering": (lambda p: temperature(p, ORDERING="SPIRAL"), "'SPIRAL' is neither RING nor NESTED"),
    "ring is nested": (lambda p: smooth(p, "RING"), "in RING order .* smoother in NESTED"),
    "nested is ring": (lambda p: smooth(p, "NESTED"), "in NESTED order .* smoother in RING"),
    "no unit": (lambda p: temperature(p, unit=None), "no unit .* unit=K, mK or uK"),
    "unit unknown": (lambda p: temperature(p, unit="unknown"), "no unit .* unit=K, mK or uK"),
    "intensity": (lambda p: temperature(p, unit="MJy/sr"), "'MJy/sr' is not a CMB temperature"),
    "rayleigh-jeans": (lambda p: temperature(p, unit="K_RJ"), "'K_RJ' is not a CMB temperature"),
    "variance": (lambda p: temperature(p, unit="uK_CMB^2"), "not a CMB temperature"),
    "uK said to be K": (lambda p: temperature(p, unit="K"), "varies by .* about 100; give the true unit"),
    "uK said to be mK": (lambda p: temperature(p, unit="mK"), "varies by .* about 100; give the true unit"),
    "mK said to be uK": (lambda p: temperature(p, data=1e-3 * values()), "varies by .* about 100"),
    "short column": (lambda p: temperature(p, data=values(NPIX - 5)), f"{NPIX - 5} pixels, but nside 16 needs"),
    "wrong nside": (lambda p: temperature(p, NSIDE=32), f"{NPIX} pixels, but nside 32 needs"),
    "nside 12": (lambda p: temperature(p, data=values(1728), NSIDE=12), "power of two"),
    "nside 0": (lambda p: temperature(p, NSIDE=0), "power of two"),
    "nside negative": (lambda p: temperature(p, NSIDE=-16), "power of two"),
    "nside of text": (lambda p: temperature(p, NSIDE="many"), "power of two"),
    "no nside, odd length": (lambda p: temperature(p, data=values(1000), NSIDE=None), "not 12 nside²"),
    "no rows": (lambda p: temperature(p, data=np.zeros(0)), "no rows"),
    "q and u alone": (
        lambda p: table(p, [("Q_POLARISATION", "uK", values()), ("U_POLARISATION", "uK", values())]),
        "without a temperature column",
    ),
    "i and q alone": (lambda p: table(p, [("I", "uK", values()), ("Q", "uK", values())]), "only one of Q and U"),
    "nameless pair": (lambda p: table(p, [("A", "uK", values()), ("B", "uK", values())]), "none of the columns"),
    "complex": (lambda p: temperature(p, data=values() + 1j), "no real numbers"),
    "two nsides": (two_nsides, "different nside"),
    "all unseen": (lambda p: temperature(p, data=np.full(NPIX, hp.UNSEEN)), "no pixel of the map is observed"),
    "all nan": (lambda p: temperature(p, data=np.full(NPIX, np.nan)), "no pixel of the map is observed"),
    "odd polarisation": (lambda p: temperature(p, POLCCONV="LEFT"), "'LEFT' is neither COSMO nor IAU"),
    "pixel beyond the sky": (lambda p: partial(p, [1, 2, NPIX]), f"do not fit in 0 to {NPIX - 1}"),
    "pixel negative": (lambda p: partial(p, [-1, 2, 3]), "do not fit"),
    "pixel twice": (lambda p: partial(p, [5, 5, 6]), "more than once"),
    "pixel not whole": (lambda p: partial(p, [0.5, 1.0, 2.0]), "not whole"),
    "partial without nside": (lambda p: partial(p, [1, 2, 3], NSIDE=None), "without NSIDE"),
    "explicit without pixels": (lambda p: temperature(p, INDXSCHM="EXPLICIT"), "no column PIXEL"),
    "tangent plane": (lambda p: image(p, (20, 20), CTYPE1="RA---TAN", CTYPE2="DEC--TAN"), "is not CAR"),
    "oblique": (lambda p: image(p, (20, 20), CRVAL2=30.0), "oblique"),
    "two components": (lambda p: image(p, (2, 20, 20)), "1 .I. or 3 .I, Q, U. components, got 2"),
    "four axes": (lambda p: image(p, (2, 3, 20, 20)), "axes"),
    "stokes without i": (lambda p: image(p, (2, 20, 20), CTYPE3="STOKES", CRVAL3=2.0, CRPIX3=1.0), "no I"),
    "image too large": (lambda p: image(p, (20, 20), CDELT1=-40.0), "does not fit on the sky"),
    "no pixel size": (lambda p: image(p, (20, 20), CDELT1=0.0), "no pixel size"),
    "patch of border": (lambda p: image(p, (12, 12)), "borders?"),
    "car without unit": (lambda p: image(p, (20, 20), BUNIT=""), "no unit"),
}


def refused(call, path, says):
    """The MapError of a call: its message, which must be one line that begins with the file's name."""
    before = sorted(os.listdir(path.parent))
    with pytest.raises(MapError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    assert text.count(str(path)) == 1
    assert len(text) < len(str(path)) + 300
    assert caught.match(says)
    assert sorted(os.listdir(path.parent)) == before


@pytest.mark.parametrize("case", BAD_MAPS)
def test_bad_maps_are_refused_with_one_line(tmp_path, case):
    make, says = BAD_MAPS[case]
    path = tmp_path / ("m.fits.gz" if "gzip" in case else "m.fits")
    make(path)
    refused(lambda: read_map(path), path, says)


@pytest.mark.parametrize("flags", [{"unit": "MJy/sr"}, {"unit": "MK"}, {"ordering": "RINGS"}, {"polconv": "left"},
                                   {"nside": 12}, {"nside": 0}, {"nside": 32}])  # fmt: skip
def test_bad_flags_are_refused(tmp_path, flags):
    temperature(tmp_path / "m.fits")
    refused(lambda: read_map(tmp_path / "m.fits", **flags), tmp_path / "m.fits", "must be|nside 16, not 32")


@pytest.mark.parametrize("broken", ["empty", "text", "cut in the data", "no data", "wrong nside", "no ordering"])
def test_inspect_and_masks_refuse_broken_files_alike(tmp_path, broken):
    make, says = BAD_MAPS[broken]
    make(tmp_path / "m.fits")
    refused(lambda: inspect_map(tmp_path / "m.fits"), tmp_path / "m.fits", says)
    refused(lambda: read_mask(tmp_path / "m.fits", nside=NSIDE), tmp_path / "m.fits", says)


@pytest.mark.parametrize(
    ("data", "kwargs", "says"),
    [
        (values(), {}, "outside .0, 1."),
        (np.full(NPIX, 1.01), {}, "outside .0, 1."),
        (np.full(NPIX, -0.01), {}, "outside .0, 1."),
        (np.zeros(NPIX), {}, "zero everywhere"),
        (np.full(NPIX, np.nan), {}, "zero everywhere"),
        (np.ones(NPIX), {"column": 1}, "no column 1; the file has 1: TEMPERATURE"),
        (np.ones(NPIX), {"column": -1}, "no column -1"),
        (np.ones(NPIX), {"nside": 100}, "power of two"),
        (hp.reorder(1.0 * (np.arange(NPIX) < NPIX // 3), r2n=True), {}, "smoother in NESTED"),
    ],
)
def test_bad_masks_are_refused(tmp_path, data, kwargs, says):
    temperature(tmp_path / "m.fits", data=data, unit=None)
    refused(lambda: read_mask(tmp_path / "m.fits", **{"nside": NSIDE, **kwargs}), tmp_path / "m.fits", says)


def alm_table(path, index, real, imag):
    columns = [("index", None, index), ("real", None, real), ("imag", None, imag)]
    table(path, columns, NSIDE=None, ORDERING=None)


BAD_ALM = {
    "missing": (lambda p: None, "no such file"),
    "map": (temperature, "no alm here"),
    "no table": (lambda p: fits.PrimaryHDU().writeto(p), "no alm here"),
    "index of floats": (lambda p: alm_table(p, np.arange(3.0), np.zeros(3), np.zeros(3)), "no alm here"),
    "index from zero": (lambda p: alm_table(p, np.arange(3), np.zeros(3), np.zeros(3)), "at least 1"),
    "negative orders": (lambda p: alm_table(p, np.arange(1, 5), np.zeros(4), np.zeros(4)), "negative orders"),
    "one twice": (lambda p: alm_table(p, np.array([1, 3, 3]), np.zeros(3), np.zeros(3)), "one coefficient twice"),
    "index too large": (lambda p: alm_table(p, np.array([1, 3, 10**9]), np.zeros(3), np.zeros(3)), "too few for lmax"),
    "nan": (lambda p: alm_table(p, np.array([1, 3, 4]), np.full(3, np.nan), np.zeros(3)), "not finite"),
}


@pytest.mark.parametrize("case", BAD_ALM)
def test_bad_alm_are_refused(tmp_path, case):
    make, says = BAD_ALM[case]
    make(tmp_path / "a.fits")
    refused(lambda: read_alm(tmp_path / "a.fits"), tmp_path / "a.fits", says)


def test_tables_of_different_lmax_are_refused(tmp_path):
    for i, lmax in enumerate((4, 5)):
        hp.write_alm(str(tmp_path / f"{i}.fits"), np.ones(hp.Alm.getsize(lmax), dtype=complex))
    with fits.open(tmp_path / "0.fits") as a, fits.open(tmp_path / "1.fits") as b:
        fits.HDUList([a[0], a[1], b[1]]).writeto(tmp_path / "a.fits")
    refused(lambda: read_alm(tmp_path / "a.fits"), tmp_path / "a.fits", r"different lmax: \[4, 5\]")
