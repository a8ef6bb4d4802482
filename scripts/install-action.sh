#!/usr/bin/env bash
# First step of action.yml: an environment of our own below RUNNER_TEMP, which the runner empties after the job.
# Prints the path of its Python as the step's output `python`.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/python.sh
source "${root}/scripts/python.sh"

fail() {
  echo "::error title=runner-scaler::$1"
  exit 1
}

# install PYTHON ENVIRONMENT: all wheels at once, or where that is not to be had, one after the other by pip.
install() {
  "$1" -I "${root}/scripts/wheels.py" "${root}/requirements.txt" "$2" "${root}/scaler" 2>"${log}" && return
  echo "pip installs the packages one after the other: $(tail -n 1 "${log}")"
  install_with_pip "$1" "$2" "${root}/requirements.txt" 2>"${log}"
}

unset_foreign_settings
log=$(mktemp "${RUNNER_TEMP:?is not set: this script is a step of the action}/runner-scaler.XXXXXX")
trap 'rm -f "${log}"' EXIT

python=$(find_python 2>"${log}") || fail "$(<"${log}")"

# One environment for each lock file and Python: `up` and `down` in one job share it.
key=$({ cat "${root}/requirements.txt" && echo "${python}"; } | cksum | tr -cd '[:digit:]')
environment=${RUNNER_TEMP}/runner-scaler-${key}
if [[ ! -e ${environment}/complete ]]; then
  install "${python}" "${environment}" || {
    cat "${log}" >&2
    fail "The packages of requirements.txt could not be installed: $(tail -n 1 "${log}")"
  }
  touch "${environment}/complete"
fi
echo "python=${environment}/bin/python" >>"${GITHUB_OUTPUT:?is not set: this script is a step of the action}"
