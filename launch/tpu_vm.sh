#!/usr/bin/env bash
# Runs a command on a Cloud TPU VM or pod slice, on all its workers.
#
#   launch/tpu_vm.sh [--dry-run] OPTIONS VERB [-- [MODULE] FLAGS]
#
# MODULE is main (the default), study or any other module (launch/module.sh).
#
#   create    makes the TPU (and waits until it is there)
#   copy      copies what is committed here to every worker
#   install   makes the environment on every worker, whose image needs Python 3.11 or newer with venv
#             (--python=python3.11 names it; the default is python3)
#   run       starts the command on every worker, under supervise.sh, and shows its output
#   stop      asks it to save and leave
#   watch     run; where the TPU was preempted: delete, create, copy, install and run again
#   delete    deletes the TPU
#   all       create, copy, install and watch
#
#   --name=NAME --zone=ZONE --type=v5litepod-16 [--project=PROJECT]
#   [--version=v2-alpha-tpuv5-lite] [--python=python3] [--spot] [--mount=BUCKET]
#
# The run's folder is --workdir=gs://BUCKET/RUN, which all workers see and which survives them.
# --mount=BUCKET mounts a bucket as ~/shared on each worker besides (with gcsfuse), for the text files
# that data.* name. --dry-run prints every command and runs none.
set -eu

name='' zone='' type='' project='' version=v2-alpha-tpuv5-lite spot='' mount='' python=python3 dry_run='' verb=''
while [ $# -gt 0 ]; do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --mount=*) mount=${1#*=} ;;
    --spot) spot=--spot ;;
    --python=*) python=${1#*=} ;;
    --dry-run) dry_run=1 ;;
    --) shift; break ;;
    create|copy|install|run|stop|watch|delete|all) verb=$1 ;;
    *) echo "tpu_vm.sh: what is '$1'? See the top of this file" >&2; exit 2 ;;
  esac
  shift
done
fail() { echo "tpu_vm.sh: $*" >&2; exit 2; }
[ -n "$verb" ] || fail "say what to do: create, copy, install, run, stop, watch, delete or all"
if [ -z "$name" ] || [ -z "$zone" ]; then fail "--name and --zone are missing"; fi
case $verb in
  create|watch|all) [ -n "$type" ] || fail "--type is missing, for instance --type=v5litepod-16" ;;
esac
case $verb in
  run|watch|all) [ $# -gt 0 ] || fail "give at least -- --config=... --workdir=gs://..." ;;
esac

here=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=launch/module.sh
. "$here/launch/module.sh"
where=(--zone="$zone")
[ -n "$project" ] && where+=(--project="$project")

do_it() {
  if [ -n "$dry_run" ]; then printf '%q ' "$@"; echo; else "$@"; fi
}
tpu() { # VERB ARGUMENTS: on the TPU
  local what=$1
  shift
  do_it gcloud compute tpus tpu-vm "$what" "$name" "${where[@]}" "$@"
}
everywhere() { tpu ssh --worker=all --command="$1"; }

create() { tpu create --accelerator-type="$type" --version="$version" ${spot:+"$spot"}; }

copy() {
  local archive
  archive=$(mktemp -d)/vaetx_jax.tar.gz
  do_it git -C "$here" archive --format=tar.gz --output="$archive" HEAD
  do_it gcloud compute tpus tpu-vm scp "$archive" "$name:vaetx_jax.tar.gz" "${where[@]}" --worker=all
  everywhere 'mkdir -p vaetx_jax && tar -xzf vaetx_jax.tar.gz -C vaetx_jax'
  rm -rf "$(dirname "$archive")"
}

install() {
  local suits='import sys; sys.exit(sys.version_info < (3, 11))'
  everywhere "$python -c '$suits' || { echo \"tpu_vm.sh: needs Python 3.11 or newer: install one on the workers, name it with --python\" >&2; exit 2; }"
  local pins='import sys; print("constraints-3.%d.txt" % (11 if sys.version_info < (3, 12) else 13))'
  everywhere "cd vaetx_jax && $python -m venv .venv && .venv/bin/pip install -q --constraint \$(.venv/bin/python -c '$pins') -e '.[tpu,gcs]'"
  if [ -n "$mount" ]; then
    everywhere "mkdir -p shared && { mountpoint -q shared || gcsfuse --implicit-dirs $(printf %q "$mount") shared; }"
  fi
}

run() {
  local words
  choose_module on "$@"
  words=$(printf '%q ' "${module[@]}")
  words=${words//=\\~/=\$HOME}
  everywhere "cd vaetx_jax && launch/supervise.sh -- .venv/bin/python -m $words"
}

stop() { everywhere 'pkill -TERM -f launch/supervise.sh'; }

delete() { tpu delete --quiet; }

state() { gcloud compute tpus tpu-vm describe "$name" "${where[@]}" --format='value(state)'; }

watch() {
  if [ -n "$dry_run" ]; then
    run "$@"
    echo "# where it was preempted:"
    delete; create; copy; install; run "$@"
    return
  fi
  while ! run "$@"; do
    case $(state || echo GONE) in
      READY) echo "tpu_vm.sh: the run failed on a TPU that is there; see its output" >&2; exit 1 ;;
      GONE) ;;
      *) delete ;;
    esac
    until create; do echo "tpu_vm.sh: no TPU to be had; again in 60 s" >&2; sleep 60; done
    copy; install
  done
}

case $verb in
  all) create; copy; install; watch "$@" ;;
  *) "$verb" "$@" ;;
esac
