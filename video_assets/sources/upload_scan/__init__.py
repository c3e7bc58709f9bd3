"""What the upload sensor looks at in a tick, and what it remembers."""
