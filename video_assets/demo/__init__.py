"""The demonstration: real footage laid out as a small fleet, and the whole chain over it."""
