"""The one device mesh: where the axis is named, and how arrays lie on it.

The mesh has one axis, `data`: batches are split over it, the state is on every device. It is built
with `Mesh` and not with `jax.make_mesh`, whose axes are Explicit by default, under which linen's
Embed fails.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaetx_jax.errors import ConfigError

DATA_AXIS = "data"


def data_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """All devices of all processes (or those given) in one axis."""
    return Mesh(np.asarray(devices or jax.devices()), (DATA_AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_data(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_batch_size(key: str, batch_size: int, mesh: Mesh) -> None:
    """Refuses a global batch that the devices do not divide.

    Raises:
      ConfigError: names the key and the nearest sizes that would do.
    """
    devices = mesh.size
    if batch_size % devices:
        below = batch_size // devices * devices
        sizes = f"{below} or {below + devices}" if below else f"{devices}"
        raise ConfigError(
            f"config.{key} = {batch_size}: {devices} devices do not divide it; take {sizes}"
        )


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A process's share of a batch as global arrays split over the mesh."""
    sharding = split_over_data(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def put_replicated(tree: Any, mesh: Mesh) -> Any:
    """Host arrays as global arrays, the same on every device of every process."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )
