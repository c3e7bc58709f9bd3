"""What a deployment is made of, checked piece by piece: what is wrong, and how to mend it."""
