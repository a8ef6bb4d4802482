"""The whole world in virtual time and one thread: the real tick against the sandbox's truth, without the wire."""
