arch = "arm64"

# Of actions-runner-linux-arm64-2.337.0.tar.gz. It belongs to runner_version in runner.pkr.hcl: change both.
runner_sha256 = "9b1dc70626422526e3c94767cf024896beb15da5342a3f4819bf2feac13e0393"

# Of awscli-exe-linux-aarch64-2.36.7.zip. It belongs to aws_cli_version.
aws_cli_sha256 = "85826b67912b44bb45d1e46c6e66f383c14405ee0b2f4686f73bdf949c93bd61"
