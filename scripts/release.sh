#!/usr/bin/env bash
# The steps of release.yml (docs/releasing.md).
#   scripts/release.sh files vX.Y.Z            checks the version, makes build/release
#   scripts/release.sh publish vX.Y.Z BUNDLE   drafts the release with its files and the attestation, then publishes it
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
folder=build/release

files() {
  local tag=$1 name
  name=runner-scaler-${tag}
  rm -rf "${folder}"
  mkdir -p "${folder}/files"
  python3 -I scripts/release_notes.py "${tag}" >"${folder}/notes.md"
  git merge-base --is-ancestor "${tag}^{commit}" origin/main || {
    echo "${tag} is not on main: a release is made of what CI and the self-test have seen there." >&2
    exit 1
  }
  scripts/setup.sh dev
  git archive --format=tar.gz --prefix="${name}/" --output="${folder}/files/${name}.tar.gz" "${tag}"
  .venv-dev/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --mc-type application \
    --output-reproducible --validate --output-file "${folder}/files/${name}.cdx.json"
  (cd "${folder}/files" && sha256sum -- *)
}

publish() {
  local tag=$1 bundle=$2
  # OpenSSF Scorecard and offline verification look for this name (slsa.dev: provenance).
  cp "${bundle}" "${folder}/files/runner-scaler-${tag}.intoto.jsonl"
  # A published release is immutable, files included: all of them have to be there before.
  gh release create "${tag}" --draft --verify-tag --title "${tag}" --notes-file "${folder}/notes.md" "${folder}"/files/*
  gh release edit "${tag}" --draft=false
}

case ${1:-} in
files | publish) "$@" ;;
*)
  echo "usage: scripts/release.sh files TAG | publish TAG BUNDLE" >&2
  exit 2
  ;;
esac
