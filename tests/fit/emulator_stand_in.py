"""A cosmology in closed form, smooth in all nine parameters, that takes CAMB's place where an emulator is tested."""

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.emulator import scaled
from lensrec.fit.emulator_points import Box, EmulatorPoint, cmb_knots, potential_knots
from lensrec.fit.emulator_training import amplitude

LMAX = 200


def stand_in(point: EmulatorPoint) -> NDArray[np.float64]:
    """As `emulator_points.evaluate`: peaks and slopes, and C_L^φφ that masses and dark energy change."""
    box = Box()
    x = np.array(point.x)
    b, c, theta, log_a, ns, tau, mass, pivot, wa = scaled(x, box)
    ell, big_l = cmb_knots(point.lmax).astype(float), potential_knots(point.lmax).astype(float)
    damping = amplitude(x, box) * np.exp(-((ell / 900) ** 2)) / (ell * (ell + 1))
    # four shapes, whose coefficients all nine parameters change
    shapes = np.array([np.cos(ell / 45), 0.3 * np.sin(ell / 45), np.log(ell / 300), 10 / (ell + 8)])
    changes = np.array([0.1 * b + 0.03 * b * c, 0.1 * theta + 0.05 * c, 0.03 * ns + 0.05 * mass, 0.1 * mass + 0.1 * wa])
    changes[3] += 0.2 * tau + 0.2 * pivot * (1 + 0.3 * wa)
    tt = 5e3 * damping * (1.5 + 0.8 * shapes[0] + changes @ shapes)
    te = 3e2 * damping * (np.sin(ell / 45) + changes @ shapes)
    ee = 60 * damping * (1.2 - 0.8 * shapes[0] + changes @ shapes)
    ln_phi = np.log(1.4e-8) - 3 * np.log(big_l) - np.log1p((big_l / 60) ** 1.4) + x[3] - 3.05
    ln_phi += 0.12 * c - 0.3 * mass * (1 + 0.1 * np.log(big_l / 100)) + 0.02 * ns * np.log(big_l / 100)
    ln_phi += -0.1 * pivot + 0.05 * pivot * wa + 0.02 * log_a * np.log1p(big_l / 1000)
    hubble = 67 * np.exp(0.05 * theta - 0.1 * mass - 0.2 * pivot - 0.05 * c)
    return np.concatenate([tt, te, ee, ln_phi, [hubble, 0.143 / (hubble / 100) ** 2]])
