"""What is told to people and to programs, and where it is written."""
