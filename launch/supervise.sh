#!/usr/bin/env bash
# Runs a command and starts it again after an abort: a lost peer, a kill, a crash of the machine's
# driver. A run goes on from its latest good checkpoint by itself.
#
#   launch/supervise.sh [--tries=N] [--pause=S] [--most-pause=S] [--dry-run] -- COMMAND ...
#
#   --tries       starts in a row without progress before it gives up (default 10)
#   --pause       seconds before the second start; doubled with each further one (default 5)
#   --most-pause  the longest pause; a command that ran longer than this has made progress (300)
#
# Exit status: the command's own, where starting again would not help: 0 (done), 1 and 2 (the message
# above says what to put right). SIGTERM and SIGINT go to the command, whose 75 ('stopped, resume
# me') is then ours, also where the signal ended it before it could say so; a 75 that nobody asked us
# for is started again.
set -u

# Traps come first, and a signal waits in `pending` until there is a command to hand it to.
child='' pending='' asked=''
pass_on() {
  asked=1 pending=$1
  hand_over
}
hand_over() {
  local signal=$pending
  if [ -n "$child" ] && [ -n "$signal" ]; then
    pending=''
    kill -s "$signal" "$child" 2>/dev/null
  fi
}
pass_signals_on() {
  trap 'pass_on TERM' TERM HUP
  trap 'pass_on INT' INT
}
pass_signals_on

tries=10 pause=5 most_pause=300 dry_run=
while [ $# -gt 0 ]; do
  case $1 in
    --tries=*) tries=${1#*=} ;;
    --pause=*) pause=${1#*=} ;;
    --most-pause=*) most_pause=${1#*=} ;;
    --dry-run) dry_run=1 ;;
    --) shift; break ;;
    *) echo "supervise.sh: what is '$1'? The command comes after --" >&2; exit 2 ;;
  esac
  shift
done
case $tries$pause$most_pause in
  *[!0-9]*) echo "supervise.sh: --tries, --pause and --most-pause are whole numbers" >&2; exit 2 ;;
esac
if [ $# -eq 0 ]; then
  echo "supervise.sh: which command? launch/supervise.sh -- COMMAND ..." >&2
  exit 2
fi
if [ -n "$dry_run" ]; then
  echo "up to $tries times in a row, pauses of $pause to $most_pause seconds:"
  printf '%q ' "$@"; echo
  exit 0
fi

exec 4>&1
start() {
  # In a session of its own: a Ctrl-C reaches the command through us, once and not twice. A second
  # shell writes its process id and, in the end, its status: our own `wait` can lose a status that
  # comes together with a signal.
  exec 3< <(
    trap : TERM HUP INT
    setsid bash -c 'echo "$$"; exec "$@" >&4 3<&- 4>&-' supervise.sh "$@"
    echo "$?"
  )
  watcher=$!
  read -r child <&3
  hand_over
}

# Sets `status` to the command's. A signal to us ends `wait`, not the command.
await() {
  while kill -0 "$watcher" 2>/dev/null; do
    wait "$watcher" 2>/dev/null
  done
  child=''
  read -r status <&3 || status=137
}

stop_if_asked() {
  [ -z "$asked" ] || exit 75
}

pause() {
  # `jobs` knows the sleep from its first moment on, and a variable would only a moment later.
  trap 'kill $(jobs -p) 2>/dev/null; exit 75' TERM HUP INT
  stop_if_asked
  sleep "$1" >/dev/null 2>&1 3<&- 4>&- & # nobody's pipe is held open by it
  wait "$!"
  pass_signals_on
}

failed=0 next=$pause
stop_if_asked
while :; do
  began=$SECONDS
  start "$@"
  await
  case $status in 0|1|2) exit "$status" ;; esac
  if [ -n "$asked" ]; then
    case $status in 129|130|143) status=75 ;; esac # ended by the signal that we passed on
    exit "$status"
  fi
  if [ $((SECONDS - began)) -gt "$most_pause" ]; then failed=0 next=$pause; fi
  failed=$((failed + 1))
  if [ "$failed" -ge "$tries" ]; then
    echo "supervise.sh: $failed starts in a row ended early, the last with status $status: giving up" >&2
    exit "$status"
  fi
  echo "supervise.sh: ended with status $status; start $((failed + 1)) of $tries in $next s" >&2
  pause "$next"
  next=$((next * 2 < most_pause ? next * 2 : most_pause))
done
