"""The allocator setting: what it says it set, what it changes, and when it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ogive.errors import OgiveError
from ogive.kernels import allocator
from ogive.kernels.allocator import AllocatorError, AllocatorSettings, glibc, large_outputs

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")

# Page faults of a large result tell whether it got used memory or fresh pages.
WHERE = """
import json, resource, sys
import torch
torch.set_num_threads(1)
{setting}
x = torch.ones(10_000_000)
for _ in range(40):  # the first ones climb: glibc's thread cache holds the crumbs between them, seven of each size
    torch.relu(x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.relu(x)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def faults(setting, **environment):
    """Page faults of a later result of 40 MB in a new process."""
    code = WHERE.format(setting=setting)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout)


@on_linux
@pytest.mark.parametrize(
    ("setting", "environment"),
    [
        ("from ogive.kernels.allocator import large_outputs; large_outputs()", {}),
        ("from ogive.kernels.allocator import large_outputs; large_outputs(upto=2**30)", {}),
        ("", allocator.ENVIRONMENT),
    ],
    ids=["large_outputs", "upto", "environment"],
)
def test_a_large_result_gets_used_memory(setting, environment):
    fresh = faults("")
    kept = faults(setting, **environment)
    assert kept < 100 < fresh


@on_linux
def test_importing_ogive_sets_nothing():
    assert faults("import ogive, ogive.kernels.allocator; ogive.get('mish')(torch.ones(4))") > 100


@on_linux
def test_it_says_what_it_set():
    code = "from ogive.kernels.allocator import large_outputs as f; print([f().to_dict(), f(upto=2**25).to_dict()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version = glibc()
    all_of_it = AllocatorSettings(version, 0, None, -1).to_dict()
    assert done.stdout.strip() == str([all_of_it, AllocatorSettings(version, None, 2**25, -1).to_dict()])


@pytest.mark.parametrize("upto", [0, -1, 2**31, 1.5, "1e9", True])
def test_a_wrong_size_is_quoted(upto):
    with pytest.raises(AllocatorError, match=r"large_outputs\(upto=") as caught:
        large_outputs(upto=upto)
    assert repr(upto) in str(caught.value)


def test_another_system_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(AllocatorError, match="this system is darwin"):
        large_outputs()


@on_linux
def test_another_allocator_is_refused(monkeypatch):
    real = Path.read_text
    maps = "7f00-7f01 r-xp 00000000 00:00 0 /usr/lib/libtcmalloc.so.4\n"
    monkeypatch.setattr(Path, "read_text", lambda p, **kw: maps if str(p) == "/proc/self/maps" else real(p, **kw))
    with pytest.raises(OgiveError, match="allocates with tcmalloc"):
        large_outputs()
