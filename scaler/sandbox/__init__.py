"""GitHub and AWS on one machine: what `demo` and the tests run the unmodified scaler against."""
