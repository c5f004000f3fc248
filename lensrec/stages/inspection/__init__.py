"""Inspect: what a file or a run directory holds, as facts, spectra and a picture. Nothing is written."""

from lensrec.stages.inspection.look import Inspection, TextImage, inspect_file
from lensrec.stages.inspection.runs import inspect_folder

__all__ = ["Inspection", "TextImage", "inspect_file", "inspect_folder"]
