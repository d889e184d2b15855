"""The start and the end of a run over the processes of several machines.

JAX's own distributed runtime does the work. Every process of a run is started with the same
command; on a TPU pod slice or under Slurm JAX finds out by itself who they are.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import jax
from absl import flags

from vaetx_jax.errors import ConfigError, UserError
from vaetx_jax.runtime import processes


def define_flags() -> None:
    """The flags of a command that may run on several machines."""
    flags.DEFINE_enum(
        "distributed",
        "auto",
        ("auto", "on", "off"),
        "Whether this process is one of several. auto: yes under --coordinator, Slurm, Open MPI or "
        "on a TPU pod slice; on: JAX must find the others.",
    )
    flags.DEFINE_string(
        "coordinator", "", "HOST:PORT of the first process; the same for all processes."
    )
    flags.DEFINE_integer("processes", 0, "The number of processes.", lower_bound=0)
    flags.DEFINE_integer("process_id", -1, "The number of this process, from 0.", lower_bound=-1)
    flags.DEFINE_integer(
        "connect_timeout",
        300,
        "Seconds to wait for the other processes at the start.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "heartbeat_timeout",
        100,
        "Seconds without a sign of life after which a process counts as lost.",
        lower_bound=1,
    )


def start() -> None:
    """Joins the other processes, if any; call it before anything else uses JAX.

    All but the first keep silent on standard output.

    Raises:
      ConfigError: the flags do not fit each other.
      UserError: the others did not come in time.
    """
    chosen = flags.FLAGS
    parts = (chosen.coordinator != "", chosen.processes > 0, chosen.process_id >= 0)
    if any(parts) and not all(parts):
        raise ConfigError("--coordinator, --processes and --process_id go together; give all three")
    if chosen.process_id >= chosen.processes > 0:
        raise ConfigError(
            f"--process_id={chosen.process_id}: of {chosen.processes} processes the last is "
            f"number {chosen.processes - 1}"
        )
    if any(parts) and chosen.distributed == "off":
        raise ConfigError("--distributed=off and --coordinator: leave one of them out")
    if chosen.distributed == "off" or (chosen.distributed == "auto" and not _cluster(any(parts))):
        return
    given: dict[str, Any] = {}
    if all(parts):
        given["coordinator_address"] = chosen.coordinator
        given["num_processes"], given["process_id"] = chosen.processes, chosen.process_id
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=chosen.connect_timeout,
            heartbeat_timeout_seconds=chosen.heartbeat_timeout,
        )
    except Exception as error:
        raise UserError(
            f"--distributed={chosen.distributed}: the processes did not come together "
            f"({' '.join(str(error).split())[:300]}). Start all of them with the same command "
            "within --connect_timeout seconds; --distributed=off runs this one alone"
        ) from error
    # Their connections are made by the first message, for which CPU processes wait 30 s at most;
    # the first process may soon be busy for minutes, fetching a folder.
    processes.barrier("the start")
    if not processes.is_first():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # to the end


def _cluster(given: bool) -> bool:
    """Whether flags or environment announce several processes."""
    sizes = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    several = any(int(os.environ.get(name, "1")) > 1 for name in sizes)
    return given or several or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def first_does(work: Callable[[], None]) -> None:
    """Runs `work` on the first process while the others wait.

    Raises:
      UserError: on the others, whatever the first process raised.
    """
    raised = None
    if processes.is_first():
        try:
            work()
        except Exception as error:  # the others must not wait for one that has left
            raised = error
    failed = processes.from_first(_describe(raised) if raised else None)
    if raised:
        raise raised
    if failed:
        raise UserError(f"process 0: {failed}")


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def leave() -> None:
    """Leaves the other processes; each is alone from here on."""
    if jax.process_count() > 1:
        processes.barrier("the end of training")
        jax.distributed.shutdown()
