"""Questions with figures: each a command, its bare limit measured beside it in the same run."""
