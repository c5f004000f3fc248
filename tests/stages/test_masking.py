"""The mask of a recipe: its parts multiply, and it is of the map's own sky."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from lensrec.recipe import Mask
from lensrec.sky.masks import apodise, galactic_cut
from lensrec.stages.masking import mask_of

NSIDE = 32
NPIX = 12 * NSIDE**2


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A mask file in celestial coordinates that lets the northern half pass."""
    file = tmp_path / "half.fits"
    hp.write_map(file, (np.arange(NPIX) < NPIX / 2).astype(np.float32), coord="C", dtype=np.float32)
    return file


def test_a_whole_sky_has_no_mask() -> None:
    assert mask_of(Mask(), NSIDE) is None
    assert mask_of(Mask(galactic_cut=0.0), NSIDE) is None
    assert mask_of(Mask(), NSIDE, observed=np.ones(NPIX, dtype=bool)) is None


def test_file_cut_and_unobserved_pixels_multiply_and_are_apodised_together(half: Path) -> None:
    observed = np.arange(NPIX) > NPIX / 20
    north = (np.arange(NPIX) < NPIX / 2).astype(float)
    expected = north * galactic_cut(NSIDE, np.radians(10.0)) * observed
    sharp = mask_of(Mask(file=half, galactic_cut=10, apodisation=0), NSIDE, observed=observed)
    np.testing.assert_array_equal(sharp, expected)
    soft = mask_of(Mask(file=half, galactic_cut=10, apodisation=7), NSIDE, observed=observed)
    # which of two holes at one distance is nearer is rounding
    np.testing.assert_allclose(soft, apodise(expected, np.radians(7.0)), atol=1e-14)
    assert not np.array_equal(soft, sharp)


def test_a_map_with_holes_is_masked_without_being_asked() -> None:
    observed = np.arange(NPIX) > 500
    np.testing.assert_array_equal(mask_of(Mask(apodisation=0), NSIDE, observed=observed), observed.astype(float))


def test_a_mask_file_of_another_nside_will_do(half: Path) -> None:
    fine = mask_of(Mask(file=half, apodisation=0), 2 * NSIDE)
    assert fine is not None
    assert fine.shape == (4 * NPIX,)
    assert abs(fine.mean() - 0.5) < 1e-12


def test_coordinates_must_be_those_of_the_map(half: Path) -> None:
    mask = Mask(file=half, apodisation=0)
    for coord in ("C", "", None):
        assert mask_of(mask, NSIDE, coord=coord) is not None
    with pytest.raises(ValueError, match=r"half\.fits: the mask is in coordinates C, the map in G; rotate one of them"):
        mask_of(mask, NSIDE, coord="G")


def test_the_galaxy_is_cut_out_of_galactic_maps_alone() -> None:
    for coord in ("G", "", None):
        assert mask_of(Mask(galactic_cut=10), NSIDE, coord=coord) is not None
    with pytest.raises(ValueError, match=r"mask\.galactic_cut: 10 deg .* the map is in coordinates C"):
        mask_of(Mask(galactic_cut=10), NSIDE, coord="C")


def test_a_mask_that_leaves_nothing_is_refused(half: Path) -> None:
    with pytest.raises(ValueError, match=r"half\.fits: nothing of what the map has observed is left"):
        mask_of(Mask(file=half), NSIDE, observed=np.arange(NPIX) > NPIX / 2)
