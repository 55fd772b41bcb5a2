"""Robot bodies, one file each."""
