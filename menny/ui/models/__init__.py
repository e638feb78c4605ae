"""The page of models: what there is, whether it fits, and getting, loading, converting and removing it."""
