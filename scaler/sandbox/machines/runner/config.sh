#!/bin/bash
# Stands in for the runner program's config.sh: refuses root, then has the listener configure itself.

user_id=$(id -u)
if [ "$user_id" -eq 0 ] && [ -z "$RUNNER_ALLOW_RUNASROOT" ]; then
  echo "Must not run with sudo"
  exit 1
fi

DIR="$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$DIR" || exit 1

if [[ "$1" == "remove" ]]; then
  ./bin/Runner.Listener "$@"
else
  ./bin/Runner.Listener configure "$@"
fi
