"""GitHub's API: the adapter, its credentials, limits and refusals."""
