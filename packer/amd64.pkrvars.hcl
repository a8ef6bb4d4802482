arch = "amd64"

# Of actions-runner-linux-x64-2.337.0.tar.gz. It belongs to runner_version in runner.pkr.hcl: change both.
runner_sha256 = "70920811a4f8ad4328818682bca5c6469c1c942fab52448868071d0063816613"
