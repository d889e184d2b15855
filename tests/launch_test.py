"""The launch scripts: what they would do, and that the supervisor does it."""

import contextlib
import fnmatch
import os
import pathlib
import signal
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
LAUNCH = REPOSITORY / "launch"
SCRIPTS = ["gpu_node.sh", "slurm.sbatch", "supervise.sh", "tpu_vm.sh"]


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(LAUNCH / script), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", [*SCRIPTS, "module.sh"])
def test_bash_can_read_it(script):
    done = subprocess.run(["bash", "-n", str(LAUNCH / script)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_command_it_says_what_is_missing(script):
    done = run(script)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script}: ")


@pytest.mark.parametrize("script", ["gpu_node.sh", "supervise.sh", "tpu_vm.sh"])
def test_what_it_does_not_know_is_named(script):
    done = run(script, "--wrong")
    assert done.returncode == 2 and "--wrong" in done.stderr


# Dry runs ---------------------------------------------------------------------------------------

TPU = ("--dry-run", "--name=vae", "--zone=us-west4-a", "--type=v5litepod-16")
FLAGS = ("--", "--config=configs/ptb.py", "--workdir=~/shared/ptb")


def test_the_tpu_script_prints_every_command_of_the_whole_way():
    done = run("tpu_vm.sh", *TPU, "--spot", "--mount=bucket", "all", *FLAGS)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "tpu-vm create vae --zone=us-west4-a" in lines[0] and lines[0].endswith("--spot ")
    for words in ("archive", "scp", "pip\\ install", "gcsfuse", "vaetx_jax.main", "delete vae"):
        assert any(words in line for line in lines), words
    trains = [line for line in lines if "vaetx_jax.main" in line]
    assert len(trains) == 2, "at first, and after a preemption"
    assert "--worker=all" in trains[0] and "--distributed=on" in trains[0]
    assert "HOME/shared/ptb" in trains[0] and "supervise.sh" in trains[0]


@pytest.mark.parametrize("verb", ["create", "copy", "install", "run", "stop", "watch", "delete"])
def test_every_verb_of_the_tpu_script_has_a_dry_run(verb):
    done = run("tpu_vm.sh", *TPU, "--project=mine", verb, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "--project=mine" in done.stdout and "gcloud compute tpus tpu-vm" in done.stdout


def test_the_tpu_script_wants_a_type_to_create_one():
    done = run("tpu_vm.sh", "--name=vae", "--zone=z", "create")
    assert done.returncode == 2 and "--type" in done.stderr


def test_the_slurm_job_starts_a_process_a_task_and_is_queued_again():
    done = run("slurm.sbatch", *FLAGS[1:], DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("srun ") and "--distributed=on" in done.stdout
    assert "scontrol requeue" in done.stdout


def test_a_slurm_process_has_all_gpus_of_its_node():
    done = run("slurm.sbatch", *FLAGS[1:], DRY_RUN="1", SLURM_GPUS_ON_NODE="4")
    assert "with the GPUs 0,1,2,3 of its node" in done.stdout


def test_the_tpu_script_looks_at_the_python_it_is_given():
    done = run("tpu_vm.sh", "--name=vae", "--zone=z", "--python=python3.12", "--dry-run", "install")
    assert done.stdout.count("python3.12") == 2 and "python3.11" not in done.stdout


def test_the_gpu_script_supervises_one_process():
    done = run("gpu_node.sh", "--dry-run", "--gpus=0,1", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "-m vaetx_jax.main --distributed=off --config=configs/ptb.py" in done.stdout


MODULES = {
    ("study", "--config=a"): "-m vaetx_jax.study --distributed={} --config=a",
    ("main", "--config=a"): "-m vaetx_jax.main --distributed={} --config=a",
    ("--config=a",): "-m vaetx_jax.main --distributed={} --config=a",
    ("evaluate", "--workdir=a"): "-m vaetx_jax.evaluate --workdir=a",
    ("benchmarks.train_step", "--model=a"): "-m benchmarks.train_step --model=a",
}


@pytest.mark.parametrize("words", MODULES)
@pytest.mark.parametrize("script", ["gpu_node.sh", "slurm.sbatch", "tpu_vm.sh"])
def test_every_script_starts_the_module_that_stands_after_the_dashes(script, words):
    own = {"gpu_node.sh": ("--dry-run",), "tpu_vm.sh": (*TPU, "run")}.get(script, ())
    done = run(script, *own, "--", *words, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    wanted = MODULES[words].format("off" if script == "gpu_node.sh" else "on")
    assert f"{wanted} " in done.stdout.replace("\\ ", " ")


def test_a_grid_under_slurm_goes_on_without_a_host_that_fails():
    assert "--kill-on-bad-exit=0" in run("slurm.sbatch", "study", "--config=a", DRY_RUN="1").stdout
    assert "--kill-on-bad-exit=1" in run("slurm.sbatch", "--config=a", DRY_RUN="1").stdout


def test_the_tpu_script_installs_what_a_bucket_needs():
    done = run("tpu_vm.sh", *TPU, "install")
    printed = done.stdout.replace("\\", "")
    assert "'.[tpu,gcs]'" in printed and "--constraint" in printed


# The image and the jobs of Kubernetes ------------------------------------------------------------


def jobs() -> list[dict]:
    yaml = pytest.importorskip("yaml", reason="no library that reads YAML is installed")
    return list(yaml.safe_load_all((LAUNCH / "gke.yaml").read_text(encoding="utf-8")))


def job_specs() -> dict[str, dict]:
    """Name -> the spec of its Job."""
    found = {}
    for job in jobs():
        spec = job["spec"]
        inner = spec["replicatedJobs"][0]["template"]["spec"] if "replicatedJobs" in spec else spec
        found[job["metadata"]["name"]] = inner
    return found


def test_the_jobs_are_of_the_kinds_that_they_say_they_are():
    kinds = {job["metadata"]["name"]: (job["apiVersion"], job["kind"]) for job in jobs()}
    jobset = ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert kinds == {
        "vaetx-grid": ("batch/v1", "Job"),
        "vaetx-gpus": jobset,
        "vaetx-tpu": jobset,
    }


@pytest.mark.parametrize("name", ["vaetx-grid", "vaetx-gpus", "vaetx-tpu"])
def test_a_job_is_resumed_by_75_and_ended_by_the_users_errors(name):
    spec = job_specs()[name]
    exits = {
        status: rule["action"]
        for rule in spec["podFailurePolicy"]["rules"]
        for status in rule.get("onExitCodes", {}).get("values", [])
    }
    assert exits == {75: "Ignore", 1: "FailJob", 2: "FailJob"}
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "a policy of failures needs it"
    (container,) = pod["containers"]
    assert {rule.get("onExitCodes", {}).get("containerName", container["name"]) for rule in
            spec["podFailurePolicy"]["rules"]} == {container["name"]}  # fmt: skip
    words = " ".join(container["args"])
    grace = float(words.partition("--grace=")[2].split()[0])
    assert grace < pod["terminationGracePeriodSeconds"]
    assert "--workdir=gs://" in words and spec["completions"] == spec["parallelism"]


def dockerfile() -> list[str]:
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_runs_as_nobody_of_note_and_has_a_healthcheck():
    lines = dockerfile()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["vaetx"]
    assert any("vaetx_jax.runtime.health" in line for line in lines if "HEALTHCHECK" in line)
    install = next(line for line in lines if "pip install" in line)
    assert "--constraint" in install and "$DEVICE" in install


def test_the_image_copies_what_exists_and_is_not_kept_out_of_it():
    ignore = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    copied = [
        source for line in dockerfile() if line.startswith("COPY ") for source in line.split()[1:-1]
    ]
    assert len(copied) >= 8
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), source


# The supervisor ---------------------------------------------------------------------------------


def test_a_ctrl_c_reaches_the_command_once_being_in_a_session_of_its_own():
    code = "import os; print(os.getsid(0) == os.getpid())"
    done = run("supervise.sh", "--", sys.executable, "-c", code)
    assert done.stdout.strip() == "True"


def counting(tmp_path: pathlib.Path, script: str) -> list[str]:
    """A command that notes its process id in `starts`, a line per start, then does the script."""
    return ["bash", "-c", f"echo $$ >> {tmp_path}/starts; {script}"]


def starts(tmp_path: pathlib.Path) -> int:
    return len((tmp_path / "starts").read_text().splitlines())


@pytest.mark.parametrize("status", [0, 1, 2])
def test_what_starting_again_would_not_help_is_passed_on(tmp_path, status):
    done = run("supervise.sh", "--pause=0", "--", *counting(tmp_path, f"exit {status}"))
    assert (done.returncode, starts(tmp_path)) == (status, 1)


@pytest.mark.parametrize("end", ["exit 134", "kill -9 $$", "exit 75"])
def test_an_abort_is_started_again_until_it_is_done(tmp_path, end):
    script = f"[ $(wc -l < {tmp_path}/starts) -ge 3 ] || {{ {end}; }}"
    done = run("supervise.sh", "--pause=0", "--", *counting(tmp_path, script))
    assert (done.returncode, starts(tmp_path)) == (0, 3)
    assert "start 3 of 10" in done.stderr


def test_it_gives_up_after_so_many_starts_in_a_row(tmp_path):
    done = run("supervise.sh", "--pause=0", "--tries=4", "--", *counting(tmp_path, "exit 134"))
    assert (done.returncode, starts(tmp_path)) == (134, 4)
    assert "giving up" in done.stderr


@pytest.fixture
def supervised(tmp_path):
    """Starts the supervisor with a counted script; ends whatever of it is left after the test."""
    processes = []

    def start(script: str, *flags: str) -> subprocess.Popen:
        command = ["bash", str(LAUNCH / "supervise.sh"), *flags, "--", *counting(tmp_path, script)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    # The supervisor leads one process group, and each start of the command another.
    started = tmp_path / "starts"
    groups = [process.pid for process in processes if process.poll() is None]
    groups += [int(line) for line in started.read_text().split()] if started.exists() else []
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for process in processes:
        process.communicate()


# Waits for a signal without a child process that a signal could miss.
LISTENING = "trap 'exit 75' TERM; echo ready; while :; do read -t 1 < <(:); done"


def test_asked_to_stop_it_asks_the_command_and_does_not_start_again(tmp_path, supervised):
    process = supervised(LISTENING, "--pause=0")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert (process.wait(), starts(tmp_path)) == (75, 1)


def test_a_command_that_ends_in_the_moment_of_the_signal_keeps_its_status(tmp_path, supervised):
    supervisor = "$(ps -o ppid= -p $PPID)"
    process = supervised(f"trap '' TERM; kill -TERM {supervisor}; exit 75", "--pause=0")
    assert (process.wait(), starts(tmp_path)) == (75, 1)


def test_a_command_that_the_signal_ends_is_to_be_resumed(tmp_path, supervised):
    process = supervised("echo ready; while :; do read -t 1 < <(:); done", "--pause=0")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert (process.wait(), starts(tmp_path)) == (75, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_in_a_pause_it_does_not_start_again(tmp_path, supervised, number):
    process = supervised("exit 134", "--pause=300")
    assert "start 2 of 10" in process.stderr.readline()
    process.send_signal(number)
    assert (process.wait(), starts(tmp_path)) == (75, 1)


# Several processes on this machine --------------------------------------------------------------


def local(count: int, code: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(LAUNCH / "local_processes.py"), str(count), "--"]
    return subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )


def test_each_process_gets_its_number_and_the_same_coordinator():
    done = local(3, "import sys; print(*sys.argv[1:])")
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert [line[:3] for line in lines] == ["[0]", "[1]", "[2]"]
    assert [line.rpartition("=")[2] for line in lines] == ["0", "1", "2"]
    assert len({line.split("--coordinator=")[1].split()[0] for line in lines}) == 1


def test_the_status_of_the_process_that_failed_is_passed_on_and_said():
    done = local(2, "import sys; sys.exit(75 * sys.argv[-1].endswith('1'))")
    assert done.returncode == 75
    assert "process 1 ended with status 75" in done.stderr
