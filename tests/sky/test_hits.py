"""Uneven noise: patterns of hits, and the level that a mask leaves."""

import healpy as hp
import numpy as np
import pytest

from lensrec.sky.hits import POLES, relative_noise, scan_hits
from lensrec.sky.masks import apodise, galactic_cut


@pytest.mark.parametrize("pole", POLES)
def test_hits_are_most_at_the_poles(pole: str) -> None:
    """Against healpy's rotation of the same latitude; mean 1; poles over equator √(1 + 0.3²)/0.3."""
    hits = scan_hits(32, pole)
    assert hits.mean() == pytest.approx(1.0, rel=1e-12)
    rotator = hp.Rotator(coord=["G", {"ecliptic": "E", "equatorial": "C"}[pole]])
    latitude = np.pi / 2 - rotator(*hp.pix2ang(32, np.arange(len(hits))))[0]
    expected = 1 / np.sqrt(np.cos(latitude) ** 2 + 0.09)
    # the pole is rounded to 0.0005 degrees; hits change by less than 6 per radian
    np.testing.assert_allclose(hits / hits.max(), expected / expected.max(), atol=1e-4)
    assert 3.3 < hits.max() / hits.min() < 3.5


def test_the_level_is_kept_under_the_mask() -> None:
    """Of an apodised mask, where w² is not in proportion to w."""
    hits, mask = scan_hits(16, "ecliptic"), 0.7 * apodise(galactic_cut(16, 0.5), 0.5)
    noise = relative_noise(hits, mask)
    assert np.average(noise**2, weights=mask**2) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(noise**2 * hits, (noise**2 * hits)[0], rtol=1e-12)  # goes as hits^-1/2
    np.testing.assert_allclose(relative_noise(np.full(12, 3.0)), 1.0, rtol=1e-15)


def test_bad_hits_are_named() -> None:
    with pytest.raises(ValueError, match="ecliptic, equatorial"):
        scan_hits(8, "galactic")
    with pytest.raises(ValueError, match="finite and not negative"):
        relative_noise(np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="1 pixels that the mask keeps have no hits"):
        relative_noise(np.array([1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0]))
