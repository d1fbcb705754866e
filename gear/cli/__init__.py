"""The commands of `gear`."""
