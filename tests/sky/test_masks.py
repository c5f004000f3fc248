"""Masks: apodisation against a direct search over all holes and against the formula on a cap; moments; shapes."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.sky.io import read_mask, write_map
from lensrec.sky.masks import apodise, disc, galactic_cut, mask_moments


def _profile(x: NDArray, kind: str) -> NDArray:
    x = np.minimum(x, 1.0)
    if kind == "C1":
        return x - np.sin(2.0 * np.pi * x) / (2.0 * np.pi)
    return 0.5 * (1.0 - np.cos(np.pi * x))


def _x(distance: NDArray, width: float) -> NDArray:
    return np.sqrt((1.0 - np.cos(distance)) / (1.0 - np.cos(width)))


def _direct(mask: NDArray, width: float, kind: str) -> NDArray:
    """Every pixel against every hole."""
    nside = hp.npix2nside(len(mask))
    vectors = np.stack(hp.pix2vec(nside, np.arange(len(mask))), axis=-1)
    chord = np.linalg.norm(vectors[:, None] - vectors[None, mask == 0], axis=-1).min(axis=1)
    return mask * _profile(_x(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)), width), kind)


@pytest.mark.parametrize("kind", ["C1", "C2"])
@pytest.mark.parametrize("width", [0.05, 0.4, 2.5])
@pytest.mark.parametrize("nside", [1, 4, 32])
def test_apodise_against_a_direct_search(nside: int, width: float, kind: str) -> None:
    rng = np.random.default_rng(11)
    mask = rng.uniform(0.1, 1.0, 12 * nside**2)
    # scattered single holes, and whole discs whose inside is far from any edge
    mask[rng.choice(len(mask), max(1, len(mask) // 300), replace=False)] = 0.0
    if nside > 4:
        mask[hp.query_disc(nside, hp.ang2vec(0.1, 1.0), 0.35)] = 0.0
        mask[hp.query_disc(nside, hp.ang2vec(1.9, 4.0), 0.25)] = 0.0
    # in the direct sum 1 − cos d is rounded by 1e-16 of 1, at the smallest width 1e-13 of itself
    assert np.max(np.abs(apodise(mask, width, kind=kind) - _direct(mask, width, kind))) < 1e-12


def test_holes_across_cells_of_the_search() -> None:
    """At nside 128 the search sorts cells of 32² pixels; a hole fills some of them to the very edge."""
    nside = 128
    mask = np.ones(12 * nside**2)
    filled = hp.nest2ring(nside, np.arange(5 * 1024, 7 * 1024))
    mask[filled] = 0.0
    distance = np.full(len(mask), 4.0)
    vectors = np.stack(hp.pix2vec(nside, np.arange(len(mask))), axis=-1)
    near = np.flatnonzero(vectors @ vectors[filled].mean(axis=0) > 0.8)
    for part in np.array_split(near, 40):
        chord = np.linalg.norm(vectors[part, None] - vectors[None, filled], axis=-1).min(axis=1)
        distance[part] = 2.0 * np.arcsin(chord / 2.0)
    width = 0.1
    # rounding of 1 − cos d, as above
    assert np.max(np.abs(apodise(mask, width) - mask * _profile(_x(distance, width), "C2"))) < 1e-12


@pytest.mark.parametrize("kind", ["C1", "C2"])
def test_apodised_cap_follows_the_profile(kind: str) -> None:
    nside, edge, width = 256, 0.5, 0.2
    theta, _ = hp.pix2ang(nside, np.arange(12 * nside**2))
    mask = (theta > edge).astype(float)
    out = apodise(mask, width, kind=kind)
    # the nearest hole's centre is somewhat inside the edge, by at most the size of a pixel
    low = np.maximum(theta - edge, 0.0)
    high = low + 2.0 * hp.max_pixrad(nside)
    seen = mask > 0
    assert np.all(out[seen] >= _profile(_x(low[seen], width), kind) - 1e-14)
    assert np.all(out[seen] <= _profile(_x(high[seen], width), kind) + 1e-14)
    assert np.all(out[~seen] == 0.0)
    assert np.all(out[theta > edge + width] == 1.0)
    # it is a function of distance: not constant over the ramp
    assert np.ptp(out[(theta > edge) & (theta < edge + width)]) > 0.99


def test_moments_of_an_apodised_cap() -> None:
    nside, edge, width = 256, 0.5, 0.2
    theta, _ = hp.pix2ang(nside, np.arange(12 * nside**2))
    moments = mask_moments(apodise((theta > edge).astype(float), width))
    node, weight = np.polynomial.legendre.leggauss(60)
    ramp = edge + width * (1.0 + node) / 2.0
    profile = _profile(_x(ramp - edge, width), "C2")
    for got, power in ((moments.w1, 1), (moments.w2, 2), (moments.w4, 4)):
        on_ramp = np.sum(weight * width / 2.0 * np.sin(ramp) * profile**power) / 2.0
        # the distance is from pixel centres, on average 0.4 of a pixel (4e-3 rad) inside the edge, on a rim of
        # sin(0.5)/2 = 0.24 per rad: up to 5e-4 of the sphere
        assert abs(got - on_ramp - (np.cos(edge + width) + 1.0) / 2.0) < 5e-4
    # a cap's share, quantised by rings 3.3e-3 wide, half of that times 0.24
    assert abs(moments.fsky - (1.0 + np.cos(edge)) / 2.0) < 4e-4
    assert moments.w1 > moments.w2 > moments.w4


def test_moments_of_numbers() -> None:
    moments = mask_moments(np.array([0.0, 1.0, 0.5, 0.25], dtype=np.float32))
    assert moments == (1.75 / 4, (1 + 0.25 + 0.0625) / 4, (1 + 0.0625 + 0.00390625) / 4, 0.75)


def test_nothing_to_apodise() -> None:
    weights = np.linspace(0.2, 1.0, 12 * 16)
    np.testing.assert_array_equal(apodise(weights, 0.3), weights)
    np.testing.assert_array_equal(apodise(np.zeros(48), 0.3), np.zeros(48))
    holed = weights.copy()
    holed[7] = 0.0
    np.testing.assert_array_equal(apodise(holed, 0.0), holed)


def test_apodise_leaves_its_input_alone_and_holes_empty() -> None:
    mask = disc(32, 1.0, 2.0, 0.6)
    before = mask.copy()
    out = apodise(mask, 0.2)
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_array_equal(out == 0.0, mask == 0.0)
    assert 0.0 < out[mask > 0].min() < out.max() == 1.0


def test_threads_change_nothing() -> None:
    mask = galactic_cut(64, 0.4)
    np.testing.assert_array_equal(apodise(mask, 0.1, nthreads=1), apodise(mask, 0.1, nthreads=2))


def test_galactic_cut() -> None:
    nside, latitude = 128, np.radians(20.0)
    mask = galactic_cut(nside, latitude)
    theta, _ = hp.pix2ang(nside, np.arange(12 * nside**2))
    np.testing.assert_array_equal(mask, (np.abs(np.pi / 2 - theta) >= latitude).astype(float))
    # rings are 2/(3 nside) = 5.2e-3 apart in cos θ; on both sides the edge falls within half a step
    assert abs(mask.mean() - (1.0 - np.sin(latitude))) < 5.3e-3
    assert galactic_cut(4, 0.0).all()


def test_disc() -> None:
    nside, theta, phi, radius = 64, 1.1, 5.0, 0.3
    mask = disc(nside, theta, phi, radius)
    vectors = np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)), axis=-1)
    distance = np.arccos(np.clip(vectors @ hp.ang2vec(theta, phi), -1.0, 1.0))
    np.testing.assert_array_equal(mask, (distance <= radius).astype(float))
    assert disc(8, 0.0, 0.0, np.pi).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: apodise(np.ones(48), 0.1, kind="C3"), 'must be "C1" or "C2", got \'C3\''),
        (lambda: apodise(np.ones(48), -0.1), "width of apodisation must be from 0 to pi"),
        (lambda: apodise(np.ones(50), 0.1), "12 nside"),
        (lambda: apodise(np.ones((3, 48)), 0.1), "12 nside"),
        (lambda: apodise(np.full(48, 2.0), 0.1), "between 0 and 1, got 2 to 2"),
        (lambda: apodise(np.full(48, -1.0), 0.1), "between 0 and 1"),
        (lambda: apodise(np.full(48, np.nan), 0.1), "between 0 and 1"),
        (lambda: galactic_cut(16, np.pi / 2), "latitude"),
        (lambda: galactic_cut(16, -0.1), "latitude"),
        (lambda: disc(16, 0.0, 0.0, 0.0), "radius"),
    ],
)
def test_errors_are_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("nside", [32, 64])
@pytest.mark.parametrize("cut", [3, 5, 8, 10, 12, 20, 40])
def test_a_cut_of_any_width_is_read_back(cut: float, nside: int, tmp_path: Path) -> None:
    """Its pixels follow each other in RING order, which must not be taken for a sign of the other ordering."""
    mask = apodise(galactic_cut(nside, np.radians(cut)), np.radians(1.0))
    write_map(tmp_path / "mask.fits", mask, unit="", column_names=["MASK"], dtype=np.float64)
    np.testing.assert_allclose(read_mask(tmp_path / "mask.fits", nside=nside), mask, atol=1e-12)


@pytest.mark.parametrize("nside", [32, 64])
@pytest.mark.parametrize("radius", [10, 40])
def test_a_disc_in_the_wrong_ordering_is_found(radius: float, nside: int, tmp_path: Path) -> None:
    mask = np.zeros(12 * nside**2)
    mask[hp.query_disc(nside, hp.ang2vec(100, -60, lonlat=True), np.radians(radius))] = 1.0
    write_map(tmp_path / "mask.fits", hp.reorder(mask, r2n=True), unit="", column_names=["MASK"])
    with pytest.raises(ValueError, match="NESTED"):
        read_mask(tmp_path / "mask.fits", nside=nside)
