#!/usr/bin/env bash
# The embedded GitHub and AWS for a scaler of yours, in the background: `python -m scaler demo --serve`.
#   scripts/sandbox.sh start [--scenario FILE …]   prints the environment to run a scaler in, NAME=value a line
#   scripts/sandbox.sh stop                        ends it; fails unless its ledger balances
# In a workflow: scripts/sandbox.sh start >>"${GITHUB_ENV}". What it writes is in build/sandbox.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
folder=${root}/build/sandbox

start() {
  local fifo=${folder}/environment
  "${root}/scripts/setup.sh" run >&2
  rm -rf "${folder}"
  mkdir -p "${folder}"
  mkfifo "${fifo}"
  # Its streams are no step's: GitHub's runner would wait for them, and end it.
  PYTHONPATH=${root} nohup "${root}/.venv/bin/python" -P -m scaler demo --serve "${fifo}" --out "${folder}" "$@" \
    </dev/null >"${folder}/log" 2>&1 &
  echo $! >"${folder}/pid"
  timeout 60 cat "${fifo}" || {
    cat "${folder}/log" >&2
    exit 1
  }
}

stop() {
  local pid
  pid=$(<"${folder}/pid")
  kill -TERM "${pid}" 2>/dev/null || true
  timeout 120 tail --pid="${pid}" -f /dev/null
  cat "${folder}/log"
  jq --exit-status .balances "${folder}/ledger.json" >/dev/null
}

case ${1:-} in
start | stop) "$@" ;;
*)
  echo "usage: scripts/sandbox.sh start [--scenario FILE ...] | stop" >&2
  exit 2
  ;;
esac
