"""What a study will train and what that takes: `gear plan`. No weights, no data, no GPU needed."""
