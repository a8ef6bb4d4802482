#!/usr/bin/env bash
# Sourced: find a Python, and install hash-locked packages into an environment of their own.
# Python runs with -I throughout, so that nothing of the directory we are called in (a pip.py, say) is run.

# find_python: print the path of a Python >= 3.11, from PATH, else from the runner's tool cache.
find_python() {
  local candidate found cache
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    found=$(python_at "$(type -P "${candidate}" || true)") && echo "${found}" && return
  done
  for cache in "${RUNNER_TOOL_CACHE:-}" "${AGENT_TOOLSDIRECTORY:-}"; do
    [[ -d ${cache}/Python ]] || continue
    # Newest first; another architecture's does not start and is passed over.
    while read -r candidate; do
      found=$(python_at "${candidate}") && echo "${found}" && return
    done < <(printf '%s\n' "${cache}"/Python/3.*/*/bin/python3 | sort -rV)
  done
  echo "Python 3.11 or newer is needed, and neither PATH nor the runner's tool cache has one." \
    "Run actions/setup-python before this step, or install it." >&2
  return 1
}

# unset_foreign_settings: what a job or an image says to its own Python and pip (PYTHONHOME, PIP_TARGET, PIP_USER, …)
# is not for ours. Where packages come from stays as it says: whoever serves them, their hashes are checked.
unset_foreign_settings() {
  local name
  for name in "${!PYTHON@}" "${!PIP_@}"; do
    case ${name} in
    PIP_CONFIG_FILE | PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_FIND_LINKS | PIP_NO_INDEX) ;;
    PIP_PROXY | PIP_CERT | PIP_CLIENT_CERT | PIP_TRUSTED_HOST | PIP_KEYRING_PROVIDER) ;;
    PIP_TIMEOUT | PIP_DEFAULT_TIMEOUT | PIP_RETRIES | PIP_CACHE_DIR | PIP_NO_CACHE_DIR) ;;
    *) unset "${name}" ;;
    esac
  done
}

# python_at PATH: print sys.executable if this is a Python >= 3.11.
python_at() {
  [[ -x $1 ]] && "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11) or print(sys.executable))' 2>/dev/null
}

# install_with_pip PYTHON ENVIRONMENT REQUIREMENTS: a new environment that holds just these packages.
install_with_pip() {
  local python=$1 environment=$2 requirements=$3 pip
  # An environment of its own, since distributions refuse installs into theirs (PEP 668), and made without
  # pip, since Debian ships venv without ensurepip: the pip beside that Python installs into it.
  "${python}" -I -m venv --clear --without-pip "${environment}"
  if "${python}" -I -m pip --version >/dev/null 2>&1; then
    pip=("${python}" -I -m pip --python "${environment}/bin/python")
  elif "${environment}/bin/python" -I -m ensurepip >/dev/null 2>&1; then
    pip=("${environment}/bin/python" -I -m pip)
  else
    echo "${python} has neither pip nor ensurepip. On Debian and Ubuntu: apt-get install python3-pip" >&2
    return 1
  fi
  # --no-compile: byte-compiling all of botocore takes longer than compiling what is imported.
  # --no-user: a pip.conf of the machine may say otherwise.
  "${pip[@]}" install --quiet --no-input --no-user --disable-pip-version-check --no-compile \
    --require-hashes --no-deps --only-binary=:all: -r "${requirements}"
}
