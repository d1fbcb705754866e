"""The autoregressive transformer over tokens."""
