"""Files of a selection onto a disk: raw videos, clips or frames, without parsing any of them."""
