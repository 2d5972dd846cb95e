"""The training loop all passes share, with its losses and its pace."""
