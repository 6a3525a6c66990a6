"""requirements.lock pins what pyproject.toml asks for, at versions that it allows."""

import tomllib

from packaging.requirements import Requirement

from tests.common import ROOT


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    versions = {_plain(name): version for name, version in pinned.items()}
    asked = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    for requirement in map(Requirement, asked):
        if requirement.name != project["name"]:
            assert requirement.specifier.contains(versions[_plain(requirement.name)]), requirement


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
