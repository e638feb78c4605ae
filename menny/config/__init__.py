"""Configuration: YAML files read strictly, edited with their comments kept, and where they lie."""
