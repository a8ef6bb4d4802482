"""Rebuilds the image, and proposes its use: what `.github/workflows/image.yml` runs."""
