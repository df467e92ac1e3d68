"""The connection to Ray: what is wrong is said at once."""

from __future__ import annotations

import socket

import pytest

from xdrec_agent.batch.cluster import ClusterError, cluster

pytest.importorskip("ray")


@pytest.mark.filterwarnings("ignore")  # Ray's own, while it is imported
def test_a_cluster_that_is_not_there_is_an_error_with_a_hint():
    """An address at which nothing listens is told with what to look at, and Ray is not even asked."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ClusterError, match="nothing listens there") as raised, cluster(f"127.0.0.1:{port}"):
        pass
    assert "ray status" in raised.value.hint
