"""Third parties' entries: a real distribution in a folder of its own, good and broken."""

from __future__ import annotations

import subprocess
import sys

GOOD = """
from ogive import define

@define(cite="nobody2026mine", aliases=("mine_too",))
def mine(x):
    '''A third party's function.'''
    return x * x / (1 + x * x)

@define
def relu(x):
    return x
"""
CODE = """
import warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import ogive
    ogive.catalogue.entries()
print(ogive.get("mine_too")(2.0), ogive.catalogue.mine.name, ogive.get("relu")(-1.0))
print(ogive.define("x*mine(x)")(2.0))
for p in ogive.catalogue.plugins():
    print(p.to_dict())
for w in said:
    print("WARNED", w.message)
"""


def test_good_entries_are_added_and_broken_ones_reported(tmp_path):
    (tmp_path / "third_party.py").write_text(GOOD)
    (tmp_path / "third_broken.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / "third_odd.py").write_text("THINGS = [3, __import__('ogive').define('x + 1')]\n")
    meta = tmp_path / "third_party-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(
        "[ogive.activations]\ngood = third_party\nbroken = third_broken\nodd = third_odd:THINGS\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "0.8 mine 0.0" and lines[1] == "1.6"
    assert "'entries': ['mine']" in done.stdout
    warned = [line for line in lines if line.startswith("WARNED")]
    assert len(warned) == 4
    assert any("good" in w and "'relu' is taken" in w for w in warned)
    assert any("broken" in w and "ModuleNotFoundError" in w and "skipped" in w for w in warned)
    assert any("odd" in w and "int where" in w for w in warned) and any("has no name" in w for w in warned)
