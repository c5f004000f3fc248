"""What is written is what healpy reads, and it is there as a whole or not at all."""

import os

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from lensrec.sky.io import MapError, read_alm, read_map, replacing, write_alm, write_map

NSIDE = 16


def maps():
    return np.random.default_rng(0).normal(size=(3, 12 * NSIDE**2)) * 50.0


def alm(n, lmax, dtype=np.complex128):
    rng = np.random.default_rng(1)
    out = rng.normal(size=(n, hp.Alm.getsize(lmax))) + 1j * rng.normal(size=(n, hp.Alm.getsize(lmax)))
    return out.astype(dtype)


@pytest.mark.parametrize("name", ["m.fits", "m.fits.gz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_healpy_reads_what_write_map_wrote(tmp_path, name, dtype):
    write_map(tmp_path / name, maps(), coord="G", extra_header=[("SEED", 7, "of the sky")], dtype=dtype)
    got, header = hp.read_map(tmp_path / name, field=None, h=True)
    np.testing.assert_array_equal(got, maps().astype(dtype))
    cards = dict(header)
    assert cards["POLCCONV"] == "COSMO"
    assert cards["ORDERING"] == "RING"
    assert cards["COORDSYS"] == "G"
    assert cards["SEED"] == 7
    assert [cards[f"TUNIT{i}"] for i in (1, 2, 3)] == ["uK_CMB"] * 3
    assert cards["TTYPE2"] == "Q_POLARISATION"
    np.testing.assert_array_equal(read_map(tmp_path / name).maps, maps().astype(dtype))
    assert os.listdir(tmp_path) == [name]


def test_one_map_with_its_own_name_and_no_unit(tmp_path):
    write_map(tmp_path / "k.fits", maps()[0] * 1e-3, unit="", column_names=["KAPPA"])
    got, header = hp.read_map(tmp_path / "k.fits", h=True)
    np.testing.assert_array_equal(got, (maps()[0] * 1e-3).astype(np.float32))
    assert dict(header)["TTYPE1"] == "KAPPA"
    assert "TUNIT1" not in dict(header)
    assert "POLCCONV" not in dict(header)


def test_unseen_pixels_come_back_unobserved(tmp_path):
    m = maps()
    m[:, :10] = hp.UNSEEN
    write_map(tmp_path / "m.fits", m)
    got = read_map(tmp_path / "m.fits")
    assert np.flatnonzero(~got.observed).tolist() == list(range(10))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_alm_both_ways_with_healpy(tmp_path, dtype, n):
    a = alm(n, 23, dtype)
    write_alm(tmp_path / "a.fits", a, unit="uK_CMB")
    theirs = hp.read_alm(str(tmp_path / "a.fits"), hdu=tuple(range(1, n + 1)))
    # m = 0 is kept as it is, imaginary part too: nothing is lost on the way
    np.testing.assert_array_equal(np.atleast_2d(theirs), a)
    ours = read_alm(tmp_path / "a.fits")
    assert ours.dtype == dtype
    np.testing.assert_array_equal(np.atleast_2d(ours), a)
    hp.write_alm(str(tmp_path / "b.fits"), list(a), overwrite=True)
    np.testing.assert_array_equal(np.atleast_2d(read_alm(tmp_path / "b.fits")), a)


def test_alm_cut_in_m_are_filled_with_zeros(tmp_path):
    a = alm(1, 10)[0]
    hp.write_alm(str(tmp_path / "a.fits"), a, mmax=4)
    m = hp.Alm.getlm(10)[1]
    np.testing.assert_array_equal(read_alm(tmp_path / "a.fits"), np.where(m <= 4, a, 0))


def test_alm_tables_have_names_and_headers(tmp_path):
    write_alm(tmp_path / "a.fits", alm(3, 5), extra_header=[("SIM", 4, "number")])
    with fits.open(tmp_path / "a.fits") as hdus:
        assert [h.name for h in hdus[1:]] == ["T", "E", "B"]
        assert [h.header["SIM"] for h in hdus[1:]] == [4, 4, 4]
        assert hdus[1].header["MAX-LPOL"] == 5


def test_large_multipoles_keep_their_index(tmp_path):
    """ℓ² + ℓ + m + 1 of ℓ = 3000 passes 2²³, where a float32 square root would slip by one."""
    lmax = 3000
    a = np.zeros(hp.Alm.getsize(lmax), dtype=np.complex64)
    a.real = np.arange(len(a)) % 8191
    write_alm(tmp_path / "a.fits", a)
    np.testing.assert_array_equal(read_alm(tmp_path / "a.fits"), a)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "m.fits"
    write_map(path, maps())
    before = path.read_bytes()

    def fail_halfway():
        with replacing(path) as temporary, open(temporary, "wb") as out:
            out.write(b"half a map")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.fits"]


def test_a_file_that_is_there_is_replaced(tmp_path):
    write_map(tmp_path / "m.fits", maps())
    write_map(tmp_path / "m.fits", 2.0 * maps()[0])
    assert read_map(tmp_path / "m.fits").maps.shape == (1, 12 * NSIDE**2)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros(100), "npix = 12 nside²"),
        (np.zeros((2, 192)), "npix = 12 nside²"),
        (np.zeros((1, 3, 192)), "npix = 12 nside²"),
        (np.full(192, np.nan), "not finite"),
        (np.full((3, 192), np.inf), "not finite"),
    ],
)
def test_bad_maps_are_not_written(tmp_path, bad, says):
    with pytest.raises(MapError, match=says):
        write_map(tmp_path / "m.fits", bad)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros(7, dtype=complex), "fits no lmax"),
        (np.zeros(6), "complex"),
        (np.full(6, np.nan + 0j), "not finite"),
        (np.zeros((1, 1, 6), dtype=complex), "complex"),
    ],
)
def test_bad_alm_are_not_written(tmp_path, bad, says):
    with pytest.raises(MapError, match=says):
        write_alm(tmp_path / "a.fits", bad)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(MapError, match="cannot be written"):
        write_map(tmp_path / "no" / "m.fits", maps())
    with pytest.raises(MapError, match="cannot be written"):
        write_alm(tmp_path / "no" / "a.fits", alm(1, 3))
