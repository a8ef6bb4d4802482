#!/bin/bash
#
# Installs the runner program, pinned by version and checksum, and the boot script that runs it. Runs as root while
# the image is built, after install-dependencies.sh; the files beside it are in /tmp/runner-scaler.
#
# ARCH (amd64 or arm64), RUNNER_VERSION, RUNNER_SHA256, RUNNER_MIRROR, DOCKER_GROUP (true or false) and LOG_GROUP (a name,
# or nothing) say what.

set -euo pipefail

readonly home=/opt/actions-runner files=/tmp/runner-scaler

case $ARCH in
amd64) platform=linux-x64 ;;
arm64) platform=linux-arm64 ;;
*) echo "ARCH is amd64 or arm64, not $ARCH" >&2 && exit 1 ;;
esac

archive=$(mktemp)
curl --disable --fail --location --silent --show-error --retry 5 --output "$archive" \
  "$RUNNER_MIRROR/v$RUNNER_VERSION/actions-runner-$platform-$RUNNER_VERSION.tar.gz"
echo "$RUNNER_SHA256  $archive" | sha256sum --check --strict

# No sudo. With Docker's group a job is root on its machine, and could stop the watchdogs that end it.
useradd --create-home --shell /bin/bash runner
[[ $DOCKER_GROUP != true ]] || usermod --append --groups docker runner

install --directory "$home"
tar --extract --gzip --file "$archive" --directory "$home"
rm "$archive"
"$home/bin/installdependencies.sh"
chown --recursive runner:runner "$home"

# Root's own, and its directory too: a job runs as `runner`.
install -D --mode 755 --target-directory /opt/runner-scaler "$files"/*.sh
install --mode 644 --target-directory /etc/systemd/system "$files"/runner-scaler*.service "$files"/runner-scaler*.timer
systemctl enable runner-scaler.service runner-scaler-lifetime.timer
if [[ -n $LOG_GROUP ]]; then
  echo "LOG_GROUP=$LOG_GROUP" >/etc/runner-scaler-logs
  systemctl enable runner-scaler-logs.service
fi

# Each instance gets its own when it boots.
truncate --size 0 /etc/machine-id
rm --force /etc/ssh/ssh_host_*
rm --recursive --force "$files"
