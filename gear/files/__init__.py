"""What every part of the project stands on; nothing in here imports torch."""
