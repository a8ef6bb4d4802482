arch = "arm64"

# runner_sha256 has to be given. Read it in https://github.com/actions/runner/releases at the tag v<runner_version>:
# section "SHA-256 Checksums", line actions-runner-linux-arm64-<runner_version>.tar.gz; in the text of the release
# (`gh release view v<runner_version> --repo actions/runner`) it stands between the comments `BEGIN SHA linux-arm64`
# and `END SHA linux-arm64`. `GET /repos/<owner>/<repository>/actions/runners/downloads` gives it as sha256_checksum.
