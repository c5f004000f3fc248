"""The page of claims about negative neutrino masses, made by the pipeline `anomaly` and carried into docs."""

import shutil
from pathlib import Path

from lensrec.recipe_anomaly import AnomalyRecipe
from lensrec.run_lock import locked
from lensrec.sky.map_write import replacing
from lensrec.stages.anomaly import anomaly_run
from tests.validate.masked import say


def run(store: Path, docs: Path) -> None:
    """Run what is not there yet of the pipeline, and write docs/anomaly.md with its pictures."""
    plan, out = AnomalyRecipe.load("anomaly"), store / "anomaly"
    with locked(out):
        claims = anomaly_run(plan, out, command=("lensrec", "run", "anomaly"), progress=say)
    text = (out / "anomaly.md").read_text(encoding="utf-8")
    for picture in sorted((out / "pictures").glob("*.png")):
        shutil.copyfile(picture, docs / "pictures" / f"anomaly_{picture.name}")
        text = text.replace(f"(pictures/{picture.name})", f"(pictures/anomaly_{picture.name})")
    with replacing(docs / "anomaly.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    for claim in claims:
        print(f"{claim.id}: {claim.verdict}", flush=True)
