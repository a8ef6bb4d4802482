"""How a plan's launches are carried out, from the client token to the secret."""
