"""Drawing tokens from an AR, and turning them into images."""
