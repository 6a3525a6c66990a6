"""torch.hub checks `dependencies` before it loads: they are what the loaded code imports."""

import subprocess
import sys

from tests.common import ROOT

# Every module of the project that the entries load, and the packages that these modules name in imports.
PROGRAM = """
import ast, sys
sys.path.insert(0, ".")
import hubconf
import container.header, engine.build, engine.checkpoint, engine.own.hiding, models
from pathlib import Path
found = set()
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None)
    if file and Path(file).is_relative_to(Path.cwd()) and "site-packages" not in file:
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
own = {path.stem for path in Path.cwd().iterdir()}
print(*sorted(found - own - set(sys.stdlib_module_names)))
print(*sorted(hubconf.dependencies))
"""


def test_dependencies_hold_all_that_is_imported():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    imported, declared = (line.split() for line in done.stdout.splitlines())
    assert len(imported) > 8 and set(imported) <= set(declared), done.stderr
