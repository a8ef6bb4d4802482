#!/usr/bin/env bash
# Have these commands: install the packages of those that are missing where we may, else say which they are.
#   scripts/system-packages.sh curl jq npm
set -euo pipefail

# Debian's and Ubuntu's package of a command, where it has another name.
declare -A package_of=(
  [pip]=python3-pip [node]=nodejs ["systemd-analyze"]=systemd [unshare]=util-linux [ip]=iproute2
  ["systemd-nspawn"]=systemd-container ["ssh-keygen"]=openssh-client [nsenter]=util-linux
)

present() {
  if [[ $1 == pip ]]; then
    python3 -I -m pip --version >/dev/null 2>&1
  else
    type -P "$1" >/dev/null
  fi
}

missing() {
  local command
  for command in "${wanted[@]}"; do
    present "${command}" || echo "${package_of[${command}]:-${command}}"
  done
}

wanted=("$@")
mapfile -t packages < <(missing)
[[ ${#packages[@]} -gt 0 ]] || exit 0

as_root=()
if [[ ${EUID} -ne 0 ]]; then
  as_root=(sudo -n)
fi
if type -P apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
  echo "Installing ${packages[*]} ..."
  export DEBIAN_FRONTEND=noninteractive
  {
    "${as_root[@]}" apt-get update -qq &&
      "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"
  } </dev/null >/dev/null || true
fi

mapfile -t packages < <(missing)
[[ ${#packages[@]} -gt 0 ]] || exit 0
echo "Missing, and not to be installed from here: ${packages[*]}. Install with: apt-get install ${packages[*]}" >&2
exit 1
