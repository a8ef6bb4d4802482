"""`python -m scaler demo`: a scenario played, watched live, drawn, and balanced from ground truth."""
