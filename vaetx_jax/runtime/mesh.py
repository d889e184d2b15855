"""The device mesh: its one axis, and the placement of arrays on it.

The mesh has one axis, `data`: batches are split over it, and the state is on every device or, with
`mesh.shard_state`, its large arrays are split, too. It is built
with `Mesh` and not with `jax.make_mesh`, whose axes are Explicit by default, under which linen's
Embed fails.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vaetx_jax.errors import ConfigError

DATA_AXIS = "data"
LEAST_SPLIT = 2**14  # elements of an array; one that is smaller is cheaper kept than fetched


def data_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """All devices of all processes (or those given) in one axis."""
    return Mesh(np.asarray(devices or jax.devices()), (DATA_AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_data(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def split_longest(shape: tuple[int, ...], mesh: Mesh, *, least: int = LEAST_SPLIT) -> NamedSharding:
    """Splits along the longest axis that the devices divide; replicates if there is none.

    Args:
      least: arrays of fewer elements are replicated.
    """
    axes = [axis for axis, size in enumerate(shape) if size % mesh.size == 0]
    if mesh.size == 1 or not axes or math.prod(shape) < least:
        return replicated(mesh)
    longest = max(axes, key=lambda axis: shape[axis])
    return NamedSharding(mesh, PartitionSpec(*[None] * longest, DATA_AXIS))


def process_share(mesh: Mesh) -> tuple[int, int]:
    """(this process's number among those of the mesh, how many they are)."""
    numbers = sorted({device.process_index for device in mesh.devices.flat})
    return numbers.index(jax.process_index()), len(numbers)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Replicates arrays of the mesh over its devices; replicated ones are returned as they are."""
    sharding = replicated(mesh)
    if all(leaf.sharding == sharding for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.jit(lambda tree: tree, out_shardings=sharding)(tree)


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
