"""Finding frames by text or picture."""
