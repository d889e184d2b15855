#!/usr/bin/env bash
# Runs a command on all GPUs of this machine, in one process, and starts it again after an abort.
#
#   launch/gpu_node.sh [--dry-run] [--gpus=0,1,2,3] -- [MODULE] FLAGS
#
#   launch/gpu_node.sh -- --config=configs/ptb.py --workdir=runs/ptb
#   launch/gpu_node.sh -- study --config=configs/study/table7.py
#
# MODULE is main (the default), study or any other module (launch/module.sh).
# Batch sizes are those of all GPUs together; docs/scale.md says which to take.
set -eu

dry_run='' gpus=''
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=--dry-run ;;
    --gpus=*) gpus=${1#*=} ;;
    --) shift; break ;;
    *) echo "gpu_node.sh: what is '$1'? What to start comes after --" >&2; exit 2 ;;
  esac
  shift
done
if [ $# -eq 0 ]; then
  echo "gpu_node.sh: give at least -- --config=..." >&2
  exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=launch/module.sh
. "$here/launch/module.sh"
choose_module off "$@"
python=python
[ -x "$here/.venv/bin/python" ] && python=$here/.venv/bin/python
[ -n "$gpus" ] && export CUDA_VISIBLE_DEVICES="$gpus"
# The same bits for the same layout; costs a little speed.
export XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_deterministic_ops=true"
cd "$here"
exec launch/supervise.sh ${dry_run:+"$dry_run"} -- "$python" -m "${module[@]}"
