"""Tables in and out, item records, and the commit."""
