"""The embedded GitHub: a truth of its own, the REST API that reports it, and what it may lie about."""
