"""What a person sees of a run: live on a terminal, as a report, charts and traces."""
