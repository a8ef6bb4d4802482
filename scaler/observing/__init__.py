"""The parts of one reading of the world."""
