"""Theory: CAMB spectra, and lensed spectra for any lensing potential."""
