"""The list of breaks. It was decided before any of them was tried; a break that survives stays, and gets its test."""

from tests.mutate.breaks import bias, blind, blind_stages, filtering, fit, quadratic, runs, sky, spectra, sphere, theory

BREAKS = (
    *sphere.BREAKS,
    *theory.BREAKS,
    *sky.BREAKS,
    *filtering.BREAKS,
    *quadratic.BREAKS,
    *bias.BREAKS,
    *spectra.BREAKS,
    *fit.BREAKS,
    *runs.BREAKS,
    *blind.BREAKS,
    *blind_stages.BREAKS,
)
