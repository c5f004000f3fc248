import pytest

from lensrec.theory.boltzmann import camb_spectra


@pytest.fixture(scope="session")
def theory():
    """The fiducial cosmology to l = 4000."""
    return camb_spectra(4000, cosmology={})
