"""The quick half of lensrec's proofs, run on the user's own machine."""

from lensrec.stages.selftest.checks import CHECKS, Check, Outcome, run_checks
from lensrec.stages.selftest.device import device_checks

__all__ = ["CHECKS", "Check", "Outcome", "device_checks", "run_checks"]
