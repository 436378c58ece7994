"""The same numbers from a cluster of two nodes as from one process."""

from pathlib import Path

import pytest

from ogive.bench.engines import EngineError, Here, OnRay
from ogive.bench.run import prepare

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
REQUEST = {"task": "tiny_task:TASK", "acts": "relu,tanh", "seeds": 4, "steps": 12}


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(Path(__file__).parent)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def outcomes(results):
    return {t.key: (t.status, t.score, t.curve) for t in results.trials}


def test_two_nodes_give_the_numbers_of_one_process(cluster, tmp_path):
    here = prepare(REQUEST, tmp_path / "here", resume=False, command="").run(Here())
    ray.init(cluster.address, log_to_driver=False)
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    ray.shutdown()
    far = prepare(REQUEST, tmp_path / "ray", resume=False, command="", engine=OnRay(None, 2))
    results = far.run(OnRay(None, 2))
    assert not ray.is_initialized()
    assert outcomes(results) == outcomes(here) and len(results.trials) == 2 * (2 + 4)
    assert results.config["machine"]["engine"] == "ray"


def test_a_run_stopped_on_a_cluster_goes_on(cluster, tmp_path):
    def stop(event, trial):
        if event == "done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(REQUEST, tmp_path, resume=False, command="").run(OnRay(None, 2), stop)
    results = prepare({}, tmp_path, resume=True, command="").run(OnRay(None, 2))
    assert len(results.trials) == 12 and {t.status for t in results.trials} == {"ok"}


def test_an_address_without_a_cluster_is_reported(tmp_path):
    with pytest.raises(EngineError, match=r"ray://127.0.0.1:1 cannot be reached"):
        prepare(REQUEST, tmp_path, resume=False, command="").run(OnRay("ray://127.0.0.1:1", 1))
