"""Installs the release as the scenarios share it, so that none of them has to wait for it: `python -m tests.e2e`."""

import contextlib

from local import cache, tools
from tests.e2e import authority
from tests.e2e.cluster import Cluster
from tests.e2e.installation import install


def prepare(cluster: Cluster) -> None:
    """The release with all that it is told of; the cluster and the images must be there."""
    authority.ensure(cluster)
    install()


if __name__ == "__main__":
    with contextlib.closing(Cluster(str(cache.kubeconfig()), str(tools.path("kubectl")))) as reached:
        prepare(reached)
