"""C_L^φφ of ΛsCDM over ΛCDM's, between the models that a fit interpolates between."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit.response_surface import CENTRE
from lensrec.stages import lambda_s
from lensrec.stages.lambda_s import MNU, NODES, _expansion, _matter_power, potential_ratios
from lensrec.theory.background import Background, background
from lensrec.theory.limber import MatterPower, limber_ratio_spectrum

LMAX = 3000
BASE = {name: CENTRE[name] for name in ("ombh2", "omch2", "thetastar")}
REFERENCE = background(**BASE, mnu=MNU)


@pytest.fixture(scope="module")
def power() -> MatterPower:
    """CAMB's P(k, z), once for all tests here."""
    return _matter_power(REFERENCE)


@pytest.fixture(scope="module")
def ratios(power: MatterPower) -> NDArray[np.float64]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lambda_s, "_matter_power", lambda reference: power)
        nodes, found = potential_ratios.__wrapped__(LMAX)
    np.testing.assert_array_equal(nodes, NODES)
    return found


def directly(power: MatterPower, z_dagger: float, transition: float | None = None) -> NDArray[np.float64]:
    model: Background = background(**BASE, mnu=MNU, z_dagger=z_dagger, transition=transition)
    return limber_ratio_spectrum(LMAX, _expansion(model), _expansion(REFERENCE), power)


def between(ratios: NDArray, z_dagger: float) -> NDArray[np.float64]:
    return np.array([np.interp(z_dagger**-3, NODES, column) for column in ratios.T])


def test_lcdm_is_the_first_node_and_is_reached_continuously(ratios: NDArray, power: MatterPower) -> None:
    np.testing.assert_array_equal(ratios[0], 1)
    assert ratios.shape == (len(NODES), LMAX + 1)
    # from z† = 30, where growth is begun, on, to ΛCDM: Λ is 1e-4 of matter there
    assert np.max(np.abs(directly(power, 29.0) - 1)) < 1e-4
    assert np.max(np.abs(between(ratios, 29.0) - 1)) < 1e-4


@pytest.mark.parametrize("z_dagger", [5.9, 4.5, 3.0, 2.05, 1.45])
def test_linear_between_nodes(ratios: NDArray, power: MatterPower, z_dagger: float) -> None:
    error = np.abs(between(ratios, z_dagger) / directly(power, z_dagger) - 1)[2:]
    # 2.5 % of the band powers' σ at best (2 %)
    assert np.max(error) < 7e-4
    assert np.max(np.abs(ratios[-1] - 1)) > 0.05


def test_every_earlier_switch_lenses_more(ratios: NDArray) -> None:
    at = ratios[:, 100]
    assert np.all(np.diff(at) > 0)


def test_smooth_switches_tend_to_the_abrupt_one(power: MatterPower) -> None:
    abrupt = directly(power, 2.2)
    steep, slow = directly(power, 2.2, 60.0), directly(power, 2.2, 3.0)
    # the sign is smeared over 1/ν on either side, which to first order cancels: twenty times steeper, (1/20)² of it
    away = np.max(np.abs(slow / abrupt - 1))
    assert away > 1e-3
    assert np.max(np.abs(steep / abrupt - 1)) < away / 20


def test_what_other_densities_would_give(power: MatterPower) -> None:
    """r − 1 follows ω_c by 3.4 times its relative change, of which P(k, z) of the reference leaves nearly all."""
    changed = {**BASE, "omch2": 1.01 * BASE["omch2"]}
    reference = background(**changed, mnu=MNU)
    model = background(**changed, mnu=MNU, z_dagger=2.0)
    found = limber_ratio_spectrum(LMAX, _expansion(model), _expansion(reference), power)[40:2001] - 1
    before = directly(power, 2.0)[40:2001] - 1
    assert 0.01 < np.max(np.abs(found / before - 1)) < 0.05
