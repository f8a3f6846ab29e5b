"""What a run is worth and what it costs: error rates, compute, memory, reports."""
