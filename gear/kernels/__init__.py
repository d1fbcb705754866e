"""Forms of the code assignment that never hold a tensor of all positions times all codes."""
