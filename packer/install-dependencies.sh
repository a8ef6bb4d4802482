#!/bin/bash
#
# Installs what jobs need, from Ubuntu's (or Debian's) own archive alone. Runs as root while the image is built.

set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

packages=(
  # the boot script's
  ca-certificates curl jq
  # what actions expect on a runner
  bzip2 file git git-lfs gnupg openssh-client python3-pip python3-venv rsync sudo tar tzdata unzip wget xz-utils zip zstd
  # builds
  build-essential cmake ninja-build pkg-config
  # containers
  docker.io
)
# shellcheck source=/dev/null # the image's, not this computer's
[[ $(. /etc/os-release && echo "$ID") != ubuntu ]] || packages+=(docker-buildx docker-compose-v2) # not in Debian 12

apt-get update --quiet
apt-get dist-upgrade --quiet --yes
apt-get install --quiet --yes --no-install-recommends "${packages[@]}"

# An image is replaced, not updated: apt must not hold its locks, or the disk, while a job runs.
systemctl mask apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service
apt-get purge --quiet --yes unattended-upgrades

apt-get autoremove --quiet --yes
apt-get clean
