#!/bin/bash
#
# Installs the AWS CLI for jobs, pinned by version and checksum; Ubuntu 24.04 has no package of it. Runs as root while
# the image is built, after install-dependencies.sh.
#
# ARCH (amd64 or arm64), AWS_CLI_VERSION, AWS_CLI_SHA256 and AWS_CLI_MIRROR say what.

set -euo pipefail

case $ARCH in
amd64) platform=x86_64 ;;
arm64) platform=aarch64 ;;
*) echo "ARCH is amd64 or arm64, not $ARCH" >&2 && exit 1 ;;
esac

folder=$(mktemp --directory)
curl --disable --fail --location --silent --show-error --retry 5 --output "$folder/cli.zip" \
  "$AWS_CLI_MIRROR/awscli-exe-linux-$platform-$AWS_CLI_VERSION.zip"
echo "$AWS_CLI_SHA256  $folder/cli.zip" | sha256sum --check --strict
unzip -q "$folder/cli.zip" -d "$folder"
"$folder/aws/install"
rm --recursive "$folder"
aws --version
