"""SACC files of band powers: nothing is lost on the way, and other people's readers find what they expect."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sacc

from lensrec.sky.map_header import MapError
from lensrec.spectra.linear_data import LinearData, combined
from lensrec.spectra.sacc_file import read_sacc, write_sacc

LMAX = {"TT": 90, "TE": 90, "EE": 90, "BB": 80, "PP": 70}
ELL = np.arange(91.0)
D_PER_C = ELL * (ELL + 1) / (2 * np.pi)
KAPPA_PER_PHI = (ELL * (ELL + 1)) ** 2 / 4
PHI_SCALING = (ELL * (ELL + 1)) ** 2 / (2 * np.pi)
NAMES = {"TT": ("cl_00", "cmb_s0", "cmb_s0"), "TE": ("cl_0e", "cmb_s0", "cmb_s2"), "EE": ("cl_ee", "cmb_s2", "cmb_s2")}
NAMES |= {"BB": ("cl_bb", "cmb_s2", "cmb_s2"), "PP": ("cl_00", "ck", "ck")}
# two products with rounded numbers, back and forth, are within two units in the last place each
ROUND_TRIP = 1e-15


def _data(seed: int = 1, lensing: float = 1.0) -> LinearData:
    """Band powers of every block, in D_ℓ and [L(L+1)]²C_L/2π, with leakage, corrections and offset."""
    rng = np.random.default_rng(seed)
    edges = np.array([2, 15, 35, 60, 71])
    block = np.repeat(list(NAMES), 4)
    n = len(block)
    windows = {key: np.zeros((n, lmax + 1)) for key, lmax in LMAX.items()}
    for i, key in enumerate(block.tolist()):
        low, high = edges[i % 4], edges[i % 4 + 1]
        bump = np.where(np.isin(ELL, np.arange(low, high)), rng.uniform(0.5, 1.5, 91), 0.02 * rng.standard_normal(91))
        bump[:2] = 0.0
        bump /= bump[: LMAX[key] + 1].sum()
        scaling = lensing * PHI_SCALING if key == "PP" else D_PER_C
        windows[key][i] = (bump * scaling)[: LMAX[key] + 1]
    for here, there in (("EE", "BB"), ("BB", "EE")):
        rows = np.flatnonzero(block == here)
        windows[there][rows] = 0.01 * rng.standard_normal((4, LMAX[there] + 1))
    windows["TT"][0, :2] = 0.3, 0.7  # a window that reaches the monopole and the dipole
    corrections = {key: np.zeros((n, LMAX[key] - 5)) for key in ("TT", "EE", "PP")}
    for matrix in corrections.values():
        matrix[block == "PP"] = rng.standard_normal((4, matrix.shape[1]))
    root = rng.standard_normal((n, n))
    return LinearData(
        name="a mask with 6% of the sky, β",
        block=block,
        low=np.tile(edges[:-1], 5),
        high=np.tile(edges[1:] - 1, 5),
        centre=rng.uniform(2, 90, n),
        mean=rng.standard_normal(n) * 10.0 ** rng.uniform(-8, 3, n),
        covariance=root @ root.T,
        windows=windows,
        corrections=corrections,
        offset=rng.standard_normal(n) * (block == "PP"),
        metadata={"units": "µK²", "nside": 512, "f_sky": 0.1 + 0.2, "empty": "", "purified": True},
    )


def _spectra(seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.uniform(1, 2, 91) for key in LMAX}


def _assert_same(one: LinearData, other: LinearData) -> None:
    assert (one.name, dict(one.metadata)) == (other.name, dict(other.metadata))
    np.testing.assert_array_equal(one.block, other.block)
    for name in ("low", "high", "centre", "offset"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    for name in ("mean", "covariance"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=ROUND_TRIP, atol=0)
    for kind in ("windows", "corrections"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert sorted(mine) == sorted(theirs)
        for key in mine:
            np.testing.assert_allclose(mine[key], theirs[key], rtol=ROUND_TRIP, atol=0)


@pytest.mark.parametrize("lensing", [1.0, 1e7, 3.3])
def test_round_trip(tmp_path: Path, lensing: float) -> None:
    data = _data(lensing=lensing)
    write_sacc(tmp_path / "b.sacc.fits", data)
    _assert_same(read_sacc(tmp_path / "b.sacc.fits"), data)
    assert [path.name for path in tmp_path.iterdir()] == ["b.sacc.fits"]


def test_round_trip_of_blocks_out_of_order_and_of_one_band_power(tmp_path: Path) -> None:
    data = _data()
    order = np.random.default_rng(5).permutation(len(data))
    shuffled = LinearData(
        "shuffled",
        *(getattr(data, name)[order] for name in ("block", "low", "high", "centre", "mean")),
        covariance=data.covariance[np.ix_(order, order)],
        windows={key: matrix[order] for key, matrix in data.windows.items()},
        corrections={key: matrix[order] for key, matrix in data.corrections.items()},
        offset=data.offset[order],
    )
    single = data.selected(np.arange(len(data)) == 17)
    twice = replace(combined(data, _data(2)), metadata={"sets": 2})
    for i, one in enumerate((shuffled, single, twice)):
        write_sacc(tmp_path / f"{i}.fits", one)
        _assert_same(read_sacc(tmp_path / f"{i}.fits"), one)


def test_other_readers_find_spectra_as_their_likelihoods_expect(tmp_path: Path) -> None:
    """Windows of the CMB on D_ℓ from ℓ = 2, of lensing on C_L^κκ from L = 0: what MFLike and SOLikeT multiply."""
    data = _data()
    path = tmp_path / "b.sacc.fits"
    beam = np.exp(-1e-4 * ELL**2)
    write_sacc(path, data, beams={"T": beam})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = sacc.Sacc.load_fits(str(path))
    assert content.metadata["nside"] == 512
    np.testing.assert_array_equal(content.tracers["cmb_s0"].beam, beam)
    spins = {name: (content.tracers[name].spin, content.tracers[name].quantity) for name in ("cmb_s0", "cmb_s2", "ck")}
    assert spins == {"cmb_s0": (0, "cmb_temperature"), "cmb_s2": (2, "cmb_polarization"), "ck": (0, "cmb_convergence")}
    theory = _spectra()
    for block, (kind, *pair) in NAMES.items():
        rows = np.flatnonzero(data.block == block)
        ell, mean, covariance, index = content.get_ell_cl(kind, *pair, return_cov=True, return_ind=True)
        np.testing.assert_array_equal(ell, data.centre[rows])
        window = content.get_bandpower_windows(index)
        first = 0 if block == "PP" else 2
        np.testing.assert_array_equal(window.values, np.arange(first, LMAX["PP"] + 1 if block == "PP" else 91))
        factor = np.pi / 2 if block == "PP" else 1.0  # from [L(L+1)]²C^φφ/2π to C^κκ
        np.testing.assert_allclose(mean, factor * data.mean[rows], rtol=ROUND_TRIP)
        np.testing.assert_allclose(covariance, factor**2 * data.covariance[np.ix_(rows, rows)], rtol=ROUND_TRIP)
        acted_on = (KAPPA_PER_PHI if block == "PP" else D_PER_C) * theory[block]
        own = data.windows[block][rows, first:] @ theory[block][first : LMAX[block] + 1]
        # a sum of 90 terms of either sign, none above 2·10³ times the total
        np.testing.assert_allclose(window.weight.T @ acted_on[window.values], factor * own, rtol=1e-12)
        np.testing.assert_allclose(window.weight.sum(axis=0), 1.0, rtol=1e-12)


def test_a_file_that_sacc_cut_and_saved_again_keeps_its_corrections(tmp_path: Path) -> None:
    data = _data()
    write_sacc(tmp_path / "b.fits", data)
    content = sacc.Sacc.load_fits(str(tmp_path / "b.fits"))
    keep = np.array([1, 9, 10, 14, 17, 19])
    content.keep_indices(keep)
    content.save_fits(str(tmp_path / "cut.fits"))
    _assert_same(read_sacc(tmp_path / "cut.fits"), data.selected(np.isin(np.arange(len(data)), keep)))


def test_files_of_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    content = sacc.Sacc()
    content.add_tracer("Map", "dr_150_s0", quantity="cmb_temperature", spin=0, ell=ELL, beam=ELL)
    content.add_tracer("Map", "dr_150_s2", quantity="cmb_polarization", spin=2, ell=ELL, beam=ELL)
    content.add_tracer("Map", "kappa", quantity="cmb_convergence", spin=0, ell=ELL, beam=ELL)
    content.add_tracer("Map", "gal", quantity="galaxy_density", spin=0, ell=ELL, beam=ELL)
    ell = np.arange(2, 62)
    weight = np.zeros((60, 3))
    for band in range(3):
        weight[20 * band : 20 * band + 20, band] = 1 / 20
    window = sacc.BandpowerWindow(ell, weight)
    hat = sacc.windows.TopHatWindow(10, 20)
    content.add_ell_cl("cl_00", "gal", "gal", [5.0, 6.0, 7.0], [1.0, 2.0, 3.0], window=window)
    content.add_ell_cl("cl_00", "dr_150_s0", "dr_150_s0", [11.0, 31.0, 51.0], [4.0, 5.0, 6.0], window=window)
    content.add_ell_cl("cl_0e", "dr_150_s0", "dr_150_s2", [11.0, 31.0, 51.0], [7.0, 8.0, 9.0], window=window)
    content.add_ell_cl("cl_eb", "dr_150_s2", "dr_150_s2", [11.0, 31.0, 51.0], [0.0, 0.0, 0.0], window=window)
    content.add_ell_cl("cmb_convergence_cl", "kappa", "kappa", [14.5], [10.0], window=[hat])
    root = rng.standard_normal((13, 13))
    covariance = root @ root.T
    content.add_covariance(covariance)
    content.save_fits(str(tmp_path / "theirs.fits"))
    data = read_sacc(tmp_path / "theirs.fits")
    keep = [3, 4, 5, 6, 7, 8, 12]
    assert data.block.tolist() == ["TT"] * 3 + ["TE"] * 3 + ["PP"]
    np.testing.assert_array_equal(data.mean, np.arange(4.0, 11.0))
    np.testing.assert_array_equal(data.covariance, covariance[np.ix_(keep, keep)])
    np.testing.assert_array_equal(data.low, [2, 22, 42, 2, 22, 42, 10])
    np.testing.assert_array_equal(data.high, [21, 41, 61, 21, 41, 61, 19])
    assert not data.offset.any()
    assert not data.corrections
    # D_ℓ = ℓ and C^κκ = L averaged over a band are the mean multipole
    safe = np.where(ELL > 0, ELL, 1.0)
    flat = {"TT": ELL * 2 * np.pi / (safe * (safe + 1)), "PP": ELL * 4 / (safe * (safe + 1)) ** 2}
    flat["TE"] = -flat["TT"]
    np.testing.assert_allclose(data.expected(flat), [11.5, 31.5, 51.5, -11.5, -31.5, -51.5, 14.5], rtol=1e-13)


def test_what_cannot_be_read_or_written_is_refused_in_one_line(tmp_path: Path) -> None:
    data = _data()
    path = tmp_path / "b.fits"
    write_sacc(path, data)
    whole = path.read_bytes()
    blocks = len(whole) // 2880
    for end in (*range(1, blocks), *(blocks - 0.5, 7.3, 40.01)):  # of every table, and within some
        (tmp_path / "cut.fits").write_bytes(whole[: int(end * 2880)])
        with pytest.raises(MapError, match=r"cut\.fits: .*fetch or write it again$") as caught:
            read_sacc(tmp_path / "cut.fits")
        assert "\n" not in str(caught.value)
    (tmp_path / "text.fits").write_text("ell cl\n2 1000\n" * 300)
    from astropy.table import Table

    Table({"ell": [1, 2]}).write(tmp_path / "table.fits")
    bare = sacc.Sacc()
    bare.add_tracer("Misc", "a")
    bare.add_data_point("cl_00", ("a", "a"), 1.0, ell=3.0)
    bare.save_fits(str(tmp_path / "bare.fits"))
    bare.add_covariance(np.eye(1))
    bare.save_fits(str(tmp_path / "windowless.fits"))
    galaxies = sacc.Sacc()
    galaxies.add_tracer("Misc", "a")
    galaxies.add_data_point("galaxy_density_cl", ("a", "a"), 1.0, ell=3.0)
    galaxies.add_covariance(np.eye(1))
    galaxies.save_fits(str(tmp_path / "galaxies.fits"))
    reasons = {"text": "not a FITS file", "table": "is FITS, but not SACC", "none": "no such file"}
    reasons |= {"bare": "has no covariance", "windowless": "has no window", "galaxies": "no band powers of TT"}
    for name, reason in reasons.items():
        with pytest.raises(MapError, match=rf"{name}\.fits: .*{reason}"):
            read_sacc(tmp_path / f"{name}.fits")
    with pytest.raises(ValueError, match="covariance holds a value that is not finite"):
        write_sacc(path, replace(data, covariance=data.covariance * np.nan))
    assert path.read_bytes() == whole


def test_size_at_lmax_3000(tmp_path: Path) -> None:
    """150 band powers with leakage and all corrections: windows of 3001 numbers in double precision, each once."""
    block = np.repeat(["TT", "TE", "EE", "BB", "PP"], 30)
    n, lmax = len(block), 3000
    rng = np.random.default_rng(1)
    windows = {key: np.zeros((n, lmax + 1)) for key in LMAX}
    for key, matrix in windows.items():
        rows = np.isin(block, ["EE", "BB"]) if key in ("EE", "BB") else block == key
        matrix[rows, 2:] = rng.standard_normal((rows.sum(), lmax - 1))
    corrections = {key: np.where((block == "PP")[:, None], rng.standard_normal((n, lmax + 1)), 0.0) for key in LMAX}
    edges = np.tile(np.arange(30) * 100, 5)
    data = LinearData("large", block, edges, edges + 99, edges + 50.0, np.ones(n), np.eye(n), windows, corrections)
    write_sacc(tmp_path / "large.fits", data)
    # windows, leakage and corrections; the multipoles of each table, with a beam for tracers; covariance, headers
    stored = 8 * (lmax + 1) * (30 * 5 + 2 * 30 + 5 * 30 + 5 + 2 * 10) + 8 * n**2 + 100 * n + 25 * 2 * 2880
    assert (tmp_path / "large.fits").stat().st_size < stored < 10e6
    _assert_same(read_sacc(tmp_path / "large.fits"), data)
