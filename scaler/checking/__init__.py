"""`doctor` and `lint`: what is looked at, and the lines that come of it."""
