#!/usr/bin/env python3
"""Runs a command as several processes of one run on this machine, to try what many hosts do.

    python launch/local_processes.py 2 -- python -m vaetx_jax.main --config=configs/grammar.py \
        --workdir=runs/two

Each process gets --coordinator, --processes and --process_id. Every line says whose it is. SIGINT
and SIGTERM go to all of them. The exit status is the first one that is not 0; where one process is
lost the others end by themselves within --heartbeat_timeout, and 75 means 'resume me', as always.
With --devices=D each process forces D CPU devices.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tell(number: int, process: subprocess.Popen) -> None:
    """Passes on a process's lines with its number before each."""
    for line in process.stdout:
        sys.stdout.write(f"[{number}] {line}")
        sys.stdout.flush()


def start(command: list[str], count: int, devices: int) -> list[subprocess.Popen]:
    """Starts the processes of one run."""
    port, environment = free_port(), os.environ | {"JAX_PLATFORMS": "cpu"}
    if devices:
        forced = f"--xla_force_host_platform_device_count={devices}"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {forced}".strip()
    flags = ["--distributed=on", f"--coordinator=127.0.0.1:{port}", f"--processes={count}"]
    return [
        subprocess.Popen(
            [*command, *flags, f"--process_id={number}"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C reaches them once, through us
        )
        for number in range(count)
    ]


def main() -> int:
    """Runs them to their end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int, help="how many processes")
    parser.add_argument("--devices", type=int, default=0, help="CPU devices of each; 0: one")
    parser.add_argument("command", nargs="+", help="-- and the command")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("at least one process")
    running = start(options.command, options.count, options.devices)

    def pass_on(signal_number: int, frame: object) -> None:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal_number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    tellers = [threading.Thread(target=tell, args=pair) for pair in enumerate(running)]
    for teller in tellers:
        teller.start()
    statuses = [process.wait() for process in running]
    for teller in tellers:
        teller.join()
    for number, status in enumerate(statuses):
        if status:
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            print(f"process {number} {how}", file=sys.stderr)
    worst = [128 - status if status < 0 else status for status in statuses if status]
    return worst[0] if worst else 0


if __name__ == "__main__":
    sys.exit(main())
