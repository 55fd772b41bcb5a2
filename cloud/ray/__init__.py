"""The work of the cloud on actors of a Ray cluster, which a process of its own drives."""
