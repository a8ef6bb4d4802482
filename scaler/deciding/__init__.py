"""The parts of the decision. All pure."""
