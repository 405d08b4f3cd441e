"""Print the oldest versions that pyproject.toml allows, as constraints for pip: `>=2.8` becomes `==2.8`.

`make oldest` installs them and runs the quick tests with them, so that the lower bounds stay true.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
lines = [*project["dependencies"]]
for extra in ("hub", "mlflow", "serve", "shards", "tensorboard", "test", "wandb"):
    lines += project["optional-dependencies"][extra]
for line in lines:
    requirement = Requirement(line)
    for specifier in requirement.specifier:
        if specifier.operator == ">=":
            print(f"{requirement.name}=={specifier.version}")
