"""What people ask for: `config.yaml`, the inputs of the action and the command line, checked, as frozen values."""
