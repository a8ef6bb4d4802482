arch = "amd64"

# Of actions-runner-linux-x64-2.337.0.tar.gz. It belongs to runner_version in runner.pkr.hcl: change both.
runner_sha256 = "70920811a4f8ad4328818682bca5c6469c1c942fab52448868071d0063816613"

# Of awscli-exe-linux-x86_64-2.36.7.zip. It belongs to aws_cli_version.
aws_cli_sha256 = "d641283d37f1a2168457a9f26a20d4e29167652e9ab1719b37114ef1ebe859f4"
