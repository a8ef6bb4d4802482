#!/bin/bash
# Stands in for the runner program's run.sh: keeps the listener alive, and ends with 0 unless told to pass signals on.

DIR="$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

run() {
  while :; do
    cp -f "$DIR"/run-helper.sh.template "$DIR"/run-helper.sh
    "$DIR"/run-helper.sh "$@"
    returnCode=$?
    if [[ $returnCode -eq 2 ]]; then
      echo "Restarting runner..."
    else
      echo "Exiting runner..."
      exit 0
    fi
  done
}

runWithManualTrap() {
  set -m
  signaled=0
  trap 'kill -INT -$PID; signaled=1' INT TERM
  while :; do
    cp -f "$DIR"/run-helper.sh.template "$DIR"/run-helper.sh
    "$DIR"/run-helper.sh "$@" &
    PID=$!
    wait "$PID"
    returnCode=$?
    if [[ $signaled -eq 1 ]]; then
      wait "$PID" # the first one was cut short by the signal
      returnCode=$?
    fi
    if [[ $returnCode -eq 2 ]]; then
      echo "Restarting runner..."
    else
      echo "Exiting runner..."
      trap - INT TERM
      wait "$PID"
      exit "$returnCode"
    fi
  done
}

if [[ -z "$RUNNER_MANUALLY_TRAP_SIG" ]]; then
  run "$@"
else
  runWithManualTrap "$@"
fi
