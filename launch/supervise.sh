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
# me') is then ours; a 75 that nobody asked us for is started again.
set -u

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

child='' asked=''
pass_on() {
  asked=1
  [ -n "$child" ] && kill -s "$1" "$child" 2>/dev/null
}
trap 'pass_on TERM' TERM HUP
trap 'pass_on INT' INT

failed=0 next=$pause
while :; do
  began=$SECONDS
  setsid "$@" & # a session of its own: a Ctrl-C reaches it through us, once and not twice
  child=$!
  wait "$child"; status=$?
  while kill -0 "$child" 2>/dev/null; do # a signal to us ends `wait`, not the command
    wait "$child"; status=$?
  done
  child=''
  case $status in 0|1|2) exit "$status" ;; esac
  [ -n "$asked" ] && exit "$status"
  if [ $((SECONDS - began)) -gt "$most_pause" ]; then failed=0 next=$pause; fi
  failed=$((failed + 1))
  if [ "$failed" -ge "$tries" ]; then
    echo "supervise.sh: $failed starts in a row ended early, the last with status $status: giving up" >&2
    exit "$status"
  fi
  echo "supervise.sh: ended with status $status; start $((failed + 1)) of $tries in $next s" >&2
  sleep "$next" &
  child=$!
  wait "$child"
  [ -n "$asked" ] && { kill "$child" 2>/dev/null; exit 75; }
  child=''
  next=$((next * 2 < most_pause ? next * 2 : most_pause))
done
