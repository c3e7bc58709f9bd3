"""The assets of the chain, a module each."""
