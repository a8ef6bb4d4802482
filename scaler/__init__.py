"""runner-scaler: GitHub Actions runners on EC2 that come and go, with no server to host."""

__version__ = "0.1.0"
