"""Nodes of a Ray cluster that do not have this program, or have another version of it.

Without asking, all that is seen of them is that the process of a trial died.
"""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

from nwb_latents.pipeline.cluster.strangers import ANSWER_SECONDS, VERSION, own_version, strangers


def remedy_for_strange_nodes(address: str, *, version: str = VERSION) -> str:
    """Ask every node for its version of this program; return what is wrong and what to do, or nothing.

    What is asked needs nothing but Python and Ray on the node.

    Parameters
    ----------
    address
        Address of the cluster, which this program is connected to.
    version
        What is asked for.
    """
    import ray  # noqa: PLC0415
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

    ask = ray.remote(num_cpus=0, max_retries=0)(pkgutil.resolve_name)
    asked = {
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            version
        ): f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"]
    }
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    found = strangers({asked[each]: _answer(each) for each in done}, what="node")
    if not found:
        return ""
    ray_here = Path(sys.prefix) / "bin" / "ray"
    return (
        f"Ray at {address}: {found}. Install nwb-latents {own_version()} in the environment Ray runs in "
        f"there, or start it there in this one, with `{ray_here} start --address={address}`."
    )


def _answer(asked: object) -> object:
    import ray  # noqa: PLC0415

    try:
        return ray.get(asked)
    except ray.exceptions.RayTaskError as error:
        return error.cause
    except ray.exceptions.RayError as error:
        return error
