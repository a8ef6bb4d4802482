"""An exhaustive search of two ticks that run at once, for a schedule that exceeds a cap."""
