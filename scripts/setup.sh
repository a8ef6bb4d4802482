#!/usr/bin/env bash
# Set up what a target of the Makefile needs, from the lock files alone; nothing is done where nothing changed.
#   run   .venv          requirements.txt: what a user's run has
#   dev   .venv-dev      requirements-dev.txt: tests and linters
#   npm   node_modules   package-lock.json: linters that only npm has
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/python.sh
source scripts/python.sh

# up_to_date STAMP KEY: whether this was set up from the same lock file before.
up_to_date() {
  [[ -f $1 && $(<"$1") == "$2" ]]
}

environment() {
  local directory=$1 requirements=$2 key
  python=$(find_python)
  key=$({ cat "${requirements}" && echo "${python}" && "${python}" -I -V; } | cksum)
  up_to_date "${directory}/stamp" "${key}" && return
  echo "Setting up ${directory} from ${requirements} ..."
  if ! "${python}" -I -m pip --version >/dev/null 2>&1 && ! "${python}" -I -m ensurepip --version >/dev/null 2>&1; then
    scripts/system-packages.sh pip
  fi
  install_uv
  "${python}" -I -m venv --clear --without-pip "${directory}"
  .cache/uv/bin/uv pip sync --quiet --python "${directory}/bin/python" --compile-bytecode \
    --require-hashes --only-binary :all: "${requirements}"
  echo "${key}" >"${directory}/stamp"
}

# pip needs about five times as long as uv for the development packages, so pip installs uv, by its locked hashes.
install_uv() {
  local line key
  mkdir -p .cache
  line=$(awk '/^uv==/ { found = 1 } found { print } found && !/\\$/ { exit }' requirements-dev.txt)
  key=$(cksum <<<"${line}")
  up_to_date .cache/uv/stamp "${key}" && return
  echo "${line}" >.cache/uv.txt
  install_with_pip "${python}" .cache/uv .cache/uv.txt
  echo "${key}" >.cache/uv/stamp
}

node_modules() {
  local key
  key=$(cksum <package-lock.json)
  up_to_date node_modules/stamp "${key}" && return
  echo "Setting up node_modules from package-lock.json ..."
  npm ci --silent --ignore-scripts --no-audit --no-fund
  echo "${key}" >node_modules/stamp
}

case ${1:-} in
run) environment .venv requirements.txt ;;
dev) environment .venv-dev requirements-dev.txt ;;
npm) node_modules ;;
*)
  echo "usage: scripts/setup.sh run|dev|npm" >&2
  exit 2
  ;;
esac
